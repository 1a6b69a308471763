//! Listeners as the daemon sees them: TCP and Unix, accepting one connection at a time.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use daemon_sys::listen;
use daemon_sys::watch::{self, SharedListener};
use slog::{Logger, info, warn};
use tokio::io::unix::AsyncFd;

use crate::connection::StreamSocket;
use crate::log::logger;

/// How long children that wait have for a stopping daemon's queue, before one that is busy takes what
/// is left, so that the port is free while it goes on.
pub(crate) const DRAIN_DELAY: Duration = Duration::from_millis(10);
/// How long to wait before a process without descriptors or memory accepts again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A listener that a daemon can serve: std's [`TcpListener`] or [`UnixListener`].
pub trait Listen: Into<OwnedFd> + Unpin + 'static + sealed::Sealed {
    /// What it accepts. As it comes from a listener of a daemon's it is nonblocking.
    type Socket: StreamSocket;
}

impl Listen for TcpListener {
    type Socket = TcpStream;
}

impl Listen for UnixListener {
    type Socket = UnixStream;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::net::TcpListener {}
    impl Sealed for std::os::unix::net::UnixListener {}
}

/// A listener that this process accepts from.
#[derive(Debug)]
pub(crate) struct WatchedListener<L> {
    place: WaitMode,
    log: Logger,
    kind: PhantomData<fn() -> L>,
}

/// How a process waits at a listener.
#[derive(Debug)]
enum WaitMode {
    /// It is the only one.
    Exclusive(AsyncFd<OwnedFd>),
    /// Others wait there too, and a connection wakes one of them.
    Queued(SharedListener),
}

impl<L: Listen> WatchedListener<L> {
    /// Watches a listener that no other process accepts from.
    pub(crate) fn exclusive(listener: L) -> io::Result<Self> {
        Self::new(listener, |listener| watch::readable(listener).map(WaitMode::Exclusive))
    }

    /// Watches a listener that the children of a pool share.
    pub(crate) fn queued(listener: L) -> io::Result<Self> {
        Self::new(listener, |listener| SharedListener::new(listener).map(WaitMode::Queued))
    }

    /// The listener becomes nonblocking, in all processes that hold it.
    fn new(
        listener: L,
        watched: fn(OwnedFd) -> Result<WaitMode, daemon_sys::Error>,
    ) -> io::Result<Self> {
        let listener: OwnedFd = listener.into();
        listen::set_nonblocking(listener.as_fd(), true).map_err(io::Error::other)?;
        let place = watched(listener).map_err(io::Error::other)?;
        Ok(WatchedListener { place, log: logger(), kind: PhantomData })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.place {
            WaitMode::Exclusive(watch) => watch.get_ref().as_fd(),
            WaitMode::Queued(queue) => queue.listener().as_fd(),
        }
    }

    /// Waits for the next connection. A process that is short of descriptors or memory says so
    /// once, and tries again until it is not.
    pub(crate) async fn accept(&self) -> L::Socket {
        loop {
            if let Some(stream) = self.accept_while(|| true).await {
                return stream;
            }
        }
    }

    /// The same, but nothing is taken from the queue once it is not to be; then there is none.
    pub(crate) async fn accept_while(&self, may: impl Fn() -> bool) -> Option<L::Socket> {
        let mut health = AcceptHealth::Ok;
        loop {
            match self.accept_in_turn(&may).await {
                Ok(stream) => {
                    if health == AcceptHealth::Failing && stream.is_some() {
                        info!(self.log, "accepting connections again");
                    }
                    return stream;
                }
                Err(error) => {
                    if health == AcceptHealth::Ok {
                        warn!(self.log, "cannot accept a connection: {}", error);
                        health = AcceptHealth::Failing;
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    async fn accept_in_turn(&self, may: &impl Fn() -> bool) -> io::Result<Option<L::Socket>> {
        loop {
            if !may() {
                return Ok(None);
            }
            if let Some(connection) = listen::accept(self.fd())? {
                return Ok(Some(connection.into()));
            }
            match &self.place {
                WaitMode::Exclusive(watch) => watch.readable().await?.clear_ready(),
                WaitMode::Queued(queue) => queue.readable().await?,
            }
        }
    }

    /// Takes a connection that waits already, if there is one.
    pub(crate) fn try_accept(&self) -> Option<L::Socket> {
        match listen::accept(self.fd()) {
            Ok(connection) => connection.map(Into::into),
            Err(error) => {
                warn!(self.log, "cannot accept a connection: {}", error);
                None
            }
        }
    }

    /// Shrinks the queue and takes all that wait in it: after that the listener may be dropped.
    pub(crate) fn accept_pending(&self) -> VecDeque<L::Socket> {
        self.shrink();
        std::iter::from_fn(|| self.try_accept()).collect()
    }

    /// Begins the end of the listener, for all processes that share it: its queue shrinks, and
    /// what waits in it can still be taken.
    pub(crate) fn shrink(&self) {
        if let Err(error) = listen::shrink_backlog(self.fd()) {
            warn!(self.log, "{}", error);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AcceptHealth {
    Ok,
    Failing,
}

/// Where a child of a pool has its connections from: the listener that it shares and, once the
/// daemon stops and it has closed that, what was left in the listener's queue.
#[derive(Debug)]
pub(crate) struct ConnectionSource<L: Listen> {
    gate: Option<Rc<WatchedListener<L>>>,
    taken: VecDeque<L::Socket>,
}

impl<L: Listen> ConnectionSource<L> {
    pub(crate) fn from(listener: L) -> io::Result<Self> {
        let gate = Some(Rc::new(WatchedListener::queued(listener)?));
        Ok(ConnectionSource { gate, taken: VecDeque::new() })
    }

    /// The listener, until it is closed.
    pub(crate) fn listener(&self) -> Option<Rc<WatchedListener<L>>> {
        self.gate.clone()
    }

    /// The next that waits already.
    pub(crate) fn next_waiting(&mut self) -> Option<L::Socket> {
        match &self.gate {
            Some(gate) => gate.try_accept(),
            None => self.taken.pop_front(),
        }
    }

    /// Takes all that are left and closes the listener, so that the port is free while this child
    /// is busy.
    pub(crate) fn drain_backlog(&mut self) {
        if let Some(gate) = self.gate.take() {
            self.taken.extend(gate.accept_pending());
        }
    }

    /// Closes the listener: others go on accepting, or nothing waits any more.
    pub(crate) fn close(&mut self) {
        self.gate = None;
    }
}
