//! What the household has to tell.

use std::time::Duration;

use daemon_core::Swing;
use daemon_nursery::ChildId;
use daemon_sys::process::Pid;

use crate::messages::ChildExited;

/// Something to tell sessions, operators or the daemon's owner.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The initial children are up.
    Up,
    /// A broadcast of the door.
    Swing(Swing),
    /// A child lives.
    Born(ChildId, Pid),
    /// A child is gone.
    Exited(ChildExited),
    /// A fork failed.
    ForkFailed(String),
    /// No child is forked for so long.
    Delayed(Duration),
    /// The pool is at its maximum and would like to be larger.
    AtTheCap(u32),
    /// The initial children do not come up.
    NotReady(String),
    /// The grace period is over for so many children.
    Overdue(u32),
    /// The nursery does not do what it is told.
    NurserySilent,
    /// The nursery could not reopen its log.
    HangUpFailed(String),
    /// All children are to be replaced.
    Reloading,
    /// All children of before the reload are gone or going.
    Reloaded,
    /// All children are gone, and no more will come.
    AllGone,
}
