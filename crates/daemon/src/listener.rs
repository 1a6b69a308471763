//! TCP and Unix listeners that accept one connection at a time, and the actors that accept
//! connections for sessions.

mod acceptor;
mod connection;
mod failures;
mod ownership;

pub use acceptor::{Accepted, ChildAcceptor, ParentAcceptor};
pub use connection::{Connection, StreamSocket};
pub use ownership::{DeclaredListener, ListenerOwnership};

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use daemon_core::OperatorPause;
use daemon_forkserver::now;
use daemon_sys::listen::{self, ListenAddress, SocketId};
use daemon_sys::watch::{self, SharedListener};
use futures::future::{Either, select};
use slog::{Logger, debug, info, warn};
use tokio::io::unix::AsyncFd;

use crate::child::ChildHandle;
use crate::connection_queue::ConnectionQueue;
use crate::log::logger;
use failures::{AcceptFailures, Next};

/// The delay before a process accepts again from a Unix listener that was shut down, or makes a TCP
/// listener listen again that was shut down, if the process cannot know that the daemon stops.
const SHUT_DOWN_DELAY: Duration = Duration::from_millis(100);

/// A listener that a daemon can accept from: std's [`TcpListener`] or [`UnixListener`], also with a
/// [declared](ListenerOwnership::declare) ownership.
///
/// # Examples
///
/// A Unix socket. [`bind_unix`](crate::bind_unix) replaces the file that the previous start has
/// left:
///
/// ```no_run
/// use std::fs::{Permissions, set_permissions};
/// use std::os::unix::fs::PermissionsExt;
/// use std::os::unix::net::UnixStream;
/// use actix_daemon::{ChildHandle, Connection, Daemon, PreFork, bind_unix};
/// use tokio::io::AsyncWriteExt;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let listener = bind_unix("/run/hello/socket")?;
///     set_permissions("/run/hello/socket", Permissions::from_mode(0o666))?; // for all users
///     Daemon::builder().model(PreFork::new(4)).serve(
///         listener,
///         async |mut stream: Connection<UnixStream>, _child: ChildHandle| {
///             stream.write_all(b"hello\n").await
///         },
///     )?;
///     Ok(())
/// }
/// ```
pub trait Listen: Into<OwnedFd> + AsFd + Unpin + 'static + sealed::Sealed {
    /// The type of the accepted connections. They are in nonblocking mode.
    type Socket: StreamSocket;

    /// Returns whether the listener belongs to this daemon alone.
    fn ownership(&self) -> ListenerOwnership {
        ListenerOwnership::detect(self.as_fd())
    }
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
    ownership: ListenerOwnership,
    failures: RefCell<AcceptFailures>,
    log: Logger,
    kind: PhantomData<fn() -> L>,
}

/// How a process waits for connections.
#[derive(Debug)]
enum WaitMode {
    /// No other process waits on this listener.
    Exclusive(AsyncFd<OwnedFd>),
    /// Several processes wait on this listener, and a new connection wakes one of them.
    Queued { listener: SharedListener, siblings: Option<Siblings> },
}

/// The other children of the pool, which wake this one when they cannot accept.
#[derive(Debug)]
struct Siblings {
    queue: Rc<ConnectionQueue>,
    watch: AsyncFd<OwnedFd>,
    /// Whether a child has shut down the queue, which then stays readable.
    is_closed: Cell<bool>,
}

/// The result of taking a connection that waits already.
#[derive(Debug)]
pub(crate) enum Pending {
    /// A connection.
    Connection(OwnedFd),
    /// No connection waits.
    Empty,
    /// accept(2) fails, so it is not known whether a connection waits.
    Failed,
}

impl<L: Listen> WatchedListener<L> {
    /// Watches a listener that no other process accepts from.
    pub(crate) fn exclusive(listener: L) -> io::Result<Self> {
        Self::new(listener, |listener, _ownership| {
            watch::readable(listener).map(WaitMode::Exclusive).map_err(io::Error::other)
        })
    }

    /// Watches a listener that the children of a pool share. In the main thread of a child, `child`
    /// is its handle.
    pub(crate) fn queued(listener: L, child: Option<&ChildHandle>) -> io::Result<Self> {
        let queue = child.and_then(ChildHandle::queue);
        Self::new(listener, |listener, ownership| {
            if let Some(queue) = &queue
                && ownership == ListenerOwnership::Alone
                && let Some(id) = SocketId::of(listener.as_fd())
            {
                queue.announce(id);
            }
            let listener = SharedListener::new(listener).map_err(io::Error::other)?;
            let siblings = queue.map(Siblings::watch).transpose()?;
            Ok(WaitMode::Queued { listener, siblings })
        })
    }

