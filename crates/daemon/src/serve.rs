//! The short way in: a listener and an async function for a connection. Pausing, resuming and
//! reporting happen by themselves.

use std::fmt::Display;
use std::pin::pin;

use actix::{Actor, Addr, Context, Handler, Recipient};
use futures::future::{Either, pending, select};
use slog::{Logger, debug, error};

use crate::acceptor::ParentAcceptor;
use crate::builder::DaemonBuilder;
use crate::child::{ChildActor, ChildHandle, NextAction};
use crate::connection::Connection;
use crate::error::DaemonError;
use crate::listen::{ConnectionSource, DRAIN_DELAY, Listen};
use crate::log::logger;
use crate::messages::{DaemonChild, ShutdownReason, UpdateStatus};
use crate::model::{PostFork, PreFork};
use crate::parent::DaemonActor;
use crate::program::Program;

/// What a handler of connections may return: nothing, or a result whose error is logged with
/// `verbose`.
pub trait HandlerResult {
    /// What went wrong, in words.
    fn failure(self) -> Option<String>;
}

impl HandlerResult for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Display> HandlerResult for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

impl DaemonBuilder<PreFork> {
    /// Launches and runs a daemon whose children accept from this listener and serve one
    /// connection at a time with this function, until it has stopped.
    ///
    /// A handler that panics costs its process: the child leaves with exit code 101 and is
    /// replaced.
    ///
    /// # Errors
    ///
    /// As [`launch`](DaemonBuilder::launch) and [`run`](crate::Launched::run).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::net::{TcpListener, TcpStream};
    /// use actix_daemon::{ChildHandle, Connection, Daemon, DaemonError, PreFork};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// fn main() -> Result<(), DaemonError> {
    ///     let listener = TcpListener::bind("127.0.0.1:7070").expect("a free port");
    ///     Daemon::builder()
    ///         .model(PreFork::new(4).max_children(32))
    ///         .serve(listener, async |mut stream: Connection<TcpStream>, child: ChildHandle| {
    ///             let mut line = [0; 512];
    ///             let read = stream.read(&mut line).await?;
    ///             child.label("echoing");
    ///             stream.write_all(&line[..read]).await
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
    /// Launches and runs a daemon whose parent accepts from this listener and has each connection
    /// served with this function by a child of its own, until it has stopped.
    ///
    /// # Errors
    ///
    /// As [`launch`](DaemonBuilder::launch) and [`run`](crate::Launched::run).
    pub fn serve<L, F, O>(self, listener: L, handler: F) -> Result<(), DaemonError>
    where
        L: Listen,
        F: AsyncFn(Connection<L::Socket>, ChildHandle) -> O + 'static,
        O: HandlerResult,
    {
        self.launch(PostForkServer { listener, handler })?.run()
    }
}

/// The pre-forking program.
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
        ServeSession { act: Some(async move |(), child| serve_pool(self, child).await) }
            .start()
            .recipient()
    }
}

/// The post-forking program.
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
            error!(logger(), "cannot accept connections: {}", error);
            daemon.do_send(crate::messages::Shutdown(daemon_core::StopMode::Immediate));
        }
    }

    fn child(self, _daemon: Addr<ChildActor>) -> Recipient<DaemonChild<L::Socket>> {
        // The listener is closed here, before the request comes.
        let PostForkServer { handler, .. } = self;
        let act = async move |stream, child: ChildHandle| {
            serve_stream::<L, F, O>(&handler, stream, &child, &logger()).await;
            // A refusal would say that the child is leaving already.
            let _ = child.update(UpdateStatus::Done);
        };
        ServeSession { act: Some(act) }.start().recipient()
    }
}

/// A session that does one thing when its child begins, and checks out when it is done.
struct ServeSession<A> {
    act: Option<A>,
}

// It is never pinned for its closure's sake: that is called by value.
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
        let Some(act) = self.act.take() else { return };
        // Only a child's session gets this message.
        let Some(child) = ChildHandle::current() else {
            return;
        };
        child.work(act(begun.request, child.clone()));
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
    let mut intake = match ConnectionSource::from(listener) {
        Ok(intake) => intake,
        Err(error) => {
            error!(log, "cannot accept connections: {}", error);
            return;
        }
    };
    let mut next = child.update(UpdateStatus::Wait);
    while let Ok(NextAction::Accept) = next {
        let Some(stream) = take_one(&mut intake, &child).await else { return };
        if child.update(UpdateStatus::Req).is_err() {
            return;
        }
        let served = pin!(serve_stream::<L, F, O>(&handler, stream, &child, &log));
        match select(served, pin!(stopping(&child))).await {
            Either::Left(((), _)) => {}
            Either::Right(((), served)) => {
                intake.drain_backlog();
                served.await;
            }
        }
        next = child.update(UpdateStatus::Done);
    }
}

/// Resolves when the daemon stops and others have had their chance at its listener's queue.
async fn stopping(child: &ChildHandle) {
    match child.wait_for_shutdown().await {
        ShutdownReason::Stopping => tokio::time::sleep(DRAIN_DELAY).await,
        // Others go on accepting: the listener is closed when the request in hand is done.
        ShutdownReason::StoppingNow
        | ShutdownReason::Retired
        | ShutdownReason::Recycled
        | ShutdownReason::Done => pending().await,
    }
}

/// The next connection; none when the child is told to go, and nothing waits that it shall take.
async fn take_one<L: Listen>(
    intake: &mut ConnectionSource<L>,
    child: &ChildHandle,
) -> Option<L::Socket> {
    let Some(gate) = intake.listener() else { return intake.next_waiting() };
    let leaving = match child.leaving() {
        Some(reason) => reason,
        None => match select(pin!(child.accept(&gate)), pin!(child.wait_for_shutdown())).await {
            Either::Left((stream, _)) => return Some(stream),
            Either::Right((reason, _)) => reason,
        },
    };
    match leaving {
        ShutdownReason::Stopping => {
            gate.shrink();
            intake.next_waiting()
        }
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
    let failure = handler(Connection::new(stream), child.clone()).await.failure();
    if let Some(failure) = failure {
        debug!(log, "a connection has failed: {}", failure; "slot" => child.slot().get());
    }
}
