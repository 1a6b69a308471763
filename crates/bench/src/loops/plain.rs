//! A server that uses the fork server without actix. Its parent accepts connections and transfers
//! each connection to a new child. The child runs a function, without an actix System.

use std::net::TcpStream;
use std::os::fd::AsFd;

use bench_server::{Measured, echo_blocking, listen, touch};
use daemon_forkserver::core::Status;
use daemon_forkserver::{
    ChildProgram, ChildStart, ForkError, ForkServerBuilder, ForkServerError, now,
};
use daemon_sys::poll::{Interest, wait};

/// The maximum number of children, the same as in `daemons/fork.rs`.
const CHILDREN: u32 = 64;

struct Echo;

impl ChildProgram for Echo {
    type Request = TcpStream;

    fn run_child(self, start: ChildStart<TcpStream>) -> i32 {
        start.signals.release();
        // Ignore an error of the report, because no code of this program reads the status.
        let _ = start.seat.report(Status::Serving, now());
        let done = start.request.map_err(std::io::Error::other);
        done.and_then(|stream| echo_blocking(&stream)).is_err().into()
    }
}

/// Accepts connections in the parent, and for each connection forks a child that echoes a line.
pub(super) fn fork_for_each(megabytes: usize) -> Measured<()> {
    let (mut fork_server, Echo) = ForkServerBuilder::new(CHILDREN).spawn(Echo)?;
    touch(megabytes);
    let listener = listen()?;
    let mut events = Vec::new();
    loop {
        // Wait for connections and for reports of the fork server. A connection ends only when the
        // parent has dropped its copy of the socket, too. The parent drops its copy when it
        // collects the fork server's report that the child was forked.
        let ready = wait(
            &[(listener.as_fd(), Interest::Read), (fork_server.as_fd(), Interest::Read)],
            None,
        )?;
        if ready[1].is_readable() {
            fork_server.collect(&mut events)?;
            events.clear();
        }
        if ready[0].is_readable() {
            hand_over(&mut fork_server, listener.accept()?.0)?;
        }
    }
}

fn hand_over(
    fork_server: &mut daemon_forkserver::ForkServer<TcpStream>,
    mut stream: TcpStream,
) -> Measured<()> {
    loop {
        match fork_server.fork(stream) {
            Ok(_child) => return Ok(()),
            Err(ForkError { request, reason: ForkServerError::Full { .. } }) => {
                stream = request;
                drop(fork_server.wait(None)?);
            }
            Err(ForkError { reason, .. }) => return Err(reason.into()),
        }
    }
}
