//! The dispatcher's actor. It accepts requests in the order of their arrival.

use std::rc::Rc;

use actix::dev::{MessageResponse, OneshotSender};
use actix::fut::WrapFuture;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult};

use crate::answer::TaskResult;
use crate::engine::{DeadLetter, SharedEngine, SubmitResult, submit};
use crate::reply::ReplySender;
use crate::request::{NewRequest, RequestId};
use crate::scheduler::Stats;

/// The capacity of the mailbox, in messages. When the queue and the mailbox are full, `send` waits
/// and `try_send` fails.
const MAILBOX: usize = 256;

/// The dispatcher's actor, in the parent process.
///
/// It accepts the messages [`NewRequest`], [`RunTask`](crate::RunTask), [`GetStats`] and
/// [`GetDeadLetters`].
pub struct DispatcherActor {
    shared: SharedEngine,
}

impl std::fmt::Debug for DispatcherActor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DispatcherActor").field(&self.shared).finish()
    }
}

impl DispatcherActor {
    /// Starts the actor. The capacity of its mailbox is set before the first message arrives.
    pub(crate) fn start_with(shared: &SharedEngine) -> Addr<DispatcherActor> {
        let shared = Rc::clone(shared);
        DispatcherActor::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            DispatcherActor { shared }
        })
    }

    /// Returns another handle to this dispatcher. [`RequestResponse`] and
    /// [`TaskResponse`](crate::task::TaskResponse) use it to submit their request later.
    pub(crate) fn share(&self) -> DispatcherActor {
        DispatcherActor { shared: Rc::clone(&self.shared) }
    }

    /// Submits a request. If the queue is full, this request and all later messages wait, unless
    /// the request is sent with `refuse_if_full`.
    pub(crate) fn submit(
        &mut self,
        request: NewRequest,
        reply: ReplySender,
        ctx: &mut Context<Self>,
    ) {
        let SubmitResult::QueueFull(waiting) = submit(&self.shared, request, reply) else { return };
        let shared = Rc::clone(&self.shared);
        let signals = shared.borrow().signals();
        ctx.wait(
            async move {
                let mut waiting = waiting;
                loop {
                    // Subscribe before checking again, so that no notification is missed.
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

/// The actix response to a [`NewRequest`] message: it completes when the request has a result.
pub struct RequestResponse {
    request: NewRequest,
    dispatcher: DispatcherActor,
}

impl std::fmt::Debug for RequestResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RequestResponse").field(&self.request).finish()
    }
}

impl MessageResponse<DispatcherActor, NewRequest> for RequestResponse {
    fn handle(self, ctx: &mut Context<DispatcherActor>, sender: Option<OneshotSender<TaskResult>>) {
        let RequestResponse { request, mut dispatcher } = self;
        let reply = sender.map_or(ReplySender::None, ReplySender::Request);
        dispatcher.submit(request, reply, ctx);
    }
}

/// Internal message: removes the record of a cancellation that was received before its request.
///
/// This message is queued behind all messages that were sent to the dispatcher before it. When it
/// is handled, the request has arrived or will never arrive.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ForgetCancelled(pub(crate) RequestId);

impl Handler<ForgetCancelled> for DispatcherActor {
    type Result = ();

    fn handle(&mut self, ForgetCancelled(id): ForgetCancelled, _ctx: &mut Self::Context) {
        self.shared.borrow_mut().forget(id);
    }
}

/// Message: returns the dispatcher's [`Stats`], counters of its requests and their results.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Stats")]
pub struct GetStats;

impl Handler<GetStats> for DispatcherActor {
    type Result = MessageResult<GetStats>;

    fn handle(&mut self, _: GetStats, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.borrow().stats())
    }
}

/// Message: returns the last 100 dead letters. A dead letter is a task that was given up after two
/// or more attempts, because a worker died in each of them.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Vec<DeadLetter>")]
pub struct GetDeadLetters;

impl Handler<GetDeadLetters> for DispatcherActor {
    type Result = MessageResult<GetDeadLetters>;

    fn handle(&mut self, _: GetDeadLetters, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.borrow().dead_letters())
    }
}
