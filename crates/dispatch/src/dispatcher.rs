//! The dispatcher's actors: one that takes requests, one that hears what the daemon has to tell.

use std::rc::Rc;

use actix::dev::{MessageResponse, OneshotSender};
use actix::fut::WrapFuture;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture};
use actix_daemon::{
    ChildBorn, ChildExited, DaemonAccept, DaemonActor, DaemonPause, DaemonPhase, DaemonShutdown,
    ShutdownReason, Subscribe,
};
use daemon_core::{Hold, Manner, Phase};
use daemon_nursery::Handover;

use crate::answer::Outcome;
use crate::engine::{PutAside, Shared, Signals, Taken, take};
use crate::ledger::{Cancelling, Tally};
use crate::reply::Reply;
use crate::request::{Abandoned, NewRequest, RequestId};

/// How many requests wait in the mailbox when the queue is full: then `send` waits, and `try_send`
/// refuses.
const MAILBOX: usize = 256;

/// The dispatcher in the parent process: send it [`NewRequest`]s, or [`Do`](crate::Do) a task.
pub struct DispatcherActor {
    shared: Shared,
    signals: Rc<Signals>,
}

impl std::fmt::Debug for DispatcherActor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DispatcherActor").field(&self.shared).finish()
    }
}

impl DispatcherActor {
    /// Starts it, with its mailbox as large from the first request on.
    pub(crate) fn begin(shared: &Shared) -> Addr<DispatcherActor> {
        let (shared, signals) = (Rc::clone(shared), shared.borrow().signals());
        DispatcherActor::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            DispatcherActor { shared, signals }
        })
    }

    /// The same dispatcher, for an answer that is under way.
    pub(crate) fn twin(&self) -> DispatcherActor {
        DispatcherActor { shared: Rc::clone(&self.shared), signals: Rc::clone(&self.signals) }
    }

    /// Takes a request; where there is no room it and all that come after it wait.
    pub(crate) fn take(&mut self, request: NewRequest, reply: Reply, ctx: &mut Context<Self>) {
        let Taken::Full(waiting) = take(&self.shared, request, reply) else { return };
        let (shared, signals) = (Rc::clone(&self.shared), Rc::clone(&self.signals));
        ctx.wait(
            async move {
                let mut waiting = waiting;
                loop {
                    // Before it is looked again, so that no word is missed.
                    let room = signals.room.notified();
                    let (request, reply) = *waiting;
                    match take(&shared, request, reply) {
                        Taken::Yes => return,
                        Taken::Full(still) => waiting = still,
                    }
                    room.await;
                }
            }
            .into_actor(self),
        );
    }
}

impl Actor for DispatcherActor {
    type Context = Context<Self>;
}

impl Handler<NewRequest> for DispatcherActor {
    type Result = Later;

    fn handle(&mut self, request: NewRequest, _ctx: &mut Self::Context) -> Self::Result {
        Later { request, shared: Rc::clone(&self.shared), signals: Rc::clone(&self.signals) }
    }
}

/// A request that is about to be taken: its answer comes when it is done.
pub struct Later {
    request: NewRequest,
    shared: Shared,
    signals: Rc<Signals>,
}

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Later").field(&self.request).finish()
    }
}

impl MessageResponse<DispatcherActor, NewRequest> for Later {
    fn handle(self, ctx: &mut Context<DispatcherActor>, sender: Option<OneshotSender<Outcome>>) {
        let Later { request, shared, signals } = self;
        let reply = sender.map_or(Reply::Nobody, Reply::Plain);
        DispatcherActor { shared, signals }.take(request, reply, ctx);
    }
}

/// Asks the dispatcher to end a request: one that has not begun is not begun; of one that runs the
/// worker is killed, or it goes on.
///
/// It stands in line behind requests that wait for room. Dropping a request's future does not.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Cancelling")]
pub struct Cancel {
    /// Which request.
    pub id: RequestId,
    /// What becomes of it if it runs.
    pub running: Running,
}

/// What becomes of a cancelled request that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// It runs to its end, and is answered.
    LetEnd,
    /// Its worker is killed.
    Terminate,
}

