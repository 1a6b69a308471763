//! A fork server: a process that forks children on behalf of its parent.
//!
//! # Theory of operation
//!
//! fork(2) copies the calling process as it is, which causes three problems. Copying the memory map
//! takes long if the map is large. Only the calling thread is copied, so locks that other threads
//! held stay locked in the child. Parent and child share the event queue of the runtime. A *fork
//! server* avoids all three problems. It is forked once, while the process still has one thread and
//! no runtime, and then forks every child on its parent's command. The parent may start threads and
//! runtimes and use gigabytes of memory. Every fork stays as fast and as safe as the first.
//!
//! ```text
//! parent   ForkServer       -- Fork, Signal, ReopenLogs, Release, ShutDown -->  fork server  forks
//!          ForkServerEvent <-- ChildForked, ForkFailed, ChildExited ----------               reaps
//!             ^                                                                            signals
//!             |  scoreboard, wakeup                                                             |
//!             +--------------------------------------------------- child: ChildProgram::run_child
//! ```
//!
//! - **A request is sent as descriptors and bytes** ([`Transfer`]). [`ForkServer`] keeps the
//!   original until it reports the child as [`Forked`](ForkServerEvent::Forked), and returns the
//!   original if the fork fails.
//! - **The process that forks also reaps and signals**, so a pid that the fork server signals
//!   cannot belong to an unrelated process.
//! - **The only thread of the fork server sends all reports**, so `Forked` always comes before
//!   `Exited`.
//! - **If the parent dies**, the fork server detects that the socket between them is closed, sends
//!   TERM to its children, waits for the grace period, sends KILL, and exits. **If the fork server
//!   dies**, its children receive TERM as their parent death signal (on Linux), and the parent gets
//!   [`Lost`](ForkServerError::Lost).
//! - **Signals are blocked** in the fork server, and in a child until it
//!   [releases](BlockedSignals::release) them, so no signal arrives before the child has installed
//!   its handlers.
//! - The fork server keeps its copy of the [`ChildProgram`], with all that it owns (for example a
//!   listening socket), until the parent [releases](ForkServer::release) the program.
//!
//! # Examples
//!
//! Forks a child whose request is a socket and a word. The child writes the word in upper case to
//! the socket:
//!
//! ```standalone_crate
//! use std::io::{Read, Write};
//! use std::os::unix::net::UnixStream;
//!
//! use daemon_forkserver::{ChildProgram, ChildStart, ForkServerBuilder, ForkServerEvent};
//!
//! /// The program that every child runs.
//! struct Shout;
//!
//! impl ChildProgram for Shout {
//!     type Request = (UnixStream, String);
//!
//!     fn run_child(self, start: ChildStart<Self::Request>) -> i32 {
//!         start.signals.release();
//!         let Ok((mut stream, word)) = start.request else { return 65 };
//!         match write!(stream, "{}!", word.to_uppercase()) {
//!             Ok(()) => 0,
//!             Err(_parent_exited) => 1,
//!         }
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let (mut fork_server, Shout) = ForkServerBuilder::new(8).spawn(Shout)?;
//!     // From here on this process may have threads and a runtime.
//!     let (mut near, far) = UnixStream::pair()?;
//!     let child = fork_server.fork((far, "hello".to_owned())).map_err(|error| error.reason)?;
//!     let mut has_exited = false;
//!     while !has_exited {
//!         for event in fork_server.wait(None)? {
//!             if let ForkServerEvent::Exited { child: id, .. } = event {
//!                 has_exited |= id == child;
//!             }
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
//! | types | purpose |
//! | --- | --- |
//! | [`ForkServerBuilder`] | settings of a fork server, and how to spawn it |
//! | [`ForkServer`], [`ForkServerEvent`], [`ChildId`] | the parent's handle: sends commands, returns events |
//! | [`ChildProgram`], [`ChildStart`], [`BlockedSignals`] | a child: the code that it runs and what it starts with |
//! | [`Transfer`], [`Encoder`], [`Decoder`], [`Serde`] | how a request is sent to its child |
//! | [`mod@channel`] | frames with descriptors on a link |
//! | [`SymbolLookup`], [`SymbolLookupProgress`] | the functions in a child's backtrace |
//! | [`ForkRefusal`], [`ForkServerError`], [`TransferError`] | errors |
//!
//! # Limitations
//!
//! - [`spawn`](ForkServerBuilder::spawn) requires a process with one thread. If the
//!   [`preload`](ChildProgram::preload) step starts a thread, every fork fails.
//! - The fork server makes no decisions. The parent decides how many children to run, which to
//!   replace and how long to wait after a failed fork, for example with the rules of `daemon_core`.
//! - Children share the fork server's process group and session. A child that starts processes must
//!   stop and reap them itself.
//! - A request has at most [`DESCRIPTORS_MAX`] descriptors, and at most
//!   [`request_limit`](ForkServerBuilder::request_limit) bytes.

mod builder;
pub mod channel;
mod child_program;
mod fork_server;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod protocol;
#[cfg(test)]
mod sentences;
mod server_loop;
mod symbols;
mod transfer;

pub use builder::ForkServerBuilder;
pub use child_program::{
    BlockedSignals, ChildProgram, ChildStart, EXIT_PANIC, EXIT_SOFTWARE, ParentWakeup,
};
pub use daemon_core::ChildId;
pub use fork_server::{ForkError, ForkServer, ForkServerError, ForkServerEvent};
pub use protocol::ForkRefusal;
pub use symbols::{SYMBOL_LOOKUP_MAX, SymbolLookup, SymbolLookupProgress};
pub use transfer::{DESCRIPTORS_MAX, Decoder, Encoder, Serde, Transfer, TransferError};

pub use daemon_sys::clock::now;

pub use daemon_core as core;
pub use daemon_sys as sys;
