//! What a forking daemon asks of the operating system, one system call a wrapper.
//!
//! All unsafe code of the workspace is here, each block one call with the reason why it is sound;
//! what is above sees values: a [`Pid`] that can't be 0, a [`ForkResult`](fork::Fork) that is one of two
//! processes, [`Blocked`](signals::Blocked) signals that are unblocked when the value goes.
//!
//! # Limitations
//!
//! - Unix only. Linux first; FreeBSD and macOS by plainer means, which do less: no parent death
//!   signal, pids instead of pidfds, no title, company without names, no backtraces. Built and tested on Linux
//!   (`--cfg plain_means` there builds the plainer rooms).
//! - Only a process with one thread forks ([`fork::fork`] refuses any other).
//! - Nothing here decides anything: when to fork, whom to signal and how long to wait is for others.
//!
//! # Examples
//!
//! A child that ends, and a parent that learns how:
//!
//! ```standalone_crate
//! use daemon_sys::fork::{Fork, fork};
//! use daemon_sys::process::{Signal, Sent, exit_now, signal};
//! use daemon_sys::reap::{Exit, wait_for};
//!
//! # fn main() -> Result<(), daemon_sys::Error> {
//! match fork()? {
//!     Fork::Child => exit_now(7),
//!     Fork::Parent(child) => {
//!         assert_eq!(signal(child, Signal::Cont)?, Sent::Delivered);
//!         assert_eq!(wait_for(child)?, Exit::Code(7));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! | rooms | for |
//! | --- | --- |
//! | [`fork`](mod@fork), [`reap`], [`process`], [`pidfd`] | children: to make, take, signal and hold them |
//! | [`signals`], [`poll`], [`wakeup`], [`clock`] | loops: what to wait for, and for how long |
//! | [`link`], [`memfd`], [`shared`] | what two processes share |
//! | [`trace`] | where another process is, told by itself |
//! | [`detach`](mod@detach), [`stdio`], [`pidfile`], [`privileges`], [`limits`], [`title`] | the housework of a launch |
//! | [`listen`], [`socketfile`], [`fds`] | sockets that stop in order, a Unix socket at its place, descriptors that are open |
//! | [`error`] | what goes wrong |

pub mod clock;
pub mod detach;
pub mod error;
pub mod fds;
pub mod fork;
pub mod limits;
pub mod link;
pub mod listen;
pub mod memfd;
pub mod pidfd;
pub mod pidfile;
pub mod poll;
pub mod privileges;
pub mod process;
pub mod reap;
#[cfg(test)]
mod sentences;
pub mod shared;
pub mod signals;
pub mod socketfile;
pub mod stdio;
pub mod title;
pub mod trace;
pub mod wakeup;
#[cfg(feature = "tokio")]
pub mod watch;

pub use error::{Error, Result};
pub use process::{Pid, Signal};
