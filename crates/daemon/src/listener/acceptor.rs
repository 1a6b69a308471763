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
use daemon_core::MonotonicTime;
use daemon_forkserver::Transfer;
use daemon_sys::clock::now;
use daemon_sys::listen::HANDSHAKE_MAX;
use futures::channel::oneshot;
use futures::future::ready;
use slog::Logger;

use super::{ConnectionSource, Listen, Pending, WatchedListener};
use crate::child::{ChildActor, ChildHandle, ChildMessage};
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
/// When the daemon stops, the acceptor delivers the connections that wait for the pool, one each
/// time that the session is ready for it, until none is left. If the listener is
/// [shared](crate::ListenerOwnership::Shared) with another program, the acceptor closes it instead.
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
        let source = ConnectionSource::from(listener, ChildHandle::current().as_ref())?;
        let acceptor = ChildAcceptor { source, daemon, session, accepting: None, drained: None };
        Ok(Actor::start(acceptor))
    }

    /// Delivers a connection to the session. If the session has stopped, the child exits, because
    /// it cannot serve a connection any more.
    fn deliver(&self, stream: L::Socket) {
        if !self.session.connected() {
            self.daemon.do_send(ChildMessage::SessionStopped);
            return;
        }
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
        match self.source.take_remaining() {
            Some(stream) => self.deliver(stream),
            None => {
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
        match shutdown.reason {
            ShutdownReason::Stopping => {
                self.source.begin_stop();
                let (drained, answer) = oneshot::channel();
                self.drained = Some(drained);
                if was_accepting {
                    self.drain();
                }
                Box::pin(async move { answer.await.unwrap_or(()) })
            }
            ShutdownReason::StoppingNow
            | ShutdownReason::Retired
            | ShutdownReason::Recycled
            | ShutdownReason::Done => {
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
/// after a short delay. When the daemon stops, the acceptor takes the connections in the listener's
/// backlog, frees the listener's address, and hands the connections over. If the listener is
/// [shared](crate::ListenerOwnership::Shared) with another program, the acceptor closes it instead.
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
            if let Some(request) = convert(acceptor.request, stream) {
                acceptor.hand_over(request, ctx);
            }
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
        let listener = self.listener.take().filter(|listener| listener.is_owned_alone());
        let remaining = Remaining {
            listener: listener.filter(|_| shutdown.reason == ShutdownReason::Stopping),
            connecting_until: Some(now() + HANDSHAKE_MAX),
            accepted: self.returned.drain(..).collect(),
            request: self.request,
        };
        Box::pin(remaining.hand_over(self.daemon.clone(), self.log.clone()))
    }
}

/// Converts a connection into a request. If the function panics, its connection is closed. The
/// panic hook logs the panic.
fn convert<S, R>(request: fn(S) -> R, stream: S) -> Option<R> {
    panics::catch(|| request(stream)).ok()
}

/// The connections that wait for a child when the daemon stops.
struct Remaining<L: Listen, R> {
    /// The listener, until its backlog is empty.
    listener: Option<Rc<WatchedListener<L>>>,
    /// How long to wait for clients that are about to be connected; `None` if there are none.
    connecting_until: Option<MonotonicTime>,
    accepted: VecDeque<R>,
    request: fn(L::Socket) -> R,
}

impl<L: Listen, R: Transfer + Send> Remaining<L, R> {
    /// Hands over all connections. Tries again while the daemon's backlog is full, or while the
    /// process has no free descriptor to accept with.
    async fn hand_over(mut self, daemon: Addr<DaemonActor<R>>, log: Logger) {
        let mut dropped = 0_u64;
        if let Some(listener) = &self.listener {
            listener.refuse_clients();
        }
        loop {
            self.accept_pending();
            let Some(request) = self.accepted.pop_front() else {
                if self.listener.is_none() {
                    break;
                }
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            };
            let answer: Result<Result<HandedOver, HandOverError<R>>, _> =
                daemon.send(HandOver(request)).await;
            match answer {
                Ok(Ok(_handed_over)) => {}
                Ok(Err(HandOverError { request, reason: HandOverErrorReason::Full { .. } })) => {
                    self.accepted.push_front(request);
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                Ok(Err(HandOverError { .. })) | Err(_) => {
                    dropped += 1;
                    // The daemon does not take any more requests.
                    self.listener = None;
                }
            }
        }
        if dropped > 0 {
            slog::warn!(log, "waiting connections dropped"; "connections" => dropped);
        }
    }

    /// Accepts all connections in the backlog, and shuts the listener down when it is empty and no
    /// client is about to be connected.
    fn accept_pending(&mut self) {
        while let Some(listener) = &self.listener {
            match listener.try_accept() {
                Pending::Connection(stream) => {
                    self.accepted.extend(convert(self.request, stream.into()));
                }
                Pending::Empty => match self.connecting_until {
                    // Those that were connected meanwhile are accepted now.
                    Some(until) if now() >= until || !listener.has_handshakes() => {
                        self.connecting_until = None;
                    }
                    Some(_) => return,
                    None => {
                        listener.shut_down();
                        self.listener = None;
                    }
                },
                Pending::Failed => return,
            }
        }
    }
}
