//! TCP and Unix listeners that accept one connection at a time, and the actors that accept
//! connections for sessions.

mod acceptor;
mod connection;

pub use acceptor::{Accepted, ChildAcceptor, ParentAcceptor};
pub use connection::{Connection, StreamSocket};

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use daemon_core::OperatorPause;
use daemon_sys::listen::{self, ListenAddress};
use daemon_sys::watch::{self, SharedListener};
use futures::future::{Either, select};
use slog::{Logger, debug, info, warn};
use tokio::io::unix::AsyncFd;

use crate::child::ChildHandle;
use crate::log::logger;

/// The time for which a busy child of a stopping daemon leaves the listener's backlog to the idle
/// children. After this time the busy child accepts the remaining connections and closes the
/// listener, so that the port is free while the child finishes its request.
pub(crate) const DRAIN_DELAY: Duration = Duration::from_millis(10);
/// The delay before a process that lacks descriptors or memory tries to accept again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A listener that a daemon can accept from: std's [`TcpListener`] or [`UnixListener`].
pub trait Listen: Into<OwnedFd> + Unpin + 'static + sealed::Sealed {
    /// The type of the accepted connections. They are in nonblocking mode.
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

/// A listener that the runtime watches.
#[derive(Debug)]
pub(crate) struct WatchedListener<L> {
    mode: WaitMode,
    address: ListenAddress,
    log: Logger,
    kind: PhantomData<fn() -> L>,
}

/// How a process waits for connections.
#[derive(Debug)]
enum WaitMode {
    /// No other process waits on this listener.
    Exclusive(AsyncFd<OwnedFd>),
    /// Several processes wait on this listener, and a new connection wakes one of them.
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

    /// Makes the listener nonblocking, in all processes that have it open, and watches it.
    fn new(
        listener: L,
        watched: fn(OwnedFd) -> Result<WaitMode, daemon_sys::Error>,
    ) -> io::Result<Self> {
        let listener: OwnedFd = listener.into();
        listen::set_nonblocking(listener.as_fd(), true).map_err(io::Error::other)?;
        let address = ListenAddress::of(listener.as_fd()).map_err(io::Error::other)?;
        let mode = watched(listener).map_err(io::Error::other)?;
        Ok(WatchedListener { mode, address, log: logger(), kind: PhantomData })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.mode {
            WaitMode::Exclusive(watch) => watch.get_ref().as_fd(),
            WaitMode::Queued(queue) => queue.listener().as_fd(),
        }
    }

    /// Waits for the next connection and accepts it. If accept(2) fails, for example because
    /// the process has no free descriptor, logs the error once and tries again until it succeeds.
    pub(crate) async fn accept(&self) -> L::Socket {
        loop {
            if let Some(stream) = self.accept_while(|| true).await {
                return stream;
            }
        }
    }

    /// Waits for a connection in a child. Accepts none while the operator has paused the daemon.
    pub(crate) async fn accept_in(&self, child: &ChildHandle) -> L::Socket {
        loop {
            child.wait_for_operator_pause(OperatorPause::Off).await;
            let accepted = self.accept_while(|| !child.is_paused_by_operator());
            let paused = child.wait_for_operator_pause(OperatorPause::On);
            match select(pin!(accepted), pin!(paused)).await {
                Either::Left((Some(stream), _)) => return stream,
                // The parent's signal that announces the pause may not have reached the child's
                // actor yet.
                Either::Left((None, _)) => child.recheck_pause().await,
                Either::Right(((), _)) => {}
            }
        }
    }

    /// Waits for the next connection and accepts it. Checks the condition before each attempt, and
    /// returns `None` if the condition is false.
    async fn accept_while(&self, condition: impl Fn() -> bool) -> Option<L::Socket> {
        let mut has_failed = false;
        loop {
            match self.accept_in_turn(&condition).await {
                Ok(stream) => {
                    if has_failed && stream.is_some() {
                        info!(self.log, "accepting connections again");
                    }
                    return stream;
                }
                Err(error) => {
                    if !has_failed {
                        warn!(self.log, "cannot accept a connection"; "error" => %error);
                        has_failed = true;
                    }
                    // A child that has the listener, too, has shut it down.
                    if error.kind() == io::ErrorKind::InvalidInput
                        && let Err(error) = listen::listen_again(self.fd(), &self.address)
                    {
                        debug!(self.log, "cannot listen again"; "error" => %error);
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    async fn accept_in_turn(&self, condition: &impl Fn() -> bool) -> io::Result<Option<L::Socket>> {
        loop {
            if !condition() {
                return Ok(None);
            }
            if let Some(connection) = listen::accept(self.fd())? {
                return Ok(Some(connection.into()));
            }
            match &self.mode {
                WaitMode::Exclusive(watch) => watch.readable().await?.clear_ready(),
                WaitMode::Queued(queue) => queue.readable().await?,
            }
        }
    }

    /// Accepts a connection from the backlog without waiting. Returns `None` if the backlog is
    /// empty or accept(2) fails.
    pub(crate) fn try_accept(&self) -> Option<L::Socket> {
        match listen::accept(self.fd()) {
            Ok(connection) => connection.map(Into::into),
            Err(error) => {
                warn!(self.log, "cannot accept a connection"; "error" => %error);
                None
            }
        }
    }

    /// Shrinks the backlog and accepts all connections in it. The caller can then drop the listener
    /// without losing a client.
    pub(crate) fn accept_pending(&self) -> VecDeque<L::Socket> {
        self.shrink();
        std::iter::from_fn(|| self.try_accept()).collect()
    }

    /// Shrinks the backlog in all processes that share the listener, so that few clients connect
    /// before the listener is closed. The connections that are in the backlog already can still be
    /// accepted.
    pub(crate) fn shrink(&self) {
        if let Err(error) = listen::shrink_backlog(self.fd()) {
            warn!(self.log, "cannot shrink the backlog of the listener"; "error" => %error);
        }
    }
}

/// The source of a child's connections. While the child serves requests, this is the shared
/// listener. When the daemon stops, a busy child accepts all connections in the backlog and closes
/// the listener. The source then contains only these connections.
#[derive(Debug)]
pub(crate) struct ConnectionSource<L: Listen> {
    listener: Option<Rc<WatchedListener<L>>>,
    taken: VecDeque<L::Socket>,
}

impl<L: Listen> ConnectionSource<L> {
    pub(crate) fn from(listener: L) -> io::Result<Self> {
        let listener = Some(Rc::new(WatchedListener::queued(listener)?));
        Ok(ConnectionSource { listener, taken: VecDeque::new() })
    }

    /// Returns the listener, or `None` if it was closed.
    pub(crate) fn listener(&self) -> Option<Rc<WatchedListener<L>>> {
        self.listener.clone()
    }

    /// Returns the next connection that is available without waiting.
    pub(crate) fn next_waiting(&mut self) -> Option<L::Socket> {
        match &self.listener {
            Some(listener) => listener.try_accept(),
            None => self.taken.pop_front(),
        }
    }

    /// Accepts all connections in the backlog and closes the listener, so that the port is free
    /// while this child is busy.
    pub(crate) fn drain_backlog(&mut self) {
        if let Some(listener) = self.listener.take() {
            self.taken.extend(listener.accept_pending());
        }
    }

    /// Closes the listener in this child without accepting the connections in the backlog.
    pub(crate) fn close(&mut self) {
        self.listener = None;
    }
}
