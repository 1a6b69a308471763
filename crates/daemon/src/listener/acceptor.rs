//! Actors that accept connections, and pause and resume with the daemon. They correspond to POE's
//! SocketFactory.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix::fut::{ActorFutureExt, WrapFuture};
use actix::{
    Actor, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture, SpawnHandle,
};
use daemon_forkserver::Transfer;
use futures::channel::oneshot;
use futures::future::ready;
use slog::Logger;

use super::{ConnectionSource, DRAIN_DELAY, Listen, WatchedListener};
use crate::child::{ChildActor, ChildHandle};
use crate::log::logger;
use crate::messages::{
    DaemonAccept, DaemonPause, DaemonShutdown, HandOver, HandOverError, HandOverErrorReason,
    HandedOver, ShutdownReason, Subscribe, UpdateStatus,
};
use crate::panics;
use crate::parent::DaemonActor;

/// An accepted connection, for which the acceptor has already reported [`UpdateStatus::Req`].
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Accepted<S: 'static>(pub S);

/// Accepts one connection for each [`DaemonAccept`] in a pre-forked child, and sends the connection
/// to the session as [`Accepted`].
///
/// The acceptor reports [`UpdateStatus::Req`], so that the scoreboard shows a connection as soon as
/// it is accepted. The session reports [`UpdateStatus::Done`] when it has finished the connection.
/// When the daemon stops, the acceptor accepts the connections in the listener's backlog, closes
/// the listener, and delivers all these connections to the session.
#[derive(Debug)]
pub struct ChildAcceptor<L: Listen> {
    source: ConnectionSource<L>,
    daemon: Addr<ChildActor>,
    session: Recipient<Accepted<L::Socket>>,
    accepting: Option<SpawnHandle>,
    drained: Option<oneshot::Sender<()>>,
}

impl<L: Listen> ChildAcceptor<L> {
    /// Starts an acceptor that waits for its first [`DaemonAccept`].
    ///
    /// # Errors
    ///
    /// If the runtime cannot watch the listener.
    pub fn start(
        listener: L,
        daemon: Addr<ChildActor>,
        session: Recipient<Accepted<L::Socket>>,
    ) -> io::Result<Addr<Self>> {
        let source = ConnectionSource::from(listener)?;
        let acceptor = ChildAcceptor { source, daemon, session, accepting: None, drained: None };
        Ok(Actor::start(acceptor))
    }

    fn deliver(&self, stream: L::Socket) {
        self.daemon.do_send(UpdateStatus::Req);
        self.session.do_send(Accepted(stream));
    }

    fn accept(&mut self, ctx: &mut Context<Self>) {
        if self.drained.is_some() {
            self.drain();
            return;
        }
        let Some(listener) = self.source.listener() else { return };
        if self.accepting.is_none() {
            // In a thread other than that of the child's System, `current` returns `None`. The
            // acceptor then pauses when it receives `DaemonPause`, and does not check for an
            // operator's pause before each connection.
            let accept = async move {
                match ChildHandle::current() {
                    Some(child) => listener.accept_in(&child).await,
                    None => listener.accept().await,
                }
            };
            self.accepting =
                Some(ctx.spawn(accept.into_actor(self).map(|stream, acceptor, _ctx| {
                    acceptor.accepting = None;
                    acceptor.deliver(stream);
                })));
        }
    }

    /// Delivers the next connection that is left. If none is left, closes the listener and answers
    /// the shutdown.
    fn drain(&mut self) {
        match self.source.next_waiting() {
            Some(stream) => self.deliver(stream),
            None => {
                self.source.close();
                if let Some(drained) = self.drained.take() {
                    // The daemon stops waiting for the answer when the grace period ends.
                    let _ = drained.send(());
                }
            }
        }
    }
}

impl<L: Listen> Actor for ChildAcceptor<L> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let name = "Acceptor";
        self.daemon.do_send(Subscribe::<DaemonAccept>::new(name, ctx.address()));
        self.daemon.do_send(Subscribe::<DaemonPause>::new(name, ctx.address()));
        self.daemon.do_send(Subscribe::<DaemonShutdown>::new(name, ctx.address()));
    }
}

