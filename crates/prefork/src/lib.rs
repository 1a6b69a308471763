//! A prefork manager for programs without actors: `Parallel::Prefork` and
//! `Parallel::Prefork::SpareWorkers` for Rust.
//!
//! # Theory of operation
//!
//! A *manager* forks *workers*, each a copy of the program at that point, and replaces those that exit.
//! The manager has one thread and no runtime, so it can fork directly. If other threads run, it returns
//! an error that names them. [`start`](Prefork::start) returns in the manager when a
//! [trapped](PreforkBuilder::trap_signals) signal has been received and forwarded to the workers. On TERM
//! the program waits for the workers and exits; on HUP it reads its configuration again and calls `start`
//! again, while the old workers finish their current work. Each start is a *generation*.
//!
//! ```text
//! manager   load configuration -> start ... HUP -> load configuration -> start ... TERM -> wait
//!              |                    | TERM to all                           | TERM to all
//! workers      |-- 1st generation --+-- finish, exit                        |
//!              |                        |-- 2nd generation -----------------+-- finish, exit
//! ```
//!
//! - **The number of workers** is always `max_workers`. With `min_spare_workers` it is as many as needed
//!   to keep that number idle, by the [status](Worker::set_status) that each worker reports on a
//!   scoreboard in shared memory.
//! - **The manager is event-driven**: it replaces a worker within about a millisecond of its exit, and
//!   does not wake while nothing happens.
//! - **A worker that fails** is replaced at once if it had run for
//!   [`err_respawn_interval`](PreforkBuilder::err_respawn_interval), otherwise when that time has passed
//!   since its fork. Other slots do not wait for it.
//! - **A worker is asked to stop** by a signal. The signal terminates it, unless the worker
//!   [checks](Worker::should_stop) for it; then it finishes its current work first. If the manager is
//!   killed, the kernel sends its workers the same signal (on Linux).
//! - **Other children of the process are not touched**: the manager holds a pidfd for each worker, and
//!   reaps workers by pid.
//!
//! # Examples
//!
//! Ten workers that serve connections; HUP reloads:
//!
//! ```no_run
//! use std::error::Error;
//! use std::io::Write;
//! use std::net::TcpListener;
//!
//! use daemon_prefork::SignalForward::{Nothing, ToAll};
//! use daemon_prefork::{Prefork, Signal};
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let listener = TcpListener::bind("127.0.0.1:7070")?;
//!     let mut pm = Prefork::builder()
//!         .max_workers(10)
//!         .trap_signals([
//!             (Signal::Term, ToAll(Signal::Term)),
//!             (Signal::Hup, ToAll(Signal::Term)),
//!             (Signal::Usr1, Nothing),
//!         ])
//!         .build()?;
//!     let mut greeting = b"hello\n".to_vec();
//!     while pm.signal_received() != Some(Signal::Term) {
//!         greeting = std::fs::read("greeting.txt").unwrap_or(greeting);
//!         pm.start(|_worker| -> std::io::Result<()> {
//!             loop {
//!                 let (mut connection, _peer) = listener.accept()?;
//!                 // An error means that the client has closed the connection.
//!                 let _ = connection.write_all(&greeting);
//!             }
//!         })?;
//!     }
//!     pm.wait_all_children()?;
//!     Ok(())
//! }
//! ```
//!
//! TERM terminates these workers at any point. The workers of `examples/prefork_reload.rs` finish their
//! connection first, and `examples/gearman_worker` runs ten processes of a worker that does not depend on
//! this crate.
//!
//! # Map
//!
//! | subject | types |
//! | --- | --- |
//! | the manager | [`Prefork`], [`PreforkBuilder`], [`StartResult`] |
//! | signals | [`Signal`], [`SignalForward`] |
//! | a worker, in its own process | [`Worker`], [`WaitResult`], [`WorkerResult`], [`STATUS_IDLE`], [`STATUS_NEXIST`] |
//! | arguments of hooks | [`Overview`], [`Reaped`], [`ExitCause`], [`Exit`], [`Pid`] |
//! | the scoreboard | [`ScoreboardReader`], [`SlotNumber`] |
//! | errors | [`ConfigError`], [`Error`], [`InWorkerError`], [`StatusError`] |
//!
//! # Limitations
//!
//! - Unix only. On other systems than Linux, workers receive no signal when the manager is killed, and the
//!   manager checks its workers one by one after CHLD.
//! - A worker that changes its user or group must call [`watch_manager`](Worker::watch_manager): the kernel
//!   clears the death signal then.
//! - One manager per process, because it installs handlers for the trapped signals and for CHLD. Creating a
//!   second one is an error.
//! - Workers share the manager's memory until one of them writes to it, and forking a large process is
//!   slow. `daemon-forkserver` forks from a process that stays small, and `actix-daemon` runs a runtime
//!   beside it.

mod clock;
mod error;
mod hooks;
mod manager;
mod manager_pid;
mod pool;
mod prefork;
mod rolling_signal;
#[cfg(test)]
mod sentences;
mod settings;
mod signal_forward;
mod status;
mod worker;
mod worker_result;

pub use error::{ConfigError, Error, InWorkerError, StatusError};
pub use hooks::{Overview, Reaped};
pub use prefork::{Prefork, StartResult};
pub use settings::PreforkBuilder;
pub use signal_forward::SignalForward;
pub use worker::{STATUS_IDLE, STATUS_NEXIST, WaitResult, Worker};
pub use worker_result::WorkerResult;

pub use daemon_core::{ExitCause, ScoreboardReader, SlotNumber};
pub use daemon_sys::reap::Exit;
pub use daemon_sys::{Pid, Signal};
