//! Tasks whose types are known at both ends.

use std::fmt::Display;
use std::marker::PhantomData;
use std::task::{Context as TaskContext, Poll};

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Context, Handler, Message};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::{Failure, TaskResult};
use crate::call::Call;
use crate::dispatcher::DispatcherActor;
use crate::reply::{AnswerSender, Reply};
use crate::request::NewRequest;

/// A piece of work that is its own parameters: the compiler sees to it that both ends speak of the
/// same.
///
/// # Examples
///
/// ```
/// use actix_dispatch::{Call, Task};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Resize { path: String, width: u32 }
///
/// impl Task for Resize {
///     const NAME: &'static str = "resize";
///     type Output = String;
///     type Error = std::io::Error;
///
///     fn run(self, _call: &Call) -> Result<String, std::io::Error> {
///         Ok(format!("{} is {} wide", self.path, self.width))
///     }
/// }
/// ```
pub trait Task: Serialize + DeserializeOwned + Send + 'static {
    /// Its name among the methods.
    const NAME: &'static str;
    /// What it answers with.
    type Output: Serialize + DeserializeOwned + Send + 'static;
    /// What may go wrong; its words are the answer then.
    type Error: Display;

    /// Does the work, in a worker.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong.
    fn run(self, call: &Call) -> Result<Self::Output, Self::Error>;
}

/// Asks the dispatcher to have a [`Task`] done. Answered with its output.
///
/// # Examples
///
/// ```no_run
/// # use actix::Addr;
/// # use actix_dispatch::{Call, DispatcherActor, Do, Task};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Double(u32);
/// # impl Task for Double {
/// #     const NAME: &'static str = "double";
/// #     type Output = u32;
/// #     type Error = String;
/// #     fn run(self, _call: &Call) -> Result<u32, String> { Ok(2 * self.0) }
/// # }
/// # async fn ask(dispatcher: Addr<DispatcherActor>) -> Result<(), Box<dyn std::error::Error>> {
/// let doubled: u32 = dispatcher.send(Do::task(Double(21)).with(|r| r.priority(1))).await??;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RunTask<T> {
    request: NewRequest,
    task: PhantomData<fn() -> T>,
}

impl<T: Task> RunTask<T> {
    /// The request for this task.
    #[must_use]
    pub fn new(task: T) -> RunTask<T> {
        RunTask { request: NewRequest::to(T::NAME).params(&task), task: PhantomData }
    }

    /// Sets the request's limits, priority and the like.
    #[must_use]
    pub fn with(self, options: impl FnOnce(NewRequest) -> NewRequest) -> RunTask<T> {
        RunTask { request: options(self.request), task: PhantomData }
    }
}

impl<T: Task> Message for RunTask<T> {
    type Result = Result<T::Output, Failure>;
}

impl<T: Task> Handler<RunTask<T>> for DispatcherActor {
    type Result = TaskResponse<T>;

    fn handle(&mut self, task: RunTask<T>, _ctx: &mut Self::Context) -> Self::Result {
        TaskResponse { request: task.request, actor: self.share(), task: PhantomData }
    }
}

/// A task that is about to be taken: its answer comes when it is done.
#[derive(Debug)]
pub struct TaskResponse<T> {
    request: NewRequest,
    actor: DispatcherActor,
    task: PhantomData<fn() -> T>,
}

impl<T: Task> MessageResponse<DispatcherActor, RunTask<T>> for TaskResponse<T> {
    fn handle(
        mut self,
        ctx: &mut Context<DispatcherActor>,
        sender: Option<OneshotSender<Result<T::Output, Failure>>>,
    ) {
        let reply = match sender {
            None => Reply::Nobody,
            Some(sender) => Reply::Other(Box::new(Typed::<T>(sender))),
        };
        self.actor.take(self.request, reply, ctx);
    }
}

/// Who waits for an output and not for bytes.
struct Typed<T: Task>(OneshotSender<Result<T::Output, Failure>>);

impl<T: Task> AnswerSender for Typed<T> {
    fn tell(self: Box<Self>, outcome: TaskResult) {
        // Who has gone has said that nothing is to be told.
        let _ = self.0.send(outcome.and_then(|reply| reply.value()));
    }

    fn poll_closed(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.0.poll_closed(cx)
    }
}
