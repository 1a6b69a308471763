//! Everything that is said between the daemon and its sessions.
//!
//! Broadcasts tell what has happened and go to whoever has [`Subscribe`]d to them. Requests ask
//! for something, and each is answered with a typed result.
//!
//! | said | is |
//! | --- | --- |
//! | `Daemon…`, [`ChildBorn`], [`ChildExited`], [`RogueChild`] | broadcast, or delivered to a child |
//! | [`UpdateStatus`], [`Label`] | told by a session in a child |
//! | [`HandOver`] | a request for a child of its own |
//! | [`Shutdown`], [`Pause`], [`Reload`], [`Resize`], [`Retire`], … | asked for, to be done |
//! | [`Status`], [`Peek`], [`TraceChild`] | asked about |
//! | [`Subscribe`], [`WaitUntilStopped`], [`RegisterWith`] | asked for, to be told |
//! | [`ForeignChild`], [`ForeignExited`] | about a process of the program's own |

mod broadcasts;
mod commands;
mod foreign;
mod handover;
mod queries;
mod status;
mod subscribe;

pub use broadcasts::*;
pub use commands::*;
pub use foreign::*;
pub use handover::*;
pub use queries::*;
pub use status::*;
pub use subscribe::*;
