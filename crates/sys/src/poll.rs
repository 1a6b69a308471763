//! Polls a few descriptors, for event loops without an async runtime.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::error::{Error, Result};

/// The events to wait for on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Readable: data, a connection to accept, or the end of the stream.
    Read,
    /// Writable.
    Write,
    /// Readable or writable.
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

/// The events that occurred on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready(PollFlags);

impl Default for Ready {
    /// Returns a value without events.
    fn default() -> Self {
        Ready(PollFlags::empty())
    }
}

impl Ready {
    /// The events that poll(2) always reports: an error, a hangup of the peer, or a descriptor that
    /// is not open.
    const ALWAYS_REPORTED: PollFlags =
        PollFlags::POLLERR.union(PollFlags::POLLHUP).union(PollFlags::POLLNVAL);

    /// Returns whether a read would not block. This includes the end of the stream and an error,
    /// which the read returns.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.0.intersects(PollFlags::POLLIN.union(Ready::ALWAYS_REPORTED))
    }

    /// Returns whether a write would not block. This includes an error, which the write returns.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self.0.intersects(PollFlags::POLLOUT.union(Ready::ALWAYS_REPORTED))
    }

    /// Returns whether the other end is closed, the descriptor has an error, or it is invalid.
    /// There may still be data to read.
    #[must_use]
    pub fn is_closed(self) -> bool {
        self.0.intersects(Ready::ALWAYS_REPORTED)
    }

    /// Returns whether no event occurred.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// Waits until a descriptor is ready or the timeout has elapsed. Returns the events of each
/// descriptor, in the given order.
///
/// `None` waits without a timeout. A signal neither ends nor extends the wait. If the timeout
/// elapses, all results are empty. The timeout is rounded up to whole milliseconds, so it never
/// elapses early. This function does not allocate.
///
/// # Errors
///
/// If the system is out of memory (poll(2)).
pub fn wait<const N: usize>(
    fds: &[(BorrowedFd<'_>, Interest); N],
    timeout: Option<Duration>,
) -> Result<[Ready; N]> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut pollfds = fds.map(|(fd, interest)| PollFd::new(fd, interest.flags()));
    loop {
        let left = match deadline {
            Some(deadline) => in_milliseconds(deadline.saturating_duration_since(Instant::now())),
            None => PollTimeout::NONE,
        };
        match nix::poll::poll(&mut pollfds, left) {
            Ok(0) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            Ok(_) => {
                let ready = |fd: PollFd<'_>| Ready(fd.revents().unwrap_or(PollFlags::POLLERR));
                return Ok(pollfds.map(ready));
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
    fn the_results_are_in_the_order_of_the_descriptors() {
        let (idle, _writer) = io::pipe().expect("a pipe");
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(b"x").expect("written");
        let fds = [
            (idle.as_fd(), Interest::Read),
            (reader.as_fd(), Interest::Read),
            (writer.as_fd(), Interest::Write),
        ];
        let ready = wait(&fds, None).expect("polled");
        assert!(ready[0].is_empty());
        assert!(ready[1].is_readable() && !ready[1].is_closed());
        assert!(ready[2].is_writable());
    }

    #[test]
    fn a_wait_without_events_does_not_end_before_the_timeout() {
        let (idle, _writer) = io::pipe().expect("a pipe");
        let start = Instant::now();
        let timeout = Duration::from_micros(2_500);
        let ready = wait(&[(idle.as_fd(), Interest::Read)], Some(timeout)).expect("polled");
        assert!(ready[0].is_empty());
        assert!(start.elapsed() >= timeout);
    }

    #[test]
    fn the_end_of_a_stream_is_readable() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(writer);
        let ready = wait(&[(reader.as_fd(), Interest::Read)], None).expect("polled");
        assert!(ready[0].is_readable() && ready[0].is_closed());
    }

    #[test]
    fn a_timeout_is_rounded_up_to_whole_milliseconds() {
        assert_eq!(in_milliseconds(Duration::from_nanos(1)), PollTimeout::from(1_u8));
        assert_eq!(in_milliseconds(Duration::ZERO), PollTimeout::ZERO);
        assert_eq!(in_milliseconds(Duration::MAX), PollTimeout::MAX);
    }
}
