//! Waiting on a handful of descriptors at once, for loops without a runtime.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::error::{Error, Result};

/// What is waited for on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read, or a connection to accept, or the end.
    Read,
    /// Room to write.
    Write,
    /// Either.
    ReadWrite,
}

impl Interest {
    fn flags(self) -> PollFlags {
        match self {
            Interest::Read => PollFlags::POLLIN,
            Interest::Write => PollFlags::POLLOUT,
            Interest::ReadWrite => PollFlags::POLLIN | PollFlags::POLLOUT,
        }
    }
}

/// What a descriptor is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready(PollFlags);

impl Default for Ready {
    /// Ready for nothing.
    fn default() -> Self {
        Ready(PollFlags::empty())
    }
}

impl Ready {
    /// What poll(2) tells unasked: an error, a peer that hung up, a descriptor that is not open.
    const UNASKED: PollFlags =
        PollFlags::POLLERR.union(PollFlags::POLLHUP).union(PollFlags::POLLNVAL);

    /// Says whether a read would not wait. The end of the stream and an error count: the read tells
    /// which.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.0.intersects(PollFlags::POLLIN.union(Ready::UNASKED))
    }

    /// Says whether a write would not wait. An error counts: the write tells which.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self.0.intersects(PollFlags::POLLOUT.union(Ready::UNASKED))
    }

    /// Says whether the other end is gone, or the descriptor of no use; there may still be bytes
    /// to read.
    #[must_use]
    pub fn is_closed(self) -> bool {
        self.0.intersects(Ready::UNASKED)
    }

    /// Says whether there is nothing to do here.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// Waits until a descriptor is ready or the time is over; answers for each, in the order asked.
///
/// `None` waits for ever. A signal does not end the wait, nor make it longer. The time is rounded
/// up to a whole millisecond, so that a deadline has passed when the wait ends. After it all are
/// quiet. It allocates nothing.
///
/// # Errors
///
/// None that poll(2) names, but want of memory.
pub fn wait<const N: usize>(
    fds: &[(BorrowedFd<'_>, Interest); N],
    timeout: Option<Duration>,
) -> Result<[Ready; N]> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut asked = fds.map(|(fd, interest)| PollFd::new(fd, interest.flags()));
    loop {
        let left = match deadline {
            Some(deadline) => in_milliseconds(deadline.saturating_duration_since(Instant::now())),
            None => PollTimeout::NONE,
        };
        match nix::poll::poll(&mut asked, left) {
            Ok(0) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            Ok(_) => {
                let ready = |fd: PollFd<'_>| Ready(fd.revents().unwrap_or(PollFlags::POLLERR));
                return Ok(asked.map(ready));
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::os("wait for descriptors", errno)),
        }
    }
}

fn in_milliseconds(left: Duration) -> PollTimeout {
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_answers_stand_in_the_order_asked() {
        let (quiet, _keeps_it_open) = io::pipe().expect("a pipe");
        let (heard, mut voice) = io::pipe().expect("a pipe");
        voice.write_all(b"x").expect("room");
        let fds = [
            (quiet.as_fd(), Interest::Read),
            (heard.as_fd(), Interest::Read),
            (voice.as_fd(), Interest::Write),
        ];
        let ready = wait(&fds, None).expect("waits");
        assert!(ready[0].is_empty());
        assert!(ready[1].is_readable() && !ready[1].is_closed());
        assert!(ready[2].is_writable());
    }

    #[test]
    fn the_deadline_has_passed_when_all_are_quiet() {
        let (quiet, _keeps_it_open) = io::pipe().expect("a pipe");
        let begun = Instant::now();
        let timeout = Duration::from_micros(2_500);
        let ready = wait(&[(quiet.as_fd(), Interest::Read)], Some(timeout)).expect("waits");
        assert!(ready[0].is_empty());
        assert!(begun.elapsed() >= timeout);
    }

    #[test]
    fn an_end_can_be_read() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(writer);
        let ready = wait(&[(reader.as_fd(), Interest::Read)], None).expect("waits");
        assert!(ready[0].is_readable() && ready[0].is_closed());
    }

    #[test]
    fn the_rest_of_a_millisecond_is_rounded_up() {
        assert_eq!(in_milliseconds(Duration::from_nanos(1)), PollTimeout::from(1_u8));
        assert_eq!(in_milliseconds(Duration::ZERO), PollTimeout::ZERO);
        assert_eq!(in_milliseconds(Duration::MAX), PollTimeout::MAX);
    }
}
