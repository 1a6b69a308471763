//! The types that most daemons use. Import this module together with actix's own prelude.
//!
//! ```
//! use actix::prelude::*;
//! use actix_daemon::prelude::*;
//! ```

#[doc(no_inline)]
pub use crate::{
    Accepted, Babysit, ChildAcceptor, ChildActor, ChildExited, ChildHandle, Connection, Daemon,
    DaemonAccept, DaemonActor, DaemonChild, DaemonError, DaemonHup, DaemonParent, DaemonPause,
    DaemonShutdown, DaemonStart, Detail, ForeignChild, GetStatus, HandOver, OnHup, ParentAcceptor,
    Peek, PostFork, PreFork, Program, RegisterWith, Serde, SetLabel, Shutdown, Solo, StopMode,
    Subscribe, Transfer, UpdateStatus,
};
