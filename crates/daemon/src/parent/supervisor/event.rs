//! What the household has to tell.

use std::time::Duration;

use daemon_core::AcceptChange;
use daemon_forkserver::ChildId;
use daemon_sys::process::Pid;

use crate::messages::ChildExited;

/// Something to tell sessions, operators or the daemon's owner.
#[derive(Debug)]
pub(crate) enum SupervisorEvent {
    /// The initial children are up.
    Ready,
    /// A broadcast of the door.
    AcceptChange(AcceptChange),
    /// A child lives.
    ChildBorn(ChildId, Pid),
    /// A child is gone.
    ChildExited(ChildExited),
    /// A fork failed.
    ForkFailed(String),
    /// No child is forked for so long.
    ForkBackoff(Duration),
    /// There are as many children as may be, and more would be of use.
    MaxChildrenReached {
        /// How many there may be.
        most: u32,
        /// How many of them nobody has work for, or will have none in a moment.
        spare: u32,
        /// How many of that kind there should be.
        min_spare: u32,
    },
    /// The initial children do not come up.
    StartFailed(String),
    /// The grace period is over for so many children.
    GraceExpired(u32),
    /// The fork server does not do what it is told.
    ForkServerUnresponsive,
    /// The fork server could not reopen its log.
    ReopenLogsFailed(String),
    /// So many children, all that there are, are to be replaced.
    ReloadStarted(u32),
    /// All children of before the reload are gone or going.
    ReloadFinished,
    /// All children are gone, and no more will come.
    AllChildrenGone,
}
