//! The messages that the daemon and its sessions exchange.
//!
//! Broadcasts report what has happened. They are sent to every actor that has [`Subscribe`]d to
//! them. All other messages, except [`DaemonChild`], are sent to the daemon, which answers with a
//! typed result.
//!
//! | message | purpose |
//! | --- | --- |
//! | `Daemon…`, [`ChildForked`], [`ChildExited`], [`RogueChild`], [`ForeignExited`] | broadcasts, except [`DaemonChild`], which is delivered to the session of a child |
//! | [`UpdateStatus`], [`SetLabel`] | a session in a child reports what it does |
//! | [`HandOver`] | a session in the parent of a post-forking daemon hands a request to a new child |
//! | [`Shutdown`], [`Pause`], [`Resume`], [`Reload`], [`SetSize`], [`Retire`], [`Kill`], [`Reopen`] | control the daemon |
//! | [`GetStatus`], [`Peek`], [`TraceChild`] | query the daemon |
//! | [`Subscribe`], [`WaitUntilStopped`], [`RegisterWith`] | receive broadcasts, wait until the daemon has stopped, connect the daemon to a service |
//! | [`ForeignChild`] | registers a process that the program has started itself; the daemon stops it during its own shutdown |

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
