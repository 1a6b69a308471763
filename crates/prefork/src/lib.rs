//! A pre-fork manager for programs that are loops: `Parallel::Prefork` and
//! `Parallel::Prefork::SpareWorkers` for Rust.
//!
//! # Theory of operation
//!
//! A *manager* forks *workers*, each a copy of the program as it stands, and replaces those that end.
//! It has one thread and no runtime, so it may fork by itself; with other threads about it refuses,
//! and names them. [`start`](Prefork::start) returns in the manager when a signal has come that is
//! [trapped](PreforkBuilder::trap_signals) and was passed on to the workers: on TERM the program waits for
//! them and ends, on HUP it loads its configuration anew and starts again, while the old workers
//! finish what they have in hand. Each start is a *generation*.
//!
//! ```text
//! manager   load configuration -> start ... HUP -> load configuration -> start ... TERM -> wait
//!              |                    | TERM to all                           | TERM to all
//! workers      |-- 1st generation --+-- finish, leave                       |
//!              |                        |-- 2nd generation -----------------+-- finish, leave
//! ```
//!
//! - **There are always `max_workers`**; or, with `min_spare_workers`, as many as it takes for so
//!   many to be idle, by the [status](Worker::set_status) that each reports on a scoreboard in shared
//!   memory.
//! - **Everything is an event**: a worker that ends is replaced within a millisecond or so, and an
//!   idle manager does not wake.
//! - **A worker that fails** is replaced at once if it had lived for
//!   [`err_respawn_interval`](PreforkBuilder::err_respawn_interval), else when that has passed since its birth.
//!   The other slots do not wait for it.
//! - **A worker is told to leave** by a signal. It dies of it, or
//!   [asks](Worker::should_stop) for it and leaves when it has done what it has in hand. When the
//!   manager is killed its workers get the same signal from the kernel (on Linux).
//! - **Nobody else's children are touched**: each worker is held by a pidfd and reaped by its pid.
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
//!                 // Who goes before he has it does without.
//!                 let _ = connection.write_all(&greeting);
//!             }
//!         })?;
//!     }
//!     pm.wait_all_children()?;
//!     Ok(())
//! }
//! ```
//!
//! These workers are ended by TERM wherever they are. `examples/prefork_reload.rs` shows such as finish
//! their connection first, and `examples/gearman_worker` puts ten processes of a worker that knows
//! nothing of this crate to work.
//!
//! # Map
//!
//! | what | names |
//! | --- | --- |
//! | the manager | [`Prefork`], [`PreforkBuilder`], [`StartResult`] |
//! | signals | [`Signal`], [`SignalForward`] |
//! | a worker, in its own process | [`Worker`], [`WaitResult`], [`WorkerResult`], [`STATUS_IDLE`], [`STATUS_NEXIST`] |
//! | what hooks are told | [`Overview`], [`Reaped`], [`ExitCause`], [`Exit`], [`Pid`] |
//! | the scoreboard | [`ScoreboardReader`], [`SlotNumber`] |
//! | what goes wrong | [`ConfigError`], [`Error`], [`InWorkerError`], [`StatusError`] |
//!
//! # Limitations
//!
//! - Unix. Elsewhere than on Linux workers get no signal when the manager is killed, and are asked
//!   one by one when one has ended.
//! - A worker that changes its user or group [asks anew](Worker::watch_manager) for that signal: the
//!   kernel drops it then.
//! - One manager a process, since it sets the handlers of the signals it traps and of CHLD. A second one
//!   is refused.
//! - The manager's memory is the workers' too, until one of them writes to it: a large manager forks
//!   slowly. `daemon-forkserver` forks from a process that stays small, and `actix-daemon` has a runtime
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
