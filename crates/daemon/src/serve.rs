//! Serves each connection of a listener with an async function. Accepting, pausing, resuming and
//! reporting statuses are automatic.

use std::any::Any;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::pin::pin;

use actix::{Actor, Addr, Context, Handler, Recipient};
use daemon_core::LimitedRecord;
use futures::future::{Either, pending, select};
use slog::{Logger, debug, error, warn};

use crate::builder::DaemonBuilder;
use crate::child::{ChildActor, ChildHandle, NextAction, RequestReporter};
use crate::error::DaemonError;
use crate::launch::Program;
use crate::listener::{Connection, ConnectionSource, Listen, ParentAcceptor};
use crate::log::logger;
use crate::messages::{DaemonChild, ShutdownReason, UpdateStatus};
use crate::model::{PostFork, PreFork};
use crate::parent::DaemonActor;

/// The return type of a connection handler: `()`, or a `Result` whose error is logged.
///
/// An error is logged as a warning, `handler failed`. All children together write ten such records
/// in a burst and then one every ten seconds; the next record has the number of those that were
/// suppressed.
///
/// An [`io::Error`] of the kinds `BrokenPipe`, `ConnectionReset`, `ConnectionAborted` and
/// `UnexpectedEof` usually means that the client has disconnected. It is logged, as `client
/// disconnected`, only if the daemon is [`verbose`](DaemonBuilder::verbose). This includes an
/// `io::Error` in a `Box<dyn Error>`. To log such an error of another connection, for example of a
/// database, return an error of another type.
pub trait HandlerResult {
    /// Returns the failure, if the handler has failed.
    fn failure(self) -> Option<HandlerFailure>;
}

/// The failure of a connection handler.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandlerFailure {
    /// The client has disconnected. Contains the error message.
    Disconnected(String),
    /// The handler has failed for another reason. Contains the error message.
    Failed(String),
}

impl HandlerResult for () {
    fn failure(self) -> Option<HandlerFailure> {
        None
    }
}

impl<E: Display + 'static> HandlerResult for Result<(), E> {
    fn failure(self) -> Option<HandlerFailure> {
        self.err().map(|error| {
            let text = error.to_string();
            match io_error(&error).map(io::Error::kind) {
                Some(
                    io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::UnexpectedEof,
                ) => HandlerFailure::Disconnected(text),
                Some(_) | None => HandlerFailure::Failed(text),
            }
        })
    }
}

/// Returns the I/O error that this error is or contains in a box.
fn io_error(error: &dyn Any) -> Option<&io::Error> {
    let boxed = error.downcast_ref::<Box<dyn Error>>().and_then(|error| error.downcast_ref());
    let sync = error.downcast_ref::<Box<dyn Error + Send + Sync>>();
    let sync = sync.and_then(|error| error.downcast_ref());
    error.downcast_ref().or(boxed).or(sync)
}

impl DaemonBuilder<PreFork> {
    /// Launches a daemon and runs it until it has stopped. The children accept connections from
    /// this listener. Each child serves one connection at a time with `handler`.
    ///
    /// If the handler panics, the panic is logged with its location, and its child exits with code
    /// 101 and is replaced. If the handler returns an error, see [`HandlerResult`].
    ///
    /// The statuses of the child are reported automatically, so the handler can use
    /// [`label`](ChildHandle::label), [`long`](ChildHandle::long) and
    /// [`extend`](ChildHandle::extend), but cannot report that its request is done: a child that
    /// serves a connection would seem to be idle. [`ChildHandle::update_status`] returns an error
    /// then.
    ///
    /// # Errors
    ///
    /// The errors of [`launch`](DaemonBuilder::launch) and [`run`](crate::Launched::run).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    /// use actix_daemon::{ChildHandle, Connection, Daemon, DaemonError, PreFork};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// use tokio::time::timeout;
    ///
    /// // How long a client may take. A silent client would occupy its child for ever.
    /// const PATIENCE: Duration = Duration::from_secs(30);
    ///
    /// fn main() -> Result<(), DaemonError> {
    ///     let listener = TcpListener::bind("127.0.0.1:7070").expect("a free port");
    ///     Daemon::builder()
    ///         .model(PreFork::new(4).max_children(32))
    ///         .serve(listener, async |mut stream: Connection<TcpStream>, child: ChildHandle| {
    ///             let mut line = [0; 512];
    ///             let read = timeout(PATIENCE, stream.read(&mut line)).await??;
    ///             child.label("echoing");
    ///             timeout(PATIENCE, stream.write_all(&line[..read])).await?
    ///         })
    /// }
    /// ```
    pub fn serve<L, F, O>(self, listener: L, handler: F) -> Result<(), DaemonError>
    where
        L: Listen,
        F: AsyncFn(Connection<L::Socket>, ChildHandle) -> O + 'static,
        O: HandlerResult,
    {
        self.launch(PreForkServer { listener, handler })?.run()
    }
}

