//! Methods that return the state of the supervisor, and the time at which it must run again.

use std::time::Duration;

use daemon_core::{AcceptState, MonotonicTime, OperatorPause, Phase};

use super::{StopProgress, Strategy, Supervisor};
use crate::parent::registry::Registry;
use daemon_protocol::Counters;

/// The minimum time between two readings of the children's status changes.
const WAKEUP_DELAY: Duration = Duration::from_millis(1);
/// Replaces [`WAKEUP_DELAY`] while the pool is at its maximum.
const FULL_POOL_WAKEUP_DELAY: Duration = Duration::from_millis(100);

impl<R: 'static> Supervisor<R> {
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the number of requests that wait for a child.
    pub(crate) fn waiting(&self) -> usize {
        match &self.strategy {
            Strategy::PreFork { .. } => 0,
            Strategy::PostFork(backlog) => backlog.waiting(),
        }
    }

    /// Returns whether requests are accepted. A pool stops accepting only when the operator pauses
    /// it.
    pub(crate) fn accept_state(&self) -> AcceptState {
        match (&self.strategy, self.operator_pause) {
            (Strategy::PreFork { .. }, OperatorPause::Off) => AcceptState::Accepting,
            (Strategy::PreFork { .. }, OperatorPause::On) => AcceptState::Paused,
            (Strategy::PostFork(backlog), _) => backlog.accept_state(),
        }
    }

    /// Returns the counters since the start.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        if let Strategy::PostFork(backlog) = &self.strategy {
            counters.returned += backlog.handed_back();
        }
        counters
    }

    /// Returns the current maximum number of children.
    pub(crate) fn max_children(&self) -> u32 {
        match &self.strategy {
            Strategy::PreFork { sizing, .. } => sizing.max_children(),
            Strategy::PostFork(backlog) => backlog.max_children,
        }
    }

    /// Returns the time at which the supervisor must run even if no event arrives.
    pub(crate) fn next_wake(&self) -> Option<MonotonicTime> {
        let stop_deadline = match self.stop_progress {
            StopProgress::Grace(time) | StopProgress::KillSent(time) => Some(time),
            StopProgress::NotStopping | StopProgress::Unresponsive | StopProgress::Stopped => None,
        };
        let boot = (self.phase == Phase::Starting).then_some(self.boot_deadline);
        [stop_deadline, boot, self.recheck_at, self.retry].into_iter().flatten().min()
    }

    /// Returns whether the supervisor's decisions depend on the statuses of children. This is so
    /// for a pool, but not for a post-forking daemon.
    pub(crate) fn uses_statuses(&self) -> bool {
        matches!(self.strategy, Strategy::PreFork { .. })
    }

    /// Returns how long the parent may leave status changes unread while more arrive.
    ///
    /// A pool at its maximum can only shrink. By default it shrinks only after too many children
    /// have been idle for 1 s, so a delay of 100 ms does not matter. Reading every status change of
    /// a busy pool would take CPU time from its children.
    pub(crate) fn wakeup_delay(&self) -> Duration {
        let counts = self.registry.counts();
        let is_full = counts.children() >= self.max_children() && counts.starting() == 0;
        if is_full && self.phase == Phase::Running { FULL_POOL_WAKEUP_DELAY } else { WAKEUP_DELAY }
    }
}
