//! The process that forks, so that its parent never does.
//!
//! # Theory of operation
//!
//! fork(2) copies a process as it stands: its memory map, which takes long when it is large; one of
//! its threads, with whatever locks the others held; its runtime's event queue, which parent and
//! child then share. A *fork server* has none of these. It is forked once, from a process that has one
//! thread and no runtime yet, and then forks every child on its parent's orders. The parent may grow
//! threads, runtimes and gigabytes; children are born as fast and as clean as the first.
//!
//! ```text
//! parent   Fork server       -- Fork, Signal, ReopenLogs, Released, ShutDown -->   fork server   forks
//!          its events    <-- ChildBorn, ForkFailed, ChildGone ----              reaps
//!             ^                                                                 signals
//!             |  scoreboard, doorbell                                              |
//!             +------------------------------------------------------------   child: ChildProgram::live
//! ```
//!
//! - **A request crosses as descriptors and bytes** ([`Transfer`]). The parent keeps its own copy
//!   until the child is reported [`Born`](Event::Born): a fork that fails gives it back.
//! - **Who forks also reaps and signals**, so a pid in the fork server's hands cannot be another's.
//! - **One thread writes the link**, so `Born` always comes before `Gone`.
//! - **The parent dies**: the fork server reads the end of the link, sends TERM to its children, waits
//!   its grace, sends KILL, and goes. **The fork server dies**: its children get TERM by the parent
//!   death signal (on Linux), and the parent is told that it is [lost](ForkServerError::Lost).
//! - **Signals are blocked** in the fork server, and in a child until it
//!   [releases](BlockedSignals::release) them: none finds a child without its handlers.
//! - The fork server holds what the [`ChildProgram`] holds, a listener too, until it is told to
//!   [let go](Fork server::release).
//!
//! # Examples
//!
//! A child for each word, which goes back through a socket that crossed with it:
//!
//! ```standalone_crate
//! use std::io::{Read, Write};
//! use std::os::unix::net::UnixStream;
//!
//! use daemon_forkserver::{ChildStart, ChildProgram, Event, ForkServerBuilder};
//!
//! /// What every child is made of.
//! struct Shout;
//!
//! impl ChildProgram for Shout {
//!     type Request = (UnixStream, String);
//!
//!     fn live(self, birth: ChildStart<Self::Request>) -> i32 {
//!         birth.signals.release();
//!         let Ok((mut stream, word)) = birth.request else { return 65 };
//!         match write!(stream, "{}!", word.to_uppercase()) {
//!             Ok(()) => 0,
//!             Err(_the_parent_is_gone) => 1,
//!         }
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let (mut fork server, Shout) = ForkServerBuilder::new(8).spawn(Shout)?;
//!     // From here on this process may have threads and a runtime.
//!     let (mut near, far) = UnixStream::pair()?;
//!     let child = fork server.fork((far, "hello".to_owned())).map_err(|unforked| unforked.why)?;
//!     let mut gone = false;
//!     while !gone {
//!         for event in fork server.wait(None)? {
//!             gone |= matches!(event, Event::Exited { child: who, .. } if who == child);
//!         }
//!     }
//!     let mut word = String::new();
//!     near.read_to_string(&mut word)?;
//!     assert_eq!(word, "HELLO!");
//!     Ok(())
//! }
//! ```
//!
//! # Map
//!
//! | rooms | for |
//! | --- | --- |
//! | [`ForkServerBuilder`] | founding a fork server: its settings, its fork, its first word |
//! | [`ForkServer`], [`ForkServerEvent`], [`ChildId`] | the parent's end: orders out, events in |
//! | [`ChildProgram`], [`ChildStart`], [`BlockedSignals`] | a child: what it is made of and born with |
//! | [`Transfer`], [`Encoder`], [`Decoder`], [`Serde`] | what a request is, on its way |
//! | [`ForkRefusal`], [`ForkServerError`], [`TransferError`] | what goes wrong |
//!
//! # Limitations
//!
//! - [`found`](Plan::found) wants a process with one thread, and a [`preload`](Brood::preload) that
//!   starts none.
//! - It decides nothing: how many children there shall be, whom to replace and how long to wait
//!   after a failed fork are the parent's to know. The rules of `daemon_core` do.
//! - A child's process group and session are the fork server's; a child that starts processes of its own
//!   answers for them.
//! - A request has at most [`DESCRIPTORS_MAX`] descriptors, and as many bytes as
//!   [`request_limit`](Plan::request_limit) says.

mod builder;
mod child_program;
mod fork_server;
mod protocol;
#[cfg(test)]
mod sentences;
mod server_loop;
mod transfer;
mod wire;

pub use builder::{EXIT_PANIC, EXIT_SOFTWARE, ForkServerBuilder};
pub use child_program::{BlockedSignals, ChildProgram, ChildStart, ParentWakeup, now};
pub use fork_server::{ChildId, ForkError, ForkServer, ForkServerError, ForkServerEvent};
pub use protocol::ForkRefusal;
pub use transfer::{DESCRIPTORS_MAX, Decoder, Encoder, Serde, Transfer, TransferError};

pub use daemon_core as core;
pub use daemon_sys as sys;
