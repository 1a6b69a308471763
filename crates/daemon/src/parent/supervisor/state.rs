//! How the household stands, and when it wants to be looked after again.

use std::time::Duration;

use daemon_core::{AcceptState, MonotonicTime, OperatorPause, Phase};

use super::{StopProgress, Strategy, Supervisor};
use crate::parent::registry::Registry;
use crate::status::Counters;

/// The parent wakes at most this often for reports of children, however many there are.
const WAKEUP_DELAY: Duration = Duration::from_millis(1);
/// The same for a pool that cannot grow.
const FULL_POOL_WAKEUP_DELAY: Duration = Duration::from_millis(100);

impl<R: 'static> Supervisor<R> {
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// How many requests wait for a child.
    pub(crate) fn waiting(&self) -> usize {
        match &self.strategy {
            Strategy::PreFork { .. } => 0,
            Strategy::PostFork(backlog) => backlog.waiting(),
        }
    }

    /// The door. A pool's is shut when the operator holds it.
    pub(crate) fn accept_state(&self) -> AcceptState {
        match (&self.strategy, self.operator_pause) {
            (Strategy::PreFork { .. }, OperatorPause::Off) => AcceptState::Accepting,
            (Strategy::PreFork { .. }, OperatorPause::On) => AcceptState::Paused,
            (Strategy::PostFork(backlog), _) => backlog.accept_state(),
        }
    }

    /// What was counted since the start.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        if let Strategy::PostFork(backlog) = &self.strategy {
            counters.returned += backlog.handed_back();
        }
        counters
    }

    /// The most children there may be now.
    pub(crate) fn max_children(&self) -> u32 {
        match &self.strategy {
            Strategy::PreFork { sizing, .. } => sizing.max_children(),
            Strategy::PostFork(backlog) => backlog.max_children,
        }
    }

    /// When something is due that no event announces.
    pub(crate) fn next_wake(&self) -> Option<MonotonicTime> {
        let ending = match self.stop_progress {
            StopProgress::Grace(time) | StopProgress::KillSent(time) => Some(time),
            StopProgress::NotStopping | StopProgress::Unresponsive | StopProgress::Stopped => None,
        };
        let boot = (self.phase == Phase::Starting).then_some(self.boot_deadline);
        [ending, boot, self.recheck_at, self.retry].into_iter().flatten().min()
    }

    /// Whether a change of a child's status can change anything here: the size of a pool depends
    /// on it, and nothing of a post-forking daemon.
    pub(crate) fn uses_statuses(&self) -> bool {
        matches!(self.strategy, Strategy::PreFork { .. })
    }

    /// How long the parent may leave reports of children unread while they keep coming.
    ///
    /// A pool at its maximum can only shrink, and shrinks only after a second: to look at each
    /// request of a busy pool would cost its children what they need themselves.
    pub(crate) fn wakeup_delay(&self) -> Duration {
        let counts = self.registry.counts();
        let is_full = counts.children() >= self.max_children() && counts.starting() == 0;
        if is_full && self.phase == Phase::Running { FULL_POOL_WAKEUP_DELAY } else { WAKEUP_DELAY }
    }
}
