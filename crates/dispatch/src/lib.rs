//! Tasks to pre-forked worker processes, results to futures and recipients: what
//! `POE::Component::PreforkDispatch` does, and what it never could.
//!
//! # Theory of operation
//!
//! A dispatcher is a daemon whose children are workers: the same fork server, scoreboard, babysitter and
//! control socket as of any [`actix_daemon`]. Its model is a pool on demand
//! ([`OnDemand`](actix_daemon::dispatching::OnDemand)): each worker is born with one end of a link, and there are
//! as many workers as waiting requests ask for, up to [`max_forks`](DispatcherBuilder::max_forks).
//!
//! ```text
//! your sessions -- NewRequest --> DispatcherActor     parent
//!       ^                              |  Scheduler: queue, workers, claims
//!       +-- future, RequestDone -------+
//!                                      |  link: frames, memory   ^ answers
//!                                      v                         |
//!                                  worker 0: one task at a time, in a process of its own
//!                                  worker 1: ...
//! ```
//!
//! Every request gets **exactly one answer** ([`TaskResult`]): a value, or a [`Failure`] that says which
//! of the ways it went. What a request can be refused for is found out before a worker is bothered.
//! The rule of it is a state machine without I/O or clock; actors carry it out.
//!
//! A worker that is busy with short tasks is sent some ahead, so that a batch of them costs one system
//! call. Whose such a task is, is settled in shared memory ([`daemon_core::Claim`]): one that was not
//! begun is taken back when another worker is idle, when the one before it takes long, when it is
//! cancelled, and when the worker dies. So a crash costs the task that was running, and no other.
//!
//! # Examples
//!
//! ```standalone_crate
//! use actix_daemon::{DaemonError, StopMode, Shutdown};
//! use actix_dispatch::{Dispatcher, NewRequest};
//!
//! fn main() -> Result<(), DaemonError> {
//!     Dispatcher::builder()
//!         .max_forks(4)
//!         .method("resize", |_call, (path, width): (String, u32)| {
//!             if width == 0 { Err("no width") } else { Ok(format!("{path} is {width} wide")) }
//!         })
//!         .method("crash", |_call, (): ()| -> Result<(), String> { std::process::abort() })
//!         .run(|started| {
//!             actix_rt::spawn(async move {
//!                 let dispatcher = started.dispatcher;
//!                 let resize = NewRequest::to("resize").params(("a.png", 640));
//!                 let answer = dispatcher.send(resize).await.expect("it is there");
//!                 let line: String = answer.expect("a value").value().expect("a text");
//!                 assert_eq!(line, "a.png is 640 wide");
//!                 let crash = dispatcher.send(NewRequest::to("crash")).await.expect("it is there");
//!                 assert!(crash.unwrap_err().to_string().starts_with("lost: "));
//!                 started.daemon.do_send(Shutdown(StopMode::Graceful));
//!             });
//!         })
//! }
//! ```
//!
//! # Map
//!
//! | rooms | for |
//! | --- | --- |
//! | [`Dispatcher::builder`], [`DispatcherBuilder`] | configuring: numbers, methods, hooks, recipients |
//! | [`LaunchedDispatcher`], [`RunningDispatcher`], [`WorkerDaemon`] | how it is run, here or in a System of yours |
//! | [`NewRequest`], [`RunTask`], [`Task`], [`Bytes`] | what is asked for |
//! | [`TaskResult`], [`Reply`], [`Failure`], [`Rejection`] | the one answer |
//! | [`RequestDone`], [`Request`] | the same, delivered to a recipient |
//! | [`Call`] | what a handler knows of the call that it serves |
//! | [`Class`], [`AnonymousMethod`], [`FallbackRequest`] | methods of a namespace, of a request, of nobody |
//! | [`Lane`] | a queue of its own within the queue |
//! | [`Cancel`], [`GetStats`], [`GetDeadLetters`] | what the dispatcher is asked for besides |
//! | [`Talkback`] | what it says, and what workers print |
//!
//! # Limitations
//!
//! - Methods are known before the launch: code cannot cross to a process that is there already.
//! - A handler that blocks also keeps its worker from hearing signals; so does a hard limit's
//!   absence. The babysitter's limits hold for workers as for any child.
//! - Tasks that are known to take less than a millisecond may be sent ahead: with several workers the
//!   order in which such are *begun* can differ from that of the queue by as much. Others are begun
//!   strictly in order.
//! - A line that is printed is told with the method that its worker did then or did last; among tasks
//!   that follow each other within microseconds it may be the neighbour's.

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
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod launch;
mod link;
mod methods;
mod panics;
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
pub use methods::{AnonymousMethod, Class};
pub use request::{IfRunning, NewRequest, Request, RequestDone, RequestId};
pub use scheduler::{CancelOutcome, Lane, Stats};
pub use talkback::Talkback;
pub use task::{RunTask, Task};
