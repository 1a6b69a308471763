//! A session that turns broadcasts into events for one client. Where no client listens there is
//! none, and nothing is done for an event.

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use daemon_forkserver::Transfer;

use super::feed::Feed;
use super::protocol::Event;
use crate::messages::{
    ChildBorn, ChildExited, DaemonAccept, DaemonPause, DaemonPhase, RogueChild, Subscribe,
};
use crate::parent::DaemonActor;
use crate::status::DoorState;

/// The name under which it shows in a peek.
const NAME: &str = "Control";

/// One client's ear.
pub(super) struct Listener<R: Transfer + Send> {
    daemon: Addr<DaemonActor<R>>,
    feed: Feed,
}

impl<R: Transfer + Send> Listener<R> {
    pub(super) fn start(daemon: Addr<DaemonActor<R>>, feed: Feed) -> Addr<Self> {
        Actor::start(Listener { daemon, feed })
    }
}

/// Has it subscribe to these broadcasts, in this order, and make an event of each.
macro_rules! events {
    ($($message:ty: $event:expr;)*) => {
        impl<R: Transfer + Send> Actor for Listener<R> {
            type Context = Context<Self>;

            fn started(&mut self, ctx: &mut Self::Context) {
                $(self.daemon.do_send(Subscribe::<$message>::new(NAME, ctx.address()));)*
            }
        }

        $(impl<R: Transfer + Send> Handler<$message> for Listener<R> {
            type Result = ();

            fn handle(&mut self, message: $message, _ctx: &mut Self::Context) {
                let event: fn($message) -> Event = $event;
                self.feed.push(event(message));
            }
        })*
    };
}

events! {
    ChildBorn: |born| Event::Born {
        slot: born.child.slot,
        pid: born.pid.as_raw().unsigned_abs(),
    };
    ChildExited: |exited| Event::Gone {
        slot: exited.child.slot,
        pid: exited.pid.as_raw().unsigned_abs(),
        text: exited.cause.to_string(),
        cause: exited.cause,
        requests: exited.requests,
        lived: exited.lived,
    };
    DaemonAccept: |_accept| Event::AcceptState { state: DoorState::Open };
    DaemonPause: |_pause| Event::AcceptState { state: DoorState::Shut };
    DaemonPhase: |DaemonPhase(phase)| Event::Phase { phase };
    RogueChild: |rogue| Event::Rogue {
        slot: rogue.child.slot,
        pid: rogue.pid.as_raw().unsigned_abs(),
        step: rogue.step.word().to_owned(),
        text: rogue.violation.map_or_else(|| "a slow request".to_owned(), |why| why.to_string()),
    };
}

/// The client listens no more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Enough;

impl<R: Transfer + Send> Handler<Enough> for Listener<R> {
    type Result = ();

    fn handle(&mut self, _enough: Enough, ctx: &mut Self::Context) {
        actix::ActorContext::stop(ctx);
    }
}
