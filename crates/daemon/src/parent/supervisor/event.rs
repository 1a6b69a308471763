//! The events that the supervisor emits.

use daemon_core::{AcceptChange, BackoffState, FaultCount};
use daemon_forkserver::ChildId;
use daemon_sys::process::Pid;

use crate::messages::ChildExited;

/// An event for the actor to broadcast, log or act on.
#[derive(Debug)]
pub(crate) enum SupervisorEvent {
    /// The initial children are ready.
    Ready,
    /// The daemon pauses or resumes accepting.
    AcceptChange(AcceptChange),
    /// A child was forked.
    ChildForked(ChildId, Pid),
    /// A child has exited.
    ChildExited(ChildExited),
    /// A fork failed.
    ForkFailed(String),
    /// Forks are delayed after failures.
    ForkBackoff(BackoffState),
    /// The daemon has `max_children` children and needs more.
    MaxChildrenReached {
        /// The maximum number of children.
        max_children: u32,
        /// The number of children that are idle or starting.
        spare: u32,
        /// The minimum number of children that should be idle or starting.
        min_spare: u32,
    },
    /// Damage of the scoreboard was found and repaired.
    ScoreboardRepaired(FaultCount),
    /// The initial children failed to start.
    StartFailed(String),
    /// The grace period has expired, and this many children are being killed.
    GraceExpired(u32),
    /// The fork server has not reported the exits of the killed children in time.
    ForkServerUnresponsive,
    /// The fork server could not reopen its log.
    ReopenLogsFailed(String),
    /// A reload of this many children has started.
    ReloadStarted(u32),
    /// All children from before the reload have exited or are leaving.
    ReloadFinished,
    /// All children have exited, and no more will be forked.
    AllChildrenGone,
}
