//! The dispatcher's actor. Its task owns the engine, and accepts requests in the order of their
//! arrival.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use actix::dev::{MessageResponse, OneshotSender};
use actix::fut::ActorFuture;
use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult};

use crate::answer::TaskResult;
use crate::engine::{DeadLetter, Engine};
use crate::reply::ReplySender;
use crate::request::NewRequest;
use crate::scheduler::Stats;

/// The dispatcher's actor, in the parent process.
///
/// It accepts the messages [`NewRequest`], [`RunTask`](crate::RunTask), [`GetStats`] and
/// [`GetDeadLetters`]. Its mailbox has no limit, so each message is on its way as soon as `send`
/// has been called, also if the future is awaited later.
#[derive(Debug)]
pub struct DispatcherActor {
    pub(crate) engine: Box<Engine>,
}

impl Actor for DispatcherActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(EngineLoop);
    }
}

/// Lets the engine handle its events. Polled after the messages in the mailbox have been handled.
struct EngineLoop;

impl ActorFuture<DispatcherActor> for EngineLoop {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        dispatcher: &mut DispatcherActor,
        _ctx: &mut Context<DispatcherActor>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        dispatcher.engine.poll(task);
        Poll::Pending
    }
}

/// A request on its way to the engine. If the queue is full, this request and all later messages
/// wait, unless the request is sent with `refuse_if_full`. The engine continues meanwhile.
struct Submission {
    request: Option<(NewRequest, ReplySender)>,
    has_waited: bool,
}

impl Submission {
    fn poll(&mut self, engine: &mut Engine, task: &mut TaskContext<'_>) -> Poll<()> {
        while let Some((request, reply)) = self.request.take() {
            if self.has_waited {
                engine.poll(task);
                if engine.must_wait(&request.token) {
                    self.request = Some((request, reply));
                    return Poll::Pending;
                }
            }
            self.request = engine.submit(request, reply);
            self.has_waited = true;
        }
        Poll::Ready(())
    }
}

impl ActorFuture<DispatcherActor> for Submission {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        dispatcher: &mut DispatcherActor,
        _ctx: &mut Context<DispatcherActor>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        ready!(Submission::poll(&mut self, &mut dispatcher.engine, task));
        Poll::Ready(())
    }
}

/// Submits a request before the next message is handled.
pub(crate) fn submit(request: NewRequest, reply: ReplySender, ctx: &mut Context<DispatcherActor>) {
    ctx.wait(Submission { request: Some((request, reply)), has_waited: false });
}

impl Handler<NewRequest> for DispatcherActor {
    type Result = RequestResponse;

    fn handle(&mut self, request: NewRequest, _ctx: &mut Self::Context) -> Self::Result {
        RequestResponse { request }
    }
}

/// The actix response to a [`NewRequest`] message: it completes when the request has a result.
#[derive(Debug)]
pub struct RequestResponse {
    request: NewRequest,
}

impl MessageResponse<DispatcherActor, NewRequest> for RequestResponse {
    fn handle(self, ctx: &mut Context<DispatcherActor>, sender: Option<OneshotSender<TaskResult>>) {
        let reply = sender.map_or(ReplySender::None, ReplySender::Request);
        submit(self.request, reply, ctx);
    }
}

/// Message: returns the dispatcher's [`Stats`], counters of its requests and their results.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Stats")]
pub struct GetStats;

impl Handler<GetStats> for DispatcherActor {
    type Result = MessageResult<GetStats>;

    fn handle(&mut self, _: GetStats, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.engine.stats())
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
        MessageResult(self.engine.dead_letters())
    }
}