impl<L: Listen> Handler<DaemonAccept> for ChildAcceptor<L> {
    type Result = ();

    fn handle(&mut self, _accept: DaemonAccept, ctx: &mut Self::Context) {
        self.accept(ctx);
    }
}

impl<L: Listen> Handler<DaemonPause> for ChildAcceptor<L> {
    type Result = ();

    fn handle(&mut self, _pause: DaemonPause, ctx: &mut Self::Context) {
        if let Some(handle) = self.accepting.take() {
            ctx.cancel_future(handle);
        }
    }
}

impl<L: Listen> Handler<DaemonShutdown> for ChildAcceptor<L> {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, shutdown: DaemonShutdown, ctx: &mut Self::Context) -> Self::Result {
        let was_accepting = self.accepting.take().is_some_and(|handle| ctx.cancel_future(handle));
        match (shutdown.reason, self.source.listener()) {
            (ShutdownReason::Stopping, Some(listener)) => {
                listener.shrink();
                let (drained, answer) = oneshot::channel();
                self.drained = Some(drained);
                if was_accepting {
                    self.drain();
                }
                ctx.run_later(DRAIN_DELAY, |acceptor, _ctx| acceptor.source.drain_backlog());
                Box::pin(async move { answer.await.unwrap_or(()) })
            }
            (ShutdownReason::Stopping, None)
            | (
                ShutdownReason::StoppingNow
                | ShutdownReason::Retired
                | ShutdownReason::Recycled
                | ShutdownReason::Done,
                _,
            ) => {
                self.source.close();
                Box::pin(ready(()))
            }
        }
    }
}

/// Accepts connections in the parent of a post-forking daemon, and hands over each connection as a
/// request.
///
/// The acceptor pauses on [`DaemonPause`] and resumes on [`DaemonAccept`]. If the daemon returns a
/// request because the daemon's own backlog is full, the acceptor hands over the request again
/// after a short delay. When the daemon stops, the acceptor hands over the connections in the
/// listener's backlog and closes the listener.
pub struct ParentAcceptor<L: Listen, R: Transfer + Send> {
    listener: Option<Rc<WatchedListener<L>>>,
    daemon: Addr<DaemonActor<R>>,
    request: fn(L::Socket) -> R,
    accepting: Option<SpawnHandle>,
    paused: bool,
    returned: VecDeque<R>,
    log: Logger,
}

/// The delay before a returned request is handed over again.
const RETRY_DELAY: Duration = Duration::from_millis(5);

impl<L: Listen, R: Transfer + Send> std::fmt::Debug for ParentAcceptor<L, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParentAcceptor").field("returned", &self.returned.len()).finish()
    }
}

impl<L: Listen, R: Transfer + Send> ParentAcceptor<L, R> {
    /// Starts an acceptor. The function `request` converts a connection into a request. If it
    /// panics, the panic is logged and the connection is closed.
    ///
    /// # Errors
    ///
    /// If the runtime cannot watch the listener.
    pub fn start(
        listener: L,
        daemon: Addr<DaemonActor<R>>,
        request: fn(L::Socket) -> R,
    ) -> io::Result<Addr<Self>> {
        let listener = Some(Rc::new(WatchedListener::exclusive(listener)?));
        Ok(Actor::start(ParentAcceptor {
            listener,
            daemon,
            request,
            accepting: None,
            paused: false,
            returned: VecDeque::new(),
            log: logger(),
        }))
    }

    fn accept_next(&mut self, ctx: &mut Context<Self>) {
        let Some(listener) = self.listener.clone() else {
            return;
        };
        if self.paused || self.accepting.is_some() {
            return;
        }
        if let Some(request) = self.returned.pop_front() {
            self.hand_over(request, ctx);
        }
        let accept = async move {
            // Lets the daemon run between two connections, so that a pause takes effect
            // immediately.
            tokio::task::yield_now().await;
            listener.accept().await
        };
        self.accepting = Some(ctx.spawn(accept.into_actor(self).map(|stream, acceptor, ctx| {
            acceptor.accepting = None;
            if let Some(request) = acceptor.convert(stream) {
                acceptor.hand_over(request, ctx);
            }
            acceptor.accept_next(ctx);
        })));
    }

