//! Hooks that run in the manager.

use std::fmt;
use std::time::Duration;

use daemon_core::{Exit, ExitCause, Pid, SlotNumber};

/// The state of the manager, passed to hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overview {
    /// The manager's pid.
    pub manager_pid: Pid,
    /// The current generation, which is the number of calls of [`start`](crate::Prefork::start) so
    /// far.
    pub generation: u32,
    /// The number of workers. As in `Parallel::Prefork`, both fork hooks get the number without the
    /// new worker, and the reap hook gets the number without the reaped worker.
    pub num_workers: u32,
    /// The number of workers that report an active status.
    pub num_active_workers: u32,
}

/// A worker that has exited and was reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaped {
    /// The pid that the worker had.
    pub pid: Pid,
    /// The worker's scoreboard slot.
    pub slot: SlotNumber,
    /// The generation in which the worker was forked.
    pub generation: u32,
    /// How the worker exited; [`Exit::Unknown`] if other code has reaped it.
    pub exit: Exit,
    /// Why the worker exited.
    pub cause: ExitCause,
    /// The time between the worker's fork and its exit.
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