impl DaemonBuilder<PostFork> {
    /// Launches a daemon and runs it until it has stopped. The parent accepts connections from this
    /// listener and hands each connection to a new child. The child serves the connection with
    /// `handler`.
    ///
    /// # Errors
    ///
    /// The errors of [`launch`](DaemonBuilder::launch) and [`run`](crate::Launched::run).
    pub fn serve<L, F, O>(self, listener: L, handler: F) -> Result<(), DaemonError>
    where
        L: Listen,
        F: AsyncFn(Connection<L::Socket>, ChildHandle) -> O + 'static,
        O: HandlerResult,
    {
        self.launch(PostForkServer { listener, handler })?.run()
    }
}

/// The program of a pre-forking daemon that serves a listener.
struct PreForkServer<L, F> {
    listener: L,
    handler: F,
}

impl<L, F, O> Program for PreForkServer<L, F>
where
    L: Listen,
    F: AsyncFn(Connection<L::Socket>, ChildHandle) -> O + 'static,
    O: HandlerResult,
{
    type Request = ();

    fn child(self, _daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
        ServeSession { task: Some(async move |(), child| serve_pool(self, child).await) }
            .start()
            .recipient()
    }
}

/// The program of a post-forking daemon that serves a listener.
struct PostForkServer<L, F> {
    listener: L,
    handler: F,
}

impl<L, F, O> Program for PostForkServer<L, F>
where
    L: Listen,
    F: AsyncFn(Connection<L::Socket>, ChildHandle) -> O + 'static,
    O: HandlerResult,
{
    type Request = L::Socket;

    fn parent(self, daemon: Addr<DaemonActor<L::Socket>>) {
        let started = ParentAcceptor::start(self.listener, daemon.clone(), |stream| stream);
        if let Err(error) = started {
            error!(logger(), "cannot watch the listener"; "error" => %error);
            daemon.do_send(crate::messages::Shutdown(daemon_core::StopMode::Immediate));
        }
    }

    fn child(self, _daemon: Addr<ChildActor>) -> Recipient<DaemonChild<L::Socket>> {
        // The listener is dropped when this function returns, before the request is handled.
        let PostForkServer { handler, .. } = self;
        let task = async move |stream, child: ChildHandle| {
            let requests = child.take_over_requests();
            serve_stream::<L, F, O>(&handler, stream, &child, &logger()).await;
            // The update is refused only if the child is leaving already.
            let _ = requests.next(UpdateStatus::Done);
        };
        ServeSession { task: Some(task) }.start().recipient()
    }
}

/// A session that runs one task when its child starts.
struct ServeSession<A> {
    task: Option<A>,
}

// The closure is called by value, so it does not have to stay pinned.
impl<A> Unpin for ServeSession<A> {}

impl<A: 'static> Actor for ServeSession<A> {
    type Context = Context<Self>;
}

impl<A, R> Handler<DaemonChild<R>> for ServeSession<A>
where
    A: AsyncFnOnce(R, ChildHandle) + 'static,
    R: Send + 'static,
{
    type Result = ();

    fn handle(&mut self, begun: DaemonChild<R>, _ctx: &mut Self::Context) {
        let Some(task) = self.task.take() else { return };
        // Always `Some`, because only the session of a child receives this message.
        let Some(child) = ChildHandle::current() else {
            return;
        };
        child.work(task(begun.request, child.clone()));
    }
}