    /// Converts a connection into a request. If the function panics, its connection is closed. The
    /// panic hook logs the panic.
    fn convert(&self, stream: L::Socket) -> Option<R> {
        panics::catch(|| (self.request)(stream)).ok()
    }

    fn hand_over(&mut self, request: R, ctx: &mut Context<Self>) {
        let answer = self.daemon.send(HandOver(request));
        ctx.spawn(answer.into_actor(self).map(|answer, acceptor, ctx| {
            if let Ok(Err(HandOverError { request, reason })) = answer {
                acceptor.on_returned(request, &reason, ctx);
            }
        }));
    }

    fn on_returned(&mut self, request: R, reason: &HandOverErrorReason, ctx: &mut Context<Self>) {
        match reason {
            HandOverErrorReason::Full { .. } => {
                self.returned.push_back(request);
                ctx.run_later(RETRY_DELAY, |acceptor, ctx| {
                    if let Some(request) = acceptor.returned.pop_front() {
                        acceptor.hand_over(request, ctx);
                    }
                });
            }
            reason => {
                slog::warn!(self.log, "connection closed without service"; "reason" => %reason);
            }
        }
    }
}

impl<L: Listen, R: Transfer + Send> Actor for ParentAcceptor<L, R> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let name = "Acceptor";
        self.daemon.do_send(Subscribe::<DaemonAccept>::new(name, ctx.address()));
        self.daemon.do_send(Subscribe::<DaemonPause>::new(name, ctx.address()));
        self.daemon.do_send(Subscribe::<DaemonShutdown>::new(name, ctx.address()));
        self.accept_next(ctx);
    }
}

impl<L: Listen, R: Transfer + Send> Handler<DaemonAccept> for ParentAcceptor<L, R> {
    type Result = ();

    fn handle(&mut self, _accept: DaemonAccept, ctx: &mut Self::Context) {
        self.paused = false;
        self.accept_next(ctx);
    }
}

impl<L: Listen, R: Transfer + Send> Handler<DaemonPause> for ParentAcceptor<L, R> {
    type Result = ();

    fn handle(&mut self, _pause: DaemonPause, ctx: &mut Self::Context) {
        self.paused = true;
        if let Some(handle) = self.accepting.take() {
            ctx.cancel_future(handle);
        }
    }
}

impl<L: Listen, R: Transfer + Send> Handler<DaemonShutdown> for ParentAcceptor<L, R> {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, shutdown: DaemonShutdown, ctx: &mut Self::Context) -> Self::Result {
        if let Some(handle) = self.accepting.take() {
            ctx.cancel_future(handle);
        }
        let mut last: VecDeque<R> = self.returned.drain(..).collect();
        if let (ShutdownReason::Stopping, Some(listener)) = (shutdown.reason, self.listener.take())
        {
            let pending = listener.accept_pending().into_iter();
            last.extend(pending.filter_map(|stream| self.convert(stream)));
        }
        self.listener = None;
        let (daemon, log) = (self.daemon.clone(), self.log.clone());
        Box::pin(hand_over_remaining(last, daemon, log))
    }
}

/// Hands over the connections that were accepted before the listener was closed. Tries again while
/// the daemon's backlog is full.
async fn hand_over_remaining<R: Transfer + Send>(
    mut last: VecDeque<R>,
    daemon: Addr<DaemonActor<R>>,
    log: Logger,
) {
    while let Some(request) = last.pop_front() {
        let answer: Result<Result<HandedOver, HandOverError<R>>, _> =
            daemon.send(HandOver(request)).await;
        match answer {
            Ok(Ok(_handed_over)) => {}
            Ok(Err(HandOverError { request, reason: HandOverErrorReason::Full { .. } })) => {
                last.push_front(request);
                tokio::time::sleep(RETRY_DELAY).await;
            }
            Ok(Err(HandOverError { reason, .. })) => {
                slog::warn!(log, "connection closed without service"; "reason" => %reason);
            }
            Err(gone) => slog::warn!(log, "connection closed without service"; "reason" => %gone),
        }
    }
}
