//! The nursery without actix: a parent that accepts and hands over, children that are a function.

use std::net::TcpStream;
use std::os::fd::AsFd;

use daemon_nursery::core::Status;
use daemon_nursery::{Birth, Brood, NurseryError, Plan, Unforked, now};
use daemon_sys::poll::{Interest, wait};

use crate::{Measured, echo, listen, touch};

/// How many children there may be at a time, as in the daemon beside it.
const CHILDREN: u32 = 64;

struct Echo;

impl Brood for Echo {
    type Request = TcpStream;

    fn live(self, birth: Birth<TcpStream>) -> i32 {
        birth.signals.release();
        // Nothing here depends on the line on the scoreboard.
        let _ = birth.seat.report(Status::Serving, now());
        let done = birth.request.map_err(std::io::Error::other);
        done.and_then(|stream| echo::blocking(&stream)).is_err().into()
    }
}

/// Accepts in the parent, and has a child echo.
pub(super) fn fork_for_each(megabytes: usize) -> Measured<()> {
    let (mut nursery, Echo) = Plan::for_children(CHILDREN).found(Echo)?;
    touch(megabytes);
    let listener = listen()?;
    let mut events = Vec::new();
    loop {
        // Both are waited for: a connection ends when the parent's copy of it is dropped too, and
        // that is when its child is reported born.
        let ready =
            wait(&[(listener.as_fd(), Interest::Read), (nursery.as_fd(), Interest::Read)], None)?;
        if ready[1].can_read() {
            nursery.collect(&mut events)?;
            events.clear();
        }
        if ready[0].can_read() {
            hand_over(&mut nursery, listener.accept()?.0)?;
        }
    }
}

fn hand_over(
    nursery: &mut daemon_nursery::Nursery<TcpStream>,
    mut stream: TcpStream,
) -> Measured<()> {
    loop {
        match nursery.fork(stream) {
            Ok(_child) => return Ok(()),
            Err(Unforked { request, why: NurseryError::Full { .. } }) => {
                stream = request;
                drop(nursery.wait(None)?);
            }
            Err(Unforked { why, .. }) => return Err(why.into()),
        }
    }
}
