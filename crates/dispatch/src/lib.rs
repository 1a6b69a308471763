//! Runs tasks in pre-forked worker processes and returns their results to futures and recipients.
//!
//! The crate does what `POE::Component::PreforkDispatch` does in Perl, and adds time limits,
//! retries, cancellation, priorities and back-pressure. In this documentation, *the original* is
//! that component. If a handler (the function of a method) crashes, only its task is lost, and the
//! program continues.
//!
//! # Theory of operation
//!
//! A dispatcher is a daemon whose children are workers. It has the fork server, scoreboard,
//! babysitter and control socket of every [`actix_daemon`] daemon. The pool model is
//! [`OnDemand`](actix_daemon::dispatching::OnDemand): workers are started while requests wait, up
//! to [`max_forks`](DispatcherBuilder::max_forks). Each worker is connected to the parent by a
//! socket, which is called its link.
//!
//! ```text
//! your actors -- NewRequest --> DispatcherActor       parent
//!      ^                              |  scheduler: queue, workers, claims
//!      +-- future, RequestDone -------+
//!                                     |  link: frames, shared memory   ^ results
//!                                     v                                |
//!                                 worker 0: one task at a time, in its own process
//!                                 worker 1: ...
//! ```
//!
//! Every request gets **exactly one result** ([`TaskResult`]): a value, or a [`Failure`] that says
//! what went wrong. Errors in the request itself, such as an unknown method or parameters of the
//! wrong type, are detected before the request is sent to a worker. The scheduler is a pure state
//! machine without I/O and without a clock. The rest of the dispatcher carries out its actions.
//!
//! A worker that is busy with short tasks receives further tasks ahead of time, so that several
//! tasks need only one system call. Shared memory ([`daemon_core::Claim`]) shows whether such a
//! task belongs to the parent or to the worker. The parent can take back tasks that the worker has
//! not started, for example if another worker is idle, if the task before them takes long, or if
//! the worker dies. A crash therefore loses only the running task.
//!
//! # Examples
//!
//! ```standalone_crate
//! use actix_daemon::{DaemonError, Shutdown, StopMode};
//! use actix_dispatch::{Dispatcher, Failure, NewRequest};
//!
//! fn main() -> Result<(), DaemonError> {
//!     Dispatcher::builder()
//!         .max_forks(4)
//!         .method("resize", |_call, (path, width): (String, u32)| {
//!             if width == 0 { Err("no width") } else { Ok(format!("{path} is {width} wide")) }
//!         })
//!         .method("crash", |_call, (): ()| -> Result<(), String> { std::process::abort() })
//!         .run(|running| {
//!             actix_rt::spawn(async move {
//!                 let dispatcher = running.dispatcher;
//!                 let resize = NewRequest::to("resize").params(("a.png", 640));
//!                 let result = dispatcher.send(resize).await.expect("the dispatcher is running");
//!                 let line: String = result.expect("a value").value().expect("a string");
//!                 assert_eq!(line, "a.png is 640 wide");
//!                 let crash = NewRequest::to("crash");
//!                 let result = dispatcher.send(crash).await.expect("the dispatcher is running");
//!                 assert!(matches!(result, Err(Failure::WorkerLost { .. })));
//!                 running.daemon.do_send(Shutdown(StopMode::Graceful));
//!             });
//!         })
//! }
//! ```
//!
//! # Overview
//!
//! | items | purpose |
//! | --- | --- |
//! | [`Dispatcher::builder`], [`DispatcherBuilder`] | configuration: limits, methods, hooks, recipients |
//! | [`LaunchedDispatcher`], [`RunningDispatcher`], [`WorkerDaemon`] | running a dispatcher, in a new System or in an existing one |
//! | [`NewRequest`], [`RunTask`], [`Task`], [`Bytes`] | requests and their parameters |
//! | [`TaskResult`], [`Reply`], [`Failure`], [`Rejection`] | the result of a request |
//! | [`RequestDone`], [`RequestInfo`] | a result delivered to a recipient |
//! | [`Call`] | the context of a call, for handlers |
//! | [`Class`], [`AnonymousMethod`] | methods in a namespace, and methods without a name |
//! | [`FallbackRequest`] | requests for unknown methods |
//! | [`Lane`] | a separate queue with a concurrency limit |
//! | [`IdleOrder`] | the choice among idle workers |
//! | [`Cancel`], [`GetStats`], [`GetDeadLetters`] | other messages of the dispatcher |
//! | [`Talkback`] | log messages and worker output, as messages |
//!
//! # Limitations
//!
//! - Methods must be registered before the launch, because code cannot be sent to a running
//!   process.
//! - A handler that blocks also keeps its worker from handling signals. Set a hard limit to limit
//!   the handler's run time. The babysitter's limits apply to workers as to all children.
//! - After a task, a worker waits for the next one for a few milliseconds before it handles other
//!   events, such as signals and the timers of its other async tasks.
//! - Tasks that are expected to take less than a millisecond can be sent to a worker that is still
//!   busy. With several workers, such tasks can therefore *start* out of queue order, by up to a
//!   millisecond. All other tasks start strictly in queue order.
//! - A line that a worker prints is attributed to the method that the worker is running, or that it
//!   ran last. If two tasks follow each other within microseconds, the line can be attributed to
//!   the method of the other task.

mod answer;
mod body;
mod builder;
mod call;
mod claims;
mod control_actor;
mod dispatcher;
mod engine;
mod fallback;
mod frame;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod launch;
mod link;
mod methods;
mod output_limit;
mod reply;
mod request;
mod scheduler;
#[cfg(test)]
mod sentences;
mod talkback;
mod task;
mod worker;
mod worker_output;

pub use answer::{Failure, LimitKind, Rejection, Reply, RequestState, TaskResult};
pub use body::Bytes;
pub use builder::{Dispatcher, DispatcherBuilder};
pub use call::Call;
pub use control_actor::Cancel;
pub use dispatcher::{DispatcherActor, GetDeadLetters, GetStats};
pub use engine::DeadLetter;
pub use fallback::FallbackRequest;
pub use launch::{LaunchedDispatcher, RunningDispatcher, WorkerDaemon};
pub use methods::Class;
pub use request::{
    AnonymousMethod, CancellationToken, IfRunning, NewRequest, RequestDone, RequestId, RequestInfo,
};
pub use scheduler::{CancelOutcome, IdleOrder, Lane, Stats};
pub use talkback::Talkback;
pub use task::{RunTask, Task};