    /// Makes the listener nonblocking, in all processes that have it open, and watches it.
    fn new(
        listener: L,
        watched: impl FnOnce(OwnedFd, ListenerOwnership) -> io::Result<WaitMode>,
    ) -> io::Result<Self> {
        let ownership = listener.ownership();
        let listener: OwnedFd = listener.into();
        listen::set_nonblocking(listener.as_fd(), true).map_err(io::Error::other)?;
        let address = ListenAddress::of(listener.as_fd()).map_err(io::Error::other)?;
        let mode = watched(listener, ownership)?;
        let failures = RefCell::default();
        Ok(WatchedListener { mode, address, ownership, failures, log: logger(), kind: PhantomData })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.mode {
            WaitMode::Exclusive(watch) => watch.get_ref().as_fd(),
            WaitMode::Queued { listener, .. } => listener.listener().as_fd(),
        }
    }

    /// Waits for the next connection and accepts it. If accept(2) fails, for example because the
    /// process has no free descriptor, logs the error and tries again until it succeeds.
    pub(crate) async fn accept(&self) -> L::Socket {
        loop {
            if let Some(stream) = self.accept_while(None, || true).await {
                return stream;
            }
        }
    }

    /// Waits for a connection in a child. Accepts none while the operator has paused the daemon.
    /// If accept(2) fails for long, the child exits.
    pub(crate) async fn accept_in(&self, child: &ChildHandle) -> L::Socket {
        loop {
            child.wait_for_operator_pause(OperatorPause::Off).await;
            let accepted = self.accept_while(Some(child), || !child.is_paused_by_operator());
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
    async fn accept_while(
        &self,
        child: Option<&ChildHandle>,
        condition: impl Fn() -> bool,
    ) -> Option<L::Socket> {
        loop {
            if !condition() {
                return None;
            }
            let failure = match listen::accept(self.fd()) {
                Ok(Some(connection)) => {
                    self.on_success();
                    return Some(connection.into());
                }
                Ok(None) => {
                    self.on_success();
                    match self.wait(child).await {
                        Ok(Some(connection)) => return Some(connection.into()),
                        Ok(None) => continue,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.on_failure(&failure, child).await;
        }
    }

    /// Waits until there may be a connection to accept. Returns a connection that the fork server
    /// has accepted, if the daemon is stopping.
    async fn wait(&self, child: Option<&ChildHandle>) -> io::Result<Option<OwnedFd>> {
        let was_shut_down = match &self.mode {
            WaitMode::Exclusive(watch) => {
                let mut ready = watch.readable().await?;
                ready.clear_ready();
                false
            }
            WaitMode::Queued { listener, siblings: None } => listener.readable().await?,
            WaitMode::Queued { listener, siblings: Some(siblings) } => {
                match select(pin!(listener.readable()), pin!(siblings.message())).await {
                    Either::Left((was_shut_down, _)) => was_shut_down?,
                    Either::Right((message, _)) => {
                        message?;
                        let connection = siblings.queue.next_connection();
                        // In a running daemon, only a child could have put it into the queue.
                        let is_stopping = child.is_some_and(ChildHandle::is_daemon_stopping);
                        return Ok(connection.filter(|_| is_stopping));
                    }
                }
            }
        };
        if was_shut_down && self.address.is_unix() {
            // It stays readable and never has a new connection.
            tokio::time::sleep(SHUT_DOWN_DELAY).await;
        }
        Ok(None)
    }

    fn on_success(&self) {
        if self.failures.borrow_mut().succeeded() {
            info!(self.log, "accepting connections again");
        }
    }

    /// Waits before the next attempt to accept. During this time the process does not wait on the
    /// listener, so new connections wake its siblings. Wakes the siblings for the connection that
    /// this process could not accept.
    async fn on_failure(&self, error: &io::Error, child: Option<&ChildHandle>) {
        let was_shut_down = error.kind() == io::ErrorKind::InvalidInput;
        if was_shut_down && child.is_some_and(ChildHandle::is_daemon_stopping) {
            // The signal that stops this child has not arrived yet.
            return pending().await;
        }
        let after = self.failures.borrow_mut().failed(error, now());
        if after.should_log {
            warn!(self.log, "cannot accept a connection"; "error" => %error);
        }
        if after.is_first
            && let WaitMode::Queued { siblings: Some(siblings), .. } = &self.mode
        {
            siblings.queue.wake_siblings();
        }
        if was_shut_down {
            if child.is_none() {
                tokio::time::sleep(SHUT_DOWN_DELAY).await;
            }
            // A child that has the listener, too, has shut it down.
            if let Err(error) = listen::listen_again(self.fd(), &self.address) {
                debug!(self.log, "cannot listen again"; "error" => %error);
            }
        }
        match (after.next, child) {
            (Next::Retry(delay), _) | (Next::Replace(delay), None) => {
                tokio::time::sleep(delay).await;
            }
            (Next::Replace(_), Some(child)) => {
                child.give_up_accepting();
                pending::<()>().await;
            }
        }
    }

    /// Returns whether the listener belongs to this daemon alone.
    pub(crate) fn is_owned_alone(&self) -> bool {
        self.ownership == ListenerOwnership::Alone
    }

    /// Accepts a connection from the backlog without waiting.
    pub(crate) fn try_accept(&self) -> Pending {
        try_accept(self.fd(), &self.log)
    }

    /// Prevents that clients connect and are not served, in all processes that share the listener.
    /// The connections that are in the backlog already can still be accepted.
    pub(crate) fn refuse_clients(&self) {
        refuse_clients(self.fd(), &self.log);
    }

    /// Returns whether no connection waits and no client is about to be connected.
    fn is_empty(&self) -> bool {
        // In this order: a client that finishes its handshake between the two waits then.
        !self.has_handshakes() && matches!(listen::has_pending(self.fd()), Ok(false))
    }

    /// Returns whether a client is about to be in the backlog although new clients are refused.
    pub(crate) fn has_handshakes(&self) -> bool {
        listen::has_handshakes(self.fd())
    }

    /// Frees the address of the listener, whose backlog is empty.
    pub(crate) fn shut_down(&self) {
        shut_down(self.fd(), &self.log);
    }
}

impl Siblings {
    fn watch(queue: Rc<ConnectionQueue>) -> io::Result<Siblings> {
        let watched = queue.watched().try_clone_to_owned()?;
        let watch = watch::readable(watched).map_err(io::Error::other)?;
        Ok(Siblings { queue, watch, is_closed: Cell::new(false) })
    }

    /// Waits for the next message in the queue.
    async fn message(&self) -> io::Result<()> {
        if self.is_closed.get() {
            return pending().await;
        }
        // Cleared before the message is read, so that a later message wakes this process again.
        let mut ready = self.watch.readable().await?;
        self.is_closed.set(ready.ready().is_read_closed());
        ready.clear_ready();
        Ok(())
    }
}

/// Accepts a connection from the backlog of a listener without waiting.
fn try_accept(listener: BorrowedFd<'_>, log: &Logger) -> Pending {
    match listen::accept(listener) {
        Ok(Some(connection)) => Pending::Connection(connection),
        Ok(None) => Pending::Empty,
        // The listener was shut down, after its backlog was empty.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Pending::Empty,
        Err(error) => {
            debug!(log, "cannot accept a connection"; "error" => %error);
            Pending::Failed
        }
    }
}

fn refuse_clients(listener: BorrowedFd<'_>, log: &Logger) {
    // A process that has the listener, too, may have shut it down.
    if let Err(error) = listen::refuse_new_connections(listener) {
        debug!(log, "cannot refuse new connections"; "error" => %error);
    }
}

fn shut_down(listener: BorrowedFd<'_>, log: &Logger) {
    // Another process may have done it already, and some systems do not support it. Then the
    // address is free when all processes have closed the listener.
    if let Err(error) = listen::shut_down(listener) {
        debug!(log, "cannot shut down the listener"; "error" => %error);
    }
}

/// Moves the connections that wait at the listeners of a stopping pool into its queue, and shuts
/// the listeners down. So their addresses are free although some children are busy, and each child
/// can serve the connections. Runs in the fork server.
///
/// Listeners that children have not announced stay as they are. If there is no space in the queue,
/// the children accept the rest from the listener.
pub(crate) fn move_pending(queue: &ConnectionQueue, log: &Logger) {
    let announced = queue.announced();
    if announced.is_empty() {
        return;
    }
    let open = match listen::open_listeners() {
        Ok(open) => open,
        Err(error) => {
            debug!(log, "cannot list the listeners"; "error" => %error);
            return;
        }
    };
    // What children have put there is not from the listener.
    queue.discard();
    let is_announced = |id: Option<SocketId>| id.is_some_and(|id| announced.contains(&id));
    let mut listeners: Vec<_> = open.into_iter().filter(|open| is_announced(open.id)).collect();
    listeners.sort_unstable_by_key(|open| open.id);
    listeners.dedup_by_key(|open| open.id);
    let listeners: Vec<_> = listeners.iter().map(|open| open.fd.as_fd()).collect();
    // First, so that no connection comes after the last one was accepted.
    for listener in &listeners {
        refuse_clients(*listener, log);
    }
    listen::wait_for_handshakes(&listeners);
    for listener in listeners {
        move_pending_of(listener, queue, log);
    }
}

fn move_pending_of(listener: BorrowedFd<'_>, queue: &ConnectionQueue, log: &Logger) {
    while queue.has_space() {
        match try_accept(listener, log) {
            Pending::Connection(connection) => {
                if let Err(error) = queue.put(connection.as_fd()) {
                    warn!(log, "connection closed without service"; "reason" => %error);
                    return;
                }
            }
            Pending::Empty => return shut_down(listener, log),
            Pending::Failed => return,
        }
    }
}

/// The source of a child's connections: the listener, and when the daemon stops, the queue of the
/// pool and what is left in the listener's backlog.
#[derive(Debug)]
pub(crate) struct ConnectionSource<L: Listen> {
    listener: ListenerState<L>,
    queue: Option<Rc<ConnectionQueue>>,
}

/// What a child does with its listener.
#[derive(Debug)]
enum ListenerState<L> {
    /// The child accepts from it.
    Accepting(Rc<WatchedListener<L>>),
    /// The daemon is stopping: new clients are refused, and those that wait are accepted.
    Refusing(Rc<WatchedListener<L>>),
    Closed,
}

impl<L: Listen> ConnectionSource<L> {
    /// Creates the source. In the main thread of a child, `child` is its handle.
    pub(crate) fn from(listener: L, child: Option<&ChildHandle>) -> io::Result<Self> {
        let listener = Rc::new(WatchedListener::queued(listener, child)?);
        let queue = child.and_then(ChildHandle::queue);
        Ok(ConnectionSource { listener: ListenerState::Accepting(listener), queue })
    }

    /// Returns the listener, or `None` if the daemon is stopping or the listener was closed.
    pub(crate) fn listener(&self) -> Option<Rc<WatchedListener<L>>> {
        match &self.listener {
            ListenerState::Accepting(listener) => Some(Rc::clone(listener)),
            ListenerState::Refusing(_) | ListenerState::Closed => None,
        }
    }

    /// Prepares for the stop of the daemon while this child finishes its request. Closes a listener
    /// that another program has, too, whose queue belongs to that program. Only the first call has
    /// an effect.
    pub(crate) fn begin_stop(&mut self) {
        self.listener = match mem::replace(&mut self.listener, ListenerState::Closed) {
            ListenerState::Accepting(listener) if listener.is_owned_alone() => {
                listener.refuse_clients();
                if listener.is_empty() {
                    listener.shut_down();
                }
                ListenerState::Refusing(listener)
            }
            ListenerState::Accepting(_) | ListenerState::Closed => ListenerState::Closed,
            refusing @ ListenerState::Refusing(_) => refusing,
        };
    }

    /// Takes one of the connections that wait when the daemon stops. If none is left, frees the
    /// listener's address and closes the listener.
    pub(crate) fn take_remaining(&mut self) -> Option<L::Socket> {
        self.begin_stop();
        if let Some(connection) = self.queue.as_ref().and_then(|queue| queue.next_connection()) {
            return Some(connection.into());
        }
        let ListenerState::Refusing(listener) = &self.listener else { return None };
        let mut pending = listener.try_accept();
        if matches!(pending, Pending::Empty) && listen::is_listening(listener.fd()) {
            // The fork server could not shut it down. Tasks of this child wait, too, for a short
            // time.
            listen::wait_for_handshakes(&[listener.fd()]);
            pending = listener.try_accept();
        }
        match pending {
            Pending::Connection(connection) => return Some(connection.into()),
            Pending::Empty => listener.shut_down(),
            // The siblings accept the connections in the backlog.
            Pending::Failed => {}
        }
        self.close();
        None
    }

    /// Closes the listener in this child without accepting the connections in the backlog.
    pub(crate) fn close(&mut self) {
        self.listener = ListenerState::Closed;
    }
}
