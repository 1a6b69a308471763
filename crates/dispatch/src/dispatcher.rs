//! The dispatcher's actor: it takes requests, in the order in which they come.

use std::rc::Rc;

use actix::dev::{MessageResponse, OneshotSender};
use actix::fut::WrapFuture;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult};

use crate::answer::TaskResult;
use crate::engine::{DeadLetter, SharedEngine, SubmitResult, submit};
use crate::reply::Reply;
use crate::request::{NewRequest, RequestId};
use crate::scheduler::Stats;

/// How many requests wait in the mailbox when the queue is full: then `send` waits, and `try_send`
/// refuses.
const MAILBOX: usize = 256;

/// The dispatcher in the parent process: send it [`NewRequest`]s, or [`RunTask`](crate::Do) a task.
pub struct DispatcherActor {
    shared: SharedEngine,
}

impl std::fmt::Debug for DispatcherActor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DispatcherActor").field(&self.shared).finish()
    }
}

impl DispatcherActor {
    /// Starts it, with its mailbox as large from the first request on.
    pub(crate) fn begin(shared: &SharedEngine) -> Addr<DispatcherActor> {
        let shared = Rc::clone(shared);
        DispatcherActor::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            DispatcherActor { shared }
        })
    }

    /// The same dispatcher, for an answer that is under way.
    pub(crate) fn share(&self) -> DispatcherActor {
        DispatcherActor { shared: Rc::clone(&self.shared) }
    }

    /// Takes a request; where there is no room it and all that come after it wait.
    pub(crate) fn take(&mut self, request: NewRequest, reply: Reply, ctx: &mut Context<Self>) {
        let SubmitResult::QueueFull(waiting) = submit(&self.shared, request, reply) else { return };
        let shared = Rc::clone(&self.shared);
        let signals = shared.borrow().signals();
        ctx.wait(
            async move {
                let mut waiting = waiting;
                loop {
                    // Before it is looked again, so that no word is missed.
                    let room = signals.queue_capacity.notified();
                    let (request, reply) = *waiting;
                    match submit(&shared, request, reply) {
                        SubmitResult::Accepted => return,
                        SubmitResult::QueueFull(still) => waiting = still,
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
    type Result = RequestResponse;

    fn handle(&mut self, request: NewRequest, _ctx: &mut Self::Context) -> Self::Result {
        RequestResponse { request, dispatcher: self.share() }
    }
}

/// A request that is about to be taken: its answer comes when it is done.
pub struct RequestResponse {
    request: NewRequest,
    dispatcher: DispatcherActor,
}

impl std::fmt::Debug for RequestResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Later").field(&self.request).finish()
    }
}

impl MessageResponse<DispatcherActor, NewRequest> for RequestResponse {
    fn handle(self, ctx: &mut Context<DispatcherActor>, sender: Option<OneshotSender<TaskResult>>) {
        let RequestResponse { request, mut dispatcher } = self;
        let reply = sender.map_or(Reply::Nobody, Reply::Plain);
        dispatcher.take(request, reply, ctx);
    }
}

/// Everything that was sent before this has come: so had a request of this number, if it were to.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ForgetCancelled(pub(crate) RequestId);

impl Handler<ForgetCancelled> for DispatcherActor {
    type Result = ();

    fn handle(&mut self, ForgetCancelled(id): ForgetCancelled, _ctx: &mut Self::Context) {
        self.shared.borrow_mut().forget(id);
    }
}

/// Asks the dispatcher how many requests there were, and what has become of them.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Stats")]
pub struct GetStats;

impl Handler<GetStats> for DispatcherActor {
    type Result = MessageResult<GetStats>;

    fn handle(&mut self, _tallied: GetStats, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.borrow().stats())
    }
}

/// Asks the dispatcher for the tasks that were put aside, the last hundred of them.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Vec<DeadLetter>")]
pub struct GetDeadLetters;

impl Handler<GetDeadLetters> for DispatcherActor {
    type Result = MessageResult<GetDeadLetters>;

    fn handle(&mut self, _aside: GetDeadLetters, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.borrow().dead_letters())
    }
}
