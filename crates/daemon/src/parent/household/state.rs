//! How the household stands, and when it wants to be looked after again.

use std::time::Duration;

use daemon_core::{AcceptState, MonotonicTime, OperatorPause, Phase};

use super::{Ending, Household, Strategy};
use crate::parent::registry::Registry;
use crate::status::Counters;

/// The parent wakes at most this often for reports of children, however many there are.
const BELL_PAUSE: Duration = Duration::from_millis(1);
/// The same for a pool that cannot grow.
const FULL_PAUSE: Duration = Duration::from_millis(100);

impl<R: 'static> Household<R> {
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
            Strategy::PostFork(reception) => reception.waiting(),
        }
    }

    /// The door. A pool's is shut when the operator holds it.
    pub(crate) fn door(&self) -> AcceptState {
        match (&self.strategy, self.hold) {
            (Strategy::PreFork { .. }, OperatorPause::Off) => AcceptState::Accepting,
            (Strategy::PreFork { .. }, OperatorPause::On) => AcceptState::Paused,
            (Strategy::PostFork(reception), _) => reception.door(),
        }
    }

    /// What was counted since the start.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        if let Strategy::PostFork(reception) = &self.strategy {
            counters.handed_back += reception.handed_back();
        }
        counters
    }

    /// The most children there may be now.
    pub(crate) fn max_children(&self) -> u32 {
        match &self.strategy {
            Strategy::PreFork { sizing, .. } => sizing.max_children(),
            Strategy::PostFork(reception) => reception.max_children,
        }
    }

    /// When something is due that no event announces.
    pub(crate) fn next_wake(&self) -> Option<MonotonicTime> {
        let ending = match self.ending {
            Ending::Grace(time) | Ending::Killed(time) => Some(time),
            Ending::Not | Ending::Silent | Ending::Over => None,
        };
        let boot = (self.phase == Phase::Starting).then_some(self.boot_deadline);
        [ending, boot, self.recheck_at, self.retry].into_iter().flatten().min()
    }

    /// Whether a change of a child's status can change anything here: the size of a pool depends
    /// on it, and nothing of a post-forking daemon.
    pub(crate) fn heeds_statuses(&self) -> bool {
        matches!(self.strategy, Strategy::PreFork { .. })
    }

    /// How long the parent may leave reports of children unread while they keep coming.
    ///
    /// A pool at its maximum can only shrink, and shrinks only after a second: to look at each
    /// request of a busy pool would cost its children what they need themselves.
    pub(crate) fn bell_pause(&self) -> Duration {
        let census = self.registry.census();
        let is_full = census.children() >= self.max_children() && census.starting() == 0;
        if is_full && self.phase == Phase::Running { FULL_PAUSE } else { BELL_PAUSE }
    }
}
