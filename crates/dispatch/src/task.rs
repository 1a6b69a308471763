//! Typed tasks.

use std::fmt::Display;
use std::marker::PhantomData;
use std::task::{Context as TaskContext, Poll};

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Context, Handler, Message};
use actix_daemon::panics;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::{Failure, TaskResult};
use crate::call::Call;
use crate::dispatcher::{DispatcherActor, submit};
use crate::reply::{AnswerSender, ReplySender};
use crate::request::NewRequest;

/// A typed task. Its value contains the parameters of a call, and its type determines the method.
///
/// Register it with [`DispatcherBuilder::task`](crate::DispatcherBuilder::task) and send it with
/// [`RunTask`]. The compiler checks that sender and worker agree on the types.
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
    /// The name of the method.
    const NAME: &'static str;
    /// The type of the result.
    type Output: Serialize + DeserializeOwned + Send + 'static;
    /// The type of the error. Its text becomes the message of [`Failure::Failed`].
    type Error: Display;

    /// Runs the task: in a worker, or in the parent if the dispatcher has no workers.
    ///
    /// # Errors
    ///
    /// Any error of the task itself.
    fn run(self, call: &Call) -> Result<Self::Output, Self::Error>;
}

/// Message: runs a [`Task`], in a worker if the dispatcher has workers. The response is the task's
/// output, decoded in the parent. If decoding panics, the response is [`Failure::Decode`].
///
/// # Examples
///
/// ```no_run
/// # use actix::Addr;
/// # use actix_dispatch::{Call, DispatcherActor, RunTask, Task};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Double(u32);
/// # impl Task for Double {
/// #     const NAME: &'static str = "double";
/// #     type Output = u32;
/// #     type Error = String;
/// #     fn run(self, _call: &Call) -> Result<u32, String> { Ok(2 * self.0) }
/// # }
/// # async fn ask(dispatcher: Addr<DispatcherActor>) -> Result<(), Box<dyn std::error::Error>> {
/// let task = RunTask::new(Double(21)).with_request(|request| request.priority(1));
/// let doubled: u32 = dispatcher.send(task).await??;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RunTask<T> {
    request: NewRequest,
    task: PhantomData<fn() -> T>,
}

impl<T: Task> RunTask<T> {
    /// Creates the message for this task.
    #[must_use]
    pub fn new(task: T) -> RunTask<T> {
        RunTask { request: NewRequest::to(T::NAME).params(&task), task: PhantomData }
    }

    /// Changes the options of the request, such as its limits, priority or lane.
    #[must_use]
    pub fn with_request(self, set: impl FnOnce(NewRequest) -> NewRequest) -> RunTask<T> {
        RunTask { request: set(self.request), task: PhantomData }
    }
}

impl<T: Task> Message for RunTask<T> {
    type Result = Result<T::Output, Failure>;
}

impl<T: Task> Handler<RunTask<T>> for DispatcherActor {
    type Result = TaskResponse<T>;

    fn handle(&mut self, task: RunTask<T>, _ctx: &mut Self::Context) -> Self::Result {
        TaskResponse { request: task.request, task: PhantomData }
    }
}

/// The actix response to a [`RunTask`] message: it completes when the task has a result.
#[derive(Debug)]
pub struct TaskResponse<T> {
    request: NewRequest,
    task: PhantomData<fn() -> T>,
}

impl<T: Task> MessageResponse<DispatcherActor, RunTask<T>> for TaskResponse<T> {
    fn handle(
        self,
        ctx: &mut Context<DispatcherActor>,
        sender: Option<OneshotSender<Result<T::Output, Failure>>>,
    ) {
        let reply = match sender {
            None => ReplySender::None,
            Some(sender) => ReplySender::Task(Box::new(Typed::<T>(sender))),
        };
        submit(self.request, reply, ctx);
    }
}

/// The sending half of a future that waits for a task's decoded output.
struct Typed<T: Task>(OneshotSender<Result<T::Output, Failure>>);

impl<T: Task> AnswerSender for Typed<T> {
    fn send(self: Box<Self>, outcome: TaskResult) {
        let outcome = outcome.and_then(|reply| {
            // The output's `Deserialize` code can panic. Such a panic must not stop the dispatcher.
            panics::catch(|| reply.value())
                .unwrap_or_else(|panic| Err(Failure::Decode { reason: panic.to_string() }))
        });
        // If the future was dropped, the result is not wanted.
        let _ = self.0.send(outcome);
    }

    fn poll_closed(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.0.poll_closed(cx)
    }
}