async fn serve_pool<L, F, O>(pool: PreForkServer<L, F>, child: ChildHandle)
where
    L: Listen,
    F: AsyncFn(Connection<L::Socket>, ChildHandle) -> O + 'static,
    O: HandlerResult,
{
    let PreForkServer { listener, handler } = pool;
    let log = logger();
    let mut source = match ConnectionSource::from(listener, Some(&child)) {
        Ok(source) => source,
        Err(error) => {
            error!(log, "cannot watch the listener"; "error" => %error);
            return;
        }
    };
    let requests: RequestReporter = child.take_over_requests();
    let mut next = requests.next(UpdateStatus::Wait);
    while let Ok(NextAction::Accept) = next {
        let Some(stream) = next_connection(&mut source, &child).await else { return };
        if requests.next(UpdateStatus::Req).is_err() {
            return;
        }
        let served = pin!(serve_stream::<L, F, O>(&handler, stream, &child, &log));
        match select(served, pin!(stopping(&child))).await {
            Either::Left(((), _)) => {}
            Either::Right(((), served)) => {
                source.begin_stop();
                served.await;
            }
        }
        next = requests.next(UpdateStatus::Done);
    }
}

/// Completes when this child stops because the daemon stops gracefully. If the child shuts down for
/// another reason, never completes.
async fn stopping(child: &ChildHandle) {
    match child.wait_for_shutdown().await {
        ShutdownReason::Stopping => {}
        // Other children accept the connections in the backlog, except in an immediate stop. This
        // child closes the listener after the current request.
        ShutdownReason::StoppingNow
        | ShutdownReason::Retired
        | ShutdownReason::Recycled
        | ShutdownReason::Done => pending().await,
    }
}

/// Waits for the next connection and returns it. Returns `None` if the child was asked to shut down
/// and there is no connection that it has to serve.
async fn next_connection<L: Listen>(
    source: &mut ConnectionSource<L>,
    child: &ChildHandle,
) -> Option<L::Socket> {
    let leaving = match (child.leaving(), source.listener()) {
        (Some(reason), _) => reason,
        (None, None) => return None,
        (None, Some(listener)) => {
            match select(pin!(listener.accept_in(child)), pin!(child.wait_for_shutdown())).await {
                Either::Left((stream, _)) => return Some(stream),
                Either::Right((reason, _)) => reason,
            }
        }
    };
    match leaving {
        ShutdownReason::Stopping => source.take_remaining(),
        ShutdownReason::StoppingNow
        | ShutdownReason::Retired
        | ShutdownReason::Recycled
        | ShutdownReason::Done => None,
    }
}

async fn serve_stream<L, F, O>(handler: &F, stream: L::Socket, child: &ChildHandle, log: &Logger)
where
    L: Listen,
    F: AsyncFn(Connection<L::Socket>, ChildHandle) -> O + 'static,
    O: HandlerResult,
{
    match handler(Connection::new(stream), child.clone()).await.failure() {
        None => {}
        Some(HandlerFailure::Disconnected(error)) => {
            debug!(log, "client disconnected"; "error" => error);
        }
        Some(HandlerFailure::Failed(error)) => {
            if let Some(suppressed) = child.admit_record(LimitedRecord::HandlerFailed) {
                warn!(log, "handler failed"; "error" => error, "suppressed" => suppressed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_io_errors_of_a_lost_connection_count_as_a_disconnection() {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, NotFound, TimedOut, UnexpectedEof,
        };
        let is_lost = |failure: Option<HandlerFailure>| match failure {
            Some(HandlerFailure::Disconnected(_)) => true,
            Some(HandlerFailure::Failed(_)) => false,
            None => panic!("the handler has failed"),
        };
        for (kind, expected) in [
            (BrokenPipe, true),
            (ConnectionReset, true),
            (ConnectionAborted, true),
            (UnexpectedEof, true),
            (NotFound, false),
            (TimedOut, false),
        ] {
            assert_eq!(is_lost(Err(io::Error::from(kind)).failure()), expected, "{kind}");
            let boxed: Box<dyn Error> = io::Error::from(kind).into();
            assert_eq!(is_lost(Err(boxed).failure()), expected, "{kind}");
            let sync: Box<dyn Error + Send + Sync> = io::Error::from(kind).into();
            assert_eq!(is_lost(Err(sync).failure()), expected, "{kind}");
            assert!(!is_lost(Err(format!("cannot query: {kind}")).failure()));
        }
        assert_eq!(().failure(), None);
        assert_eq!(Ok::<(), String>(()).failure(), None);
        let failed = HandlerFailure::Failed("no way".to_owned());
        assert_eq!(Err("no way").failure(), Some(failed));
    }
}
