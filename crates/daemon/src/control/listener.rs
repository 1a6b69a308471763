//! A session that turns broadcasts of the daemon into events for one client of the control socket.
//!
//! The session exists only while its client is subscribed. Events cost nothing while no client is
//! subscribed.

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use daemon_core::AcceptState;
use daemon_forkserver::Transfer;
use daemon_protocol::DaemonEvent;

use super::queue::EventQueue;
use crate::messages::{
    ChildExited, ChildForked, DaemonAccept, DaemonHup, DaemonOperatorPause, DaemonParent,
    DaemonPause, DaemonPhase, DaemonReload, DaemonShutdown, DaemonStart, ForeignExited, RogueChild,
    Subscribe,
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
                let event: fn($message) -> DaemonEvent = $event;
                self.queue.push(event(message));
            }
        })*
    };
}

events! {
    DaemonStart: |_start| DaemonEvent::Start;
    DaemonParent: |_ready| DaemonEvent::Ready;
    ChildForked: DaemonEvent::Forked;
    ChildExited: DaemonEvent::Exited;
    DaemonAccept: |_accept| DaemonEvent::Accepting { state: AcceptState::Accepting };
    DaemonPause: |_pause| DaemonEvent::Accepting { state: AcceptState::Paused };
    DaemonOperatorPause: |DaemonOperatorPause(state)| DaemonEvent::OperatorPause { state };
    DaemonPhase: |DaemonPhase(phase)| DaemonEvent::Phase { phase };
    DaemonReload: |state| DaemonEvent::Reload { state };
    DaemonHup: |_hup| DaemonEvent::Hup;
    DaemonShutdown: |shutdown| DaemonEvent::Shutdown { reason: shutdown.reason };
    RogueChild: DaemonEvent::Rogue;
    ForeignExited: DaemonEvent::ForeignExited;
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
