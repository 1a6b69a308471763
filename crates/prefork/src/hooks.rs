//! What the program wants to be told in the manager.

use std::fmt;
use std::time::Duration;

use daemon_core::{ExitCause, SlotNumber};
use daemon_sys::Pid;
use daemon_sys::reap::Exit;

/// The manager as a hook sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overview {
    /// The manager's process.
    pub manager_pid: Pid,
    /// Which start it is, counted from 1.
    pub generation: u32,
    /// How many workers there are. The one that was just forked is not counted yet, nor is one that
    /// was just reaped, as in the original.
    pub num_workers: u32,
    /// How many of them are doing something, by the status they report.
    pub num_active_workers: u32,
}

/// A worker that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaped {
    /// Its process, as it was.
    pub pid: Pid,
    /// Its place on the scoreboard.
    pub slot: SlotNumber,
    /// Which start of the manager's it was of.
    pub generation: u32,
    /// How it ended; none if somebody else has reaped it.
    pub exit: Option<Exit>,
    /// Why it is gone.
    pub cause: ExitCause,
    /// How long it lived.
    pub lifetime: Duration,
}

type BeforeFork = Box<dyn FnMut(&Overview)>;
type AfterFork = Box<dyn FnMut(&Overview, Pid)>;
type OnChildReap = Box<dyn FnMut(&Overview, &Reaped)>;

/// The hooks that are set.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) before_fork: Option<BeforeFork>,
    pub(crate) after_fork: Option<AfterFork>,
    pub(crate) on_child_reap: Option<OnChildReap>,
}

impl Hooks {
    pub(crate) fn has_fork_hooks(&self) -> bool {
        self.before_fork.is_some() || self.after_fork.is_some()
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hooks { before_fork, after_fork, on_child_reap } = self;
        f.debug_struct("Hooks")
            .field("before_fork", &before_fork.is_some())
            .field("after_fork", &after_fork.is_some())
            .field("on_child_reap", &on_child_reap.is_some())
            .finish()
    }
}
