//! The listeners of a program, and how a worker takes connections from them.

use std::cell::Cell;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use daemon_sys::backlog;
use daemon_sys::poll::{Interest, wait};
use slog::{Logger, warn};

/// A listener whose connections workers [`accept`](crate::Worker::accept): a [`TcpListener`] or a
/// [`UnixListener`].
pub trait Listener: AsFd + sealed::Sealed {
    /// The type of its connections.
    type Stream: From<OwnedFd>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;
}

impl Listener for UnixListener {
    type Stream = UnixStream;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::net::TcpListener {}
    impl Sealed for std::os::unix::net::UnixListener {}
}

/// How many connections a worker that was asked to stop takes at most from a queue whose length the
/// system does not report: as many as the queue can hold (`net.core.somaxconn`).
const QUEUE_MAX: u16 = 4096;

/// How long a worker that is out of descriptors or memory leaves the queue to the other workers.
const SHORTAGE_DELAY: Duration = Duration::from_millis(100);

/// After how many such delays in a row a worker gives up, and can be replaced.
const SHORTAGES_MAX: u16 = 100;

/// After how many such delays in a row a worker that was asked to stop gives up.
const SHORTAGES_MAX_WHEN_STOPPING: u16 = 10;

/// What a worker remembers from one connection to the next.
#[derive(Debug, Default)]
pub(crate) struct AcceptProgress {
    /// How many connections the worker still takes although it was asked to stop; `None` before.
    left: Cell<Option<u16>>,
    /// How often in a row there was a shortage of descriptors or memory.
    shortages: Cell<u16>,
}

impl AcceptProgress {
    /// Records that a connection was accepted.
    pub(crate) fn accepted(&self) {
        self.shortages.set(0);
        self.left.set(self.left.get().map(|left| left.saturating_sub(1)));
    }

    /// Returns how many connections a worker that was asked to stop still takes.
    pub(crate) fn left(&self, listener: BorrowedFd<'_>) -> u16 {
        let counted = || match backlog::length(listener) {
            Some(length) => u16::try_from(length).unwrap_or(u16::MAX),
            None => QUEUE_MAX,
        };
        let left = self.left.get().unwrap_or_else(counted);
        self.left.set(Some(left));
        left
    }

    /// Leaves the queue to the other workers for a while, because this process cannot accept now.
    /// The wait ends early when `stop` is readable. Returns the error if it has lasted too long.
    pub(crate) fn wait_during_shortage(
        &self,
        shortage: io::Error,
        stop: Option<BorrowedFd<'_>>,
        log: &Logger,
    ) -> io::Result<()> {
        let shortages = self.shortages.get() + 1;
        self.shortages.set(shortages);
        if shortages == 1 {
            let error = shortage.to_string();
            warn!(log, "cannot accept connections, trying again"; "error" => error);
        }
        let most = if stop.is_some() { SHORTAGES_MAX } else { SHORTAGES_MAX_WHEN_STOPPING };
        if shortages >= most {
            return Err(shortage);
        }
        let waited = match stop {
            Some(stop) => wait(&[(stop, Interest::Read)], Some(SHORTAGE_DELAY)).map(|[_stop]| ()),
            None => wait(&[], Some(SHORTAGE_DELAY)).map(|[]| ()),
        };
        waited.map_err(io::Error::other)
    }
}