impl Handler<Cancel> for DispatcherActor {
    type Result = MessageResult<Cancel>;

    fn handle(&mut self, cancel: Cancel, _ctx: &mut Self::Context) -> Self::Result {
        let running = match cancel.running {
            Running::LetEnd => Abandoned::RunsOn,
            Running::Terminate => Abandoned::Terminated,
        };
        MessageResult(self.shared.borrow_mut().cancel(cancel.id, running))
    }
}

/// Asks the dispatcher how many requests there were, and what has become of them.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Tally")]
pub struct Tallied;

impl Handler<Tallied> for DispatcherActor {
    type Result = MessageResult<Tallied>;

    fn handle(&mut self, _tallied: Tallied, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.borrow().tally())
    }
}

/// Asks the dispatcher for the tasks that were put aside, the last hundred of them.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Vec<PutAside>")]
pub struct Aside;

impl Handler<Aside> for DispatcherActor {
    type Result = MessageResult<Aside>;

    fn handle(&mut self, _aside: Aside, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.borrow().aside())
    }
}

/// Who hears what the daemon has to tell: never behind requests that wait for room.
pub(crate) struct Steward {
    shared: Shared,
}

impl Steward {
    pub(crate) fn subscribe<R: Handover + Send>(shared: &Shared, daemon: &Addr<DaemonActor<R>>) {
        let steward = Steward { shared: Rc::clone(shared) }.start();
        let name = "dispatcher";
        daemon.do_send(Subscribe::<ChildBorn>::new(name, steward.clone()));
        daemon.do_send(Subscribe::<ChildExited>::new(name, steward.clone()));
        daemon.do_send(Subscribe::<DaemonPause>::new(name, steward.clone()));
        daemon.do_send(Subscribe::<DaemonAccept>::new(name, steward.clone()));
        daemon.do_send(Subscribe::<DaemonPhase>::new(name, steward.clone()));
        daemon.do_send(Subscribe::<DaemonShutdown>::new(name, steward));
    }
}

impl Actor for Steward {
    type Context = Context<Self>;
}

impl Handler<ChildBorn> for Steward {
    type Result = ();

    fn handle(&mut self, born: ChildBorn, _ctx: &mut Self::Context) {
        self.shared.borrow_mut().worker_born(born.child, born.pid);
    }
}

impl Handler<ChildExited> for Steward {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, _ctx: &mut Self::Context) {
        self.shared.borrow_mut().worker_gone(exited.child, exited.cause);
    }
}

impl Handler<DaemonPause> for Steward {
    type Result = ();

    fn handle(&mut self, _pause: DaemonPause, _ctx: &mut Self::Context) {
        self.shared.borrow_mut().hold(Hold::Yes);
    }
}

impl Handler<DaemonAccept> for Steward {
    type Result = ();

    fn handle(&mut self, _accept: DaemonAccept, _ctx: &mut Self::Context) {
        self.shared.borrow_mut().hold(Hold::No);
    }
}

impl Handler<DaemonPhase> for Steward {
    type Result = ();

    fn handle(&mut self, DaemonPhase(phase): DaemonPhase, _ctx: &mut Self::Context) {
        match phase {
            Phase::Stopped => self.shared.borrow_mut().bereave(),
            Phase::Starting | Phase::Running | Phase::Stopping => {}
        }
    }
}

impl Handler<DaemonShutdown> for Steward {
    type Result = ResponseFuture<()>;

    /// The farewell is said when all is answered; the daemon's grace is the most it waits.
    fn handle(&mut self, shutdown: DaemonShutdown, _ctx: &mut Self::Context) -> Self::Result {
        let manner = match shutdown.reason {
            ShutdownReason::AtOnce => Manner::AtOnce,
            ShutdownReason::Stopping
            | ShutdownReason::Retired
            | ShutdownReason::Recycled
            | ShutdownReason::Done => Manner::Orderly,
        };
        let drained = self.shared.borrow_mut().stop(manner);
        Box::pin(async move {
            // Either way there is nothing more to wait for.
            let _ = drained.await;
        })
    }
}
