//! The part of POE's SocketFactory: actors that accept connections, and pause and resume as the
//! daemon says.

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

use crate::child::{ChildActor, ChildHandle};
use crate::listen::{ConnectionSource, DRAIN_DELAY, Listen, WatchedListener};
use crate::log::logger;
use crate::messages::{
    DaemonAccept, DaemonPause, DaemonShutdown, HandOver, HandOverError, HandOverErrorReason,
    HandedOver, ShutdownReason, Subscribe, UpdateStatus,
};
use crate::parent::DaemonActor;

/// A connection that was accepted. The request is noted on the scoreboard already.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Accepted<S: 'static>(pub S);

/// Accepts in a pre-forked child: one connection for each [`DaemonAccept`], which goes to the
/// session as [`Accepted`].
///
/// It notes `Req` itself, so that a connection is on the scoreboard from the moment it is
/// accepted; the session says [`UpdateStatus::Done`] when it is done with it. When the daemon stops
/// it takes what waits in the listener's queue before it closes.
#[derive(Debug)]
pub struct ChildAcceptor<L: Listen> {
    intake: ConnectionSource<L>,
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
    /// When the runtime cannot watch the listener.
    pub fn start(
        listener: L,
        daemon: Addr<ChildActor>,
        session: Recipient<Accepted<L::Socket>>,
    ) -> io::Result<Addr<Self>> {
        let intake = ConnectionSource::from(listener)?;
        let acceptor = ChildAcceptor { intake, daemon, session, accepting: None, drained: None };
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
        let Some(gate) = self.intake.listener() else { return };
        if self.accepting.is_none() {
            // An acceptor in a thread of its own hears of a hold by the daemon's word alone.
            let accept = async move {
                match ChildHandle::current() {
                    Some(child) => child.accept(&gate).await,
                    None => gate.accept().await,
                }
            };
            self.accepting =
                Some(ctx.spawn(accept.into_actor(self).map(|stream, acceptor, _ctx| {
                    acceptor.accepting = None;
                    acceptor.deliver(stream);
                })));
        }
    }

    /// Takes one of those that wait; when there is none the listener closes.
    fn drain(&mut self) {
        match self.intake.next_waiting() {
            Some(stream) => self.deliver(stream),
            None => {
                self.intake.close();
                if let Some(drained) = self.drained.take() {
                    // The daemon may have stopped waiting when the grace was over.
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
        match (shutdown.reason, self.intake.listener()) {
            (ShutdownReason::Stopping, Some(gate)) => {
                gate.shrink();
                let (drained, answer) = oneshot::channel();
                self.drained = Some(drained);
                if was_accepting {
                    self.drain();
                }
                ctx.run_later(DRAIN_DELAY, |acceptor, _ctx| acceptor.intake.drain_backlog());
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
                self.intake.close();
                Box::pin(ready(()))
            }
        }
    }
}

/// Accepts in the parent of a post-forking daemon, and hands each connection over as a request.
///
/// It pauses on [`DaemonPause`] and goes on on [`DaemonAccept`]. A request that comes back because
/// the backlog is full is kept and handed over again. When the daemon stops it takes what waits in
/// the listener's queue before it closes.
pub struct ParentAcceptor<L: Listen, R: Transfer + Send> {
    gate: Option<Rc<WatchedListener<L>>>,
    daemon: Addr<DaemonActor<R>>,
    request: fn(L::Socket) -> R,
    accepting: Option<SpawnHandle>,
    door: Paused,
    returned: VecDeque<R>,
    log: Logger,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paused {
    No,
    Yes,
}

/// How long a request that came back waits before it is handed over again.
const AGAIN: Duration = Duration::from_millis(5);

impl<L: Listen, R: Transfer + Send> std::fmt::Debug for ParentAcceptor<L, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParentAcceptor").field("returned", &self.returned.len()).finish()
    }
}

impl<L: Listen, R: Transfer + Send> ParentAcceptor<L, R> {
    /// Starts an acceptor whose connections become requests by this function.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch the listener.
    pub fn start(
        listener: L,
        daemon: Addr<DaemonActor<R>>,
        request: fn(L::Socket) -> R,
    ) -> io::Result<Addr<Self>> {
        let gate = Some(Rc::new(WatchedListener::exclusive(listener)?));
        Ok(Actor::start(ParentAcceptor {
            gate,
            daemon,
            request,
            accepting: None,
            door: Paused::No,
            returned: VecDeque::new(),
            log: logger(),
        }))
    }

    fn accept_next(&mut self, ctx: &mut Context<Self>) {
        let Some(gate) = self.gate.clone() else {
            return;
        };
        if self.door == Paused::Yes || self.accepting.is_some() {
            return;
        }
        if let Some(request) = self.returned.pop_front() {
            self.hand_over(request, ctx);
        }
        let accept = async move {
            // The daemon has its turn between two connections, so that its pause comes in time.
            tokio::task::yield_now().await;
            gate.accept().await
        };
        self.accepting = Some(ctx.spawn(accept.into_actor(self).map(|stream, acceptor, ctx| {
            acceptor.accepting = None;
            let request = (acceptor.request)(stream);
            acceptor.hand_over(request, ctx);
            acceptor.accept_next(ctx);
        })));
    }

    fn hand_over(&mut self, request: R, ctx: &mut Context<Self>) {
        let answer = self.daemon.send(HandOver(request));
        ctx.spawn(answer.into_actor(self).map(|answer, acceptor, ctx| {
            if let Ok(Err(HandOverError { request, reason })) = answer {
                acceptor.on_returned(request, &reason, ctx);
            }
        }));
    }

    fn on_returned(&mut self, request: R, why: &HandOverErrorReason, ctx: &mut Context<Self>) {
        match why {
            HandOverErrorReason::Full { .. } => {
                self.returned.push_back(request);
                ctx.run_later(AGAIN, |acceptor, ctx| {
                    if let Some(request) = acceptor.returned.pop_front() {
                        acceptor.hand_over(request, ctx);
                    }
                });
            }
            why => slog::warn!(self.log, "a connection is closed: {}", why),
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
        self.door = Paused::No;
        self.accept_next(ctx);
    }
}

impl<L: Listen, R: Transfer + Send> Handler<DaemonPause> for ParentAcceptor<L, R> {
    type Result = ();

    fn handle(&mut self, _pause: DaemonPause, ctx: &mut Self::Context) {
        self.door = Paused::Yes;
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
        if let (ShutdownReason::Stopping, Some(gate)) = (shutdown.reason, self.gate.take()) {
            last.extend(gate.accept_pending().into_iter().map(self.request));
        }
        self.gate = None;
        let (daemon, log) = (self.daemon.clone(), self.log.clone());
        Box::pin(hand_over_remaining(last, daemon, log))
    }
}

/// Hands over what was accepted before the end, each when there is room for it.
async fn hand_over_remaining<R: Transfer + Send>(
    mut last: VecDeque<R>,
    daemon: Addr<DaemonActor<R>>,
    log: Logger,
) {
    while let Some(request) = last.pop_front() {
        let answer: Result<Result<HandedOver, HandOverError<R>>, _> =
            daemon.send(HandOver(request)).await;
        match answer {
            Ok(Ok(_handed)) => {}
            Ok(Err(HandOverError { request, reason: HandOverErrorReason::Full { .. } })) => {
                last.push_front(request);
                tokio::time::sleep(AGAIN).await;
            }
            Ok(Err(HandOverError { reason, .. })) => {
                slog::warn!(log, "a connection is closed: {}", reason)
            }
            Err(gone) => slog::warn!(log, "a connection is closed: {}", gone),
        }
    }
}
