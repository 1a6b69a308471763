//! A prefork manager for programs without actors: `Parallel::Prefork` and
//! `Parallel::Prefork::SpareWorkers` for Rust.
//!
//! # Theory of operation
//!
//! A *manager* forks *workers*, which are copies of the program at the time of the fork, and
//! replaces workers that exit. The manager forks its own process, so this process must have only
//! one thread and no runtime. If other threads run, [`start`](Prefork::start) returns an error that
//! names them. Otherwise `start` returns in the manager when a
//! [trapped](PreforkBuilder::trap_signals) signal has been received. The setting `trap_signals`
//! also specifies whether the manager forwards the signal to the workers. On TERM, a typical
//! program waits for the workers and exits. On HUP, it reads its configuration again and calls
//! `start` again, while the old workers finish their current work. Each call of `start` begins a
//! *generation* of workers.
//!
//! ```text
//! manager   load configuration -> start ... HUP -> load configuration -> start ... TERM -> wait
//!              |                    | TERM to all                           | TERM to all
//! workers      |-- 1st generation --+-- finish, exit                        |
//!              |                        |-- 2nd generation -----------------+-- finish, exit
//! ```
//!
//! - **The number of workers** is `max_workers`. If `min_spare_workers` is set, the manager runs
//!   only as many workers as it needs to keep `min_spare_workers` workers idle. Each worker reports
//!   its [status](Worker::set_status) on a scoreboard in shared memory.
//! - **The manager is event-driven**: it replaces a worker within about a millisecond of its exit,
//!   and sleeps between events.
//! - **A worker that fails** is replaced at once if it ran for at least
//!   [`err_respawn_interval`](PreforkBuilder::err_respawn_interval). Otherwise it is replaced when
//!   this time has passed since its fork. The failure does not delay the replacement of other
//!   workers.
//! - **A worker is asked to stop** by a signal. The signal terminates the worker, unless the worker
//!   [checks](Worker::should_stop) for the signal and finishes its current work first. If the
//!   manager is killed, the kernel sends the [death signal](PreforkBuilder::death_signal) to the
//!   workers (on Linux). By default, the death signal is the signal that asks workers to stop.
//! - **Other children of the process are not touched**, because the manager reaps only its
//!   workers, each by its pid.
//!
//! # Examples
//!
//! Ten workers serve connections, and HUP reloads the greeting:
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
//!         pm.start(|worker| -> std::io::Result<()> {
//!             while let Some(mut connection) = worker.accept(&listener)? {
//!                 // An error means that the client has closed the connection.
//!                 let _ = connection.write_all(&greeting);
//!             }
//!             Ok(())
//!         })?;
//!     }
//!     pm.close_and_wait(listener)?;
//!     Ok(())
//! }
//! ```
//!
//! A worker that is asked to stop finishes its connection, and helps to empty the queue of the
//! listener, so no client is lost. `examples/prefork_reload.rs` is a longer program of this kind.
//! `examples/gearman_worker` runs a Gearman worker in ten processes; only its `main` uses this
//! crate.
//!
//! # Map
//!
//! | subject | types |
//! | --- | --- |
//! | the manager | [`Prefork`], [`PreforkBuilder`], [`StartResult`] |
//! | signals | [`Signal`], [`SignalForward`] |
//! | a worker, in its own process | [`Worker`], [`Listener`], [`bind_unix`], [`WaitResult`], [`WorkerResult`], [`STATUS_IDLE`], [`STATUS_NEXIST`] |
//! | arguments of hooks | [`Overview`], [`Reaped`], [`ExitCause`], [`Exit`], [`Pid`] |
//! | the scoreboard | [`ScoreboardReader`], [`SlotNumber`] |
//! | errors | [`ConfigError`], [`Error`], [`InWorkerError`], [`StatusError`] |
//!
//! # Limitations
//!
//! - The crate supports only Unix. On systems other than Linux, workers receive no signal when the
//!   manager is killed. On these systems the manager also has to check all its workers when it
//!   receives CHLD, because it cannot detect otherwise which of them have exited.
//! - The kernel clears the [death signal](PreforkBuilder::death_signal) of a worker that changes
//!   its user or group. Such a worker must call [`watch_manager`](Worker::watch_manager) after the
//!   change.
//! - The manager does not know when a worker is ready. A worker that hangs at its start is not
//!   killed, and counts as one of `max_workers`.
//! - A process can have only one manager, because a manager installs handlers for the trapped
//!   signals and for CHLD. Creating a second manager is an error.
//! - Workers share the manager's memory pages until a process writes to them, but forking a large
//!   process is slow. `daemon-forkserver` forks from a separate process that stays small.
//!   `actix-daemon` uses `daemon-forkserver`, and runs the actix runtime in another process, the
//!   parent.

mod error;
mod handover;
mod hooks;
mod listener;
mod log;
mod manager;
mod pool;
mod prefork;
mod rolling_signal;
#[cfg(test)]
mod sentences;
mod settings;
mod signal_forward;
mod worker;

pub use error::{ConfigError, Error, InWorkerError, StatusError};
pub use hooks::{Overview, Reaped};
pub use listener::Listener;
pub use prefork::{Prefork, StartResult};
pub use settings::PreforkBuilder;
pub use signal_forward::SignalForward;
pub use worker::{STATUS_IDLE, STATUS_NEXIST, WaitResult, Worker, WorkerResult};

pub use daemon_core::{Descendants, Exit, ExitCause, Pid, ScoreboardReader, Signal, SlotNumber};
pub use daemon_sys::socketfile::bind_unix;
