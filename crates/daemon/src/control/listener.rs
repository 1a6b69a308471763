//! A session that turns broadcasts of the daemon into events for one client of the control socket.
//!
//! The session exists only while its client is subscribed. Events cost nothing while no client is
//! subscribed.

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use daemon_core::AcceptState;
use daemon_forkserver::Transfer;

use super::protocol::ControlEvent;
use super::queue::EventQueue;
use crate::messages::{
    ChildExited, ChildForked, DaemonAccept, DaemonOperatorPause, DaemonPause, DaemonPhase,
    RogueChild, Subscribe,
};
use crate::parent::DaemonActor;

/// The name of the session in the output of the message `Peek`.
const NAME: &str = "Control";

/// Forwards broadcasts to the event queue of one client.
pub(super) struct EventListener<R: Transfer + Send> {
    daemon: Addr<DaemonActor<R>>,
    queue: EventQueue,
}

impl<R: Transfer + Send> EventListener<R> {
    pub(super) fn start(daemon: Addr<DaemonActor<R>>, queue: EventQueue) -> Addr<Self> {
        Actor::start(EventListener { daemon, queue })
    }
}

/// Subscribes to these broadcasts, in this order, and turns each broadcast into an event.
macro_rules! events {
    ($($message:ty: $event:expr;)*) => {
        impl<R: Transfer + Send> Actor for EventListener<R> {
            type Context = Context<Self>;

            fn started(&mut self, ctx: &mut Self::Context) {
                $(self.daemon.do_send(Subscribe::<$message>::new(NAME, ctx.address()));)*
            }
        }

        $(impl<R: Transfer + Send> Handler<$message> for EventListener<R> {
            type Result = ();

            fn handle(&mut self, message: $message, _ctx: &mut Self::Context) {
                let event: fn($message) -> ControlEvent = $event;
                self.queue.push(event(message));
            }
        })*
    };
}

events! {
    ChildForked: |forked| ControlEvent::Forked {
        slot: forked.child.slot,
        pid: forked.pid.as_raw().unsigned_abs(),
    };
    ChildExited: |exited| ControlEvent::Exited {
        slot: exited.child.slot,
        pid: exited.pid.as_raw().unsigned_abs(),
        text: exited.cause.to_string(),
        cause: exited.cause,
        requests: exited.requests,
        lifetime: exited.lifetime,
    };
    DaemonAccept: |_accept| ControlEvent::Accepting { state: AcceptState::Accepting };
    DaemonPause: |_pause| ControlEvent::Accepting { state: AcceptState::Paused };
    DaemonOperatorPause: |DaemonOperatorPause(state)| ControlEvent::OperatorPause { state };
    DaemonPhase: |DaemonPhase(phase)| ControlEvent::Phase { phase };
    RogueChild: |rogue| ControlEvent::Rogue {
        slot: rogue.child.slot,
        pid: rogue.pid.as_raw().unsigned_abs(),
        step: rogue.step.word().to_owned(),
        text: rogue.violation.map_or_else(|| "a slow request".to_owned(), |why| why.to_string()),
    };
}

/// Ends the subscription: the client has disconnected, or has received the last event.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Unsubscribe;

impl<R: Transfer + Send> Handler<Unsubscribe> for EventListener<R> {
    type Result = ();

    fn handle(&mut self, _unsubscribe: Unsubscribe, ctx: &mut Self::Context) {
        actix::ActorContext::stop(ctx);
    }
}
