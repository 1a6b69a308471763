//! The fork server without actix: a program that forks a child for each connection.
//!
//! Run
//!
//! ```sh
//! cargo run --release --example forkserver_only -- 7074
//! nc 127.0.0.1 7074     # in another terminal
//! ```
//!
//! and type a line. The child returns the line with its own pid, and exits. The parent only accepts
//! connections. Because the fork server forks, the time of a fork does not depend on the memory or
//! the threads of the parent. Ctrl-C stops the parent. The fork server then stops the children and
//! exits too.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use daemon_forkserver::core::Status;
use daemon_forkserver::sys::poll::{Interest, wait};
use daemon_forkserver::{
    ChildProgram, ChildStart, ForkError, ForkServerBuilder, ForkServerError, ForkServerEvent, now,
};
use examples::PATIENCE;

/// How long the parent waits after a shortage of descriptors, processes or memory.
const RETRY: Duration = Duration::from_millis(100);

/// The program of the children, which has no data.
struct Echo;

impl ChildProgram for Echo {
    type Request = TcpStream;

    fn run_child(self, start: ChildStart<TcpStream>) -> i32 {
        // This program has no signal handlers, so TERM may end the child at any time.
        start.signals.release();
        // This program does not read the scoreboard, so an error does not matter.
        let _ = start.seat.report(Status::Serving, now());
        match start.request.map_err(io::Error::other).and_then(echo) {
            Ok(()) => 0,
            Err(_client_disconnected) => 1,
        }
    }
}

fn echo(stream: TcpStream) -> io::Result<()> {
    // A silent client must not occupy a child for ever.
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    write!(&stream, "{}: {line}", std::process::id())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut fork_server, Echo) =
        ForkServerBuilder::new(64).grace(Duration::from_secs(5)).spawn(Echo)?;
    // Bound after the spawn, so neither the fork server nor a child inherits the listener.
    let listener = examples::listen()?;
    listener.set_nonblocking(true)?;
    let mut waiting = VecDeque::new();
    loop {
        // Wait for a client or an event of the fork server.
        let events = (fork_server.as_fd(), Interest::Read);
        if waiting.is_empty() {
            wait(&[events, (listener.as_fd(), Interest::Read)], None)?;
        } else {
            wait(&[events], None)?;
        }
        handle_events(fork_server.wait(Some(Duration::ZERO))?, &mut waiting);
        // While all children are busy, clients wait in the queue of the listener.
        if waiting.is_empty() {
            waiting.extend(accept(&listener));
        }
        while let Some(stream) = waiting.pop_front() {
            match fork_server.fork(stream) {
                Ok(_child) => {}
                Err(ForkError { request: stream, reason: ForkServerError::Full { .. } }) => {
                    waiting.push_front(stream);
                    break;
                }
                Err(ForkError { reason, .. }) => return Err(reason.into()),
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "it prints errors")]
fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept() {
        Ok((stream, _peer)) => {
            // On some systems the connection inherits the non-blocking mode of the listener.
            stream.set_nonblocking(false).ok().map(|()| stream)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        // For example, no descriptor is free. The client waits in the queue.
        Err(error) => {
            println!("cannot accept: {error}");
            std::thread::sleep(RETRY);
            None
        }
    }
}

#[expect(clippy::print_stdout, reason = "it prints its events")]
fn handle_events(events: Vec<ForkServerEvent<TcpStream>>, waiting: &mut VecDeque<TcpStream>) {
    for event in events {
        match event {
            ForkServerEvent::Forked { child, pid } => println!("{child} (pid {pid}) forked"),
            ForkServerEvent::Exited { child, pid, exit, .. } => {
                println!("{child} (pid {pid}) exited: {exit}");
            }
            ForkServerEvent::ForkFailed { request, refusal, .. } => {
                println!("{refusal}; the client waits");
                waiting.push_front(request);
                // The system is short of processes or memory, so retry after a short time.
                std::thread::sleep(RETRY);
            }
            ForkServerEvent::DescendantsLeft { child, group } => {
                println!("{child} has left processes behind (group {group})");
            }
            ForkServerEvent::EndingDescendants { processes } => {
                println!("ending {processes} processes that children have started");
            }
            ForkServerEvent::DescendantsSurvive { error } => println!("{error}"),
            // This program does not reopen logs.
            ForkServerEvent::ReopenLogsFailed { error } => println!("{error}"),
        }
    }
}
