//! The process that forks, so that its parent never does.
//!
//! # Theory of operation
//!
//! fork(2) copies a process as it stands: its memory map, which takes long when it is large; one of
//! its threads, with whatever locks the others held; its runtime's event queue, which parent and
//! child then share. A *nursery* has none of these. It is forked once, from a process that has one
//! thread and no runtime yet, and then forks every child on its parent's orders. The parent may grow
//! threads, runtimes and gigabytes; children are born as fast and as clean as the first.
//!
//! ```text
//! parent   Nursery       -- Fork, Signal, HangUp, LetGo, GoHome -->   nursery   forks
//!          its events    <-- ChildBorn, ForkFailed, ChildGone ----              reaps
//!             ^                                                                 signals
//!             |  scoreboard, doorbell                                              |
//!             +------------------------------------------------------------   child: Brood::live
//! ```
//!
//! - **A request crosses as descriptors and bytes** ([`Handover`]). The parent keeps its own copy
//!   until the child is reported [`Born`](Event::Born): a fork that fails gives it back.
//! - **Who forks also reaps and signals**, so a pid in the nursery's hands cannot be another's.
//! - **One thread writes the link**, so `Born` always comes before `Gone`.
//! - **The parent dies**: the nursery reads the end of the link, sends TERM to its children, waits
//!   its grace, sends KILL, and goes. **The nursery dies**: its children get TERM by the parent
//!   death signal (on Linux), and the parent is told that it is [lost](NurseryError::Lost).
//! - **Signals are blocked** in the nursery, and in a child until it
//!   [releases](HeldSignals::release) them: none finds a child without its handlers.
//! - The nursery holds what the [`Brood`] holds, a listener too, until it is told to
//!   [let go](Nursery::let_go).
//!
//! # Examples
//!
//! A child for each word, which goes back through a socket that crossed with it:
//!
//! ```standalone_crate
//! use std::io::{Read, Write};
//! use std::os::unix::net::UnixStream;
//!
//! use daemon_nursery::{Birth, Brood, Event, Plan};
//!
//! /// What every child is made of.
//! struct Shout;
//!
//! impl Brood for Shout {
//!     type Request = (UnixStream, String);
//!
//!     fn live(self, birth: Birth<Self::Request>) -> i32 {
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
//!     let (mut nursery, Shout) = Plan::for_children(8).found(Shout)?;
//!     // From here on this process may have threads and a runtime.
//!     let (mut near, far) = UnixStream::pair()?;
//!     let child = nursery.fork((far, "hello".to_owned())).map_err(|unforked| unforked.why)?;
//!     let mut gone = false;
//!     while !gone {
//!         for event in nursery.wait(None)? {
//!             gone |= matches!(event, Event::Gone { child: who, .. } if who == child);
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
//! | [`Plan`] | founding a nursery: its settings, its fork, its first word |
//! | [`Nursery`], [`Event`], [`ChildId`] | the parent's end: orders out, events in |
//! | [`Brood`], [`Birth`], [`HeldSignals`] | a child: what it is made of and born with |
//! | [`Handover`], [`Parcel`], [`Delivery`], [`Serde`] | what a request is, on its way |
//! | [`ForkRefusal`], [`NurseryError`], [`HandoverError`] | what goes wrong |
//!
//! # Limitations
//!
//! - [`found`](Plan::found) wants a process with one thread, and a [`preload`](Brood::preload) that
//!   starts none.
//! - It decides nothing: how many children there shall be, whom to replace and how long to wait
//!   after a failed fork are the parent's to know. The rules of `daemon_core` do.
//! - A child's process group and session are the nursery's; a child that starts processes of its own
//!   answers for them.
//! - A request has at most [`DESCRIPTORS_MAX`] descriptors, and as many bytes as
//!   [`request_limit`](Plan::request_limit) says.

mod brood;
mod handover;
mod keeper;
mod nursery;
mod orders;
mod plan;
#[cfg(test)]
mod sentences;
mod wire;

pub use brood::{Birth, Brood, Doorbell, HeldSignals, now};
pub use handover::{DESCRIPTORS_MAX, Delivery, Handover, HandoverError, Parcel, Serde};
pub use nursery::{ChildId, Event, Nursery, NurseryError, Unforked};
pub use orders::ForkRefusal;
pub use plan::{EXIT_PANIC, EXIT_SOFTWARE, Plan};

pub use daemon_core as core;
pub use daemon_sys as sys;
