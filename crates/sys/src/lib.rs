//! The operating system calls that a forking daemon needs, in safe wrappers.
//!
//! All unsafe code of the workspace for Unix is in this crate. Each unsafe block contains one
//! operation, and its SAFETY comment says why the operation is sound. The types of the crate are
//! safe to use: a [`Pid`] cannot be 0, a [`ForkResult`](fork::ForkResult) distinguishes the parent
//! from the child, and dropping a [`SignalBlockGuard`](signals::SignalBlockGuard) restores the
//! signal mask.
//!
//! # Limitations
//!
//! - The crate supports Unix only, and primarily Linux. The fallback implementations for FreeBSD
//!   and macOS do less: they have no parent death signal, no process title, no names of other
//!   threads and no backtraces, and use pids instead of pidfds. The crate is built and tested on
//!   Linux, where `--cfg fallback` selects most of the fallback implementations.
//! - Only a process with one thread can fork. In a process with several threads [`fork::fork`]
//!   returns an error.
//! - The crate makes no decisions. The caller decides when to fork, which process to signal and how
//!   long to wait.
//!
//! # Examples
//!
//! A child exits, and the parent collects the child's exit status:
//!
//! ```standalone_crate
//! use daemon_sys::fork::{ForkResult, fork};
//! use daemon_sys::process::{Signal, SignalOutcome, exit_now, signal};
//! use daemon_sys::reap::{Exit, wait_for};
//!
//! # fn main() -> Result<(), daemon_sys::Error> {
//! match fork()? {
//!     ForkResult::Child => exit_now(7),
//!     ForkResult::Parent(child) => {
//!         assert_eq!(signal(child, Signal::Cont)?, SignalOutcome::Delivered);
//!         assert_eq!(wait_for(child)?, Exit::Code(7));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! | modules | purpose |
//! | --- | --- |
//! | [`fork`](mod@fork), [`reap`], [`process`], [`pidfd`] | forking, reaping, signalling and watching processes |
//! | [`signals`], [`poll`], [`wakeup`], [`clock`] | event loops: receiving signals, polling descriptors, waking a loop, reading the clock |
//! | [`link`], [`memfd`], [`shared`] | socket pairs, memory files and shared memory |
//! | `trace` (with the feature of this name, on by default) | backtraces of other processes |
//! | [`inherited`], [`detach`](mod@detach), [`stdio`], [`pidfile`], [`environment`], [`limits`], [`title`] | steps of a daemon's launch |
//! | [`output`] | output that does not wait for its reader |
//! | [`init`] | process 1 of a container |
//! | [`ownfile`] | whether a path still leads to a file that this process has made |
//! | [`privileges`], [`capabilities`], `sandbox` (with the feature of this name) | giving up privileges |
//! | [`listen`], [`backlog`], [`socketfile`], [`fds`], [`new_file`] | listening sockets, their backlogs, Unix socket files, open and inherited descriptors, created files |
//! | [`error`] | the error type |

pub mod backlog;
pub mod capabilities;
pub mod clock;
pub mod detach;
pub mod environment;
pub mod error;
pub mod fds;
pub mod fork;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod inherited;
pub mod init;
pub mod limits;
pub mod link;
pub mod listen;
pub mod memfd;
pub mod new_file;
pub mod output;
pub mod ownfile;
pub mod pidfd;
pub mod pidfile;
mod place;
pub mod poll;
pub mod privileges;
pub mod process;
pub mod reap;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(test)]
mod sentences;
pub mod shared;
pub mod signals;
pub mod socketfile;
pub mod stdio;
pub mod title;
#[cfg(feature = "trace")]
pub mod trace;
pub mod wakeup;
#[cfg(feature = "tokio")]
pub mod watch;

pub use error::{Error, Result};
pub use process::{Pid, Signal};
