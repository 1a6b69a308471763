//! Demand scaling: sizes the dispatcher's pool by the number of tasks that wait for a worker.

use std::time::Duration;

use crate::counts::Counts;
use crate::line::MAX_SLOTS;
use crate::monotonic::MonotonicTime;
use crate::pool::{PoolDecision, PoolError, Resize};

/// The limits of a demand-driven pool.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct DemandRules {
    /// The number of children that are forked at the start and kept, whatever the demand: the
    /// dispatcher's `pre_fork`.
    pub start: u32,
    /// The maximum number of children at any time: the dispatcher's `max_forks`.
    pub max_children: u32,
    /// The minimum time between two forks on demand: the dispatcher's `fork_interval`. If it is
    /// zero, all children that are needed are forked at once.
    pub interval: Duration,
}

impl DemandRules {
    /// Checks whether the limits are consistent, and returns the rules.
    ///
    /// # Errors
    ///
    /// [`PoolError`], which names the wrong limit and its value.
    pub fn check(self) -> Result<DemandRules, PoolError> {
        let DemandRules { start, max_children, interval: _any } = self;
        match self {
            _ if max_children == 0 => Err(PoolError::Zero { field: "max_children" }),
            _ if max_children > MAX_SLOTS => Err(PoolError::TooManySlots { max_children }),
            _ if start > max_children => {
                Err(PoolError::TooMany { field: "start_children", value: start, max_children })
            }
            rules => Ok(rules),
        }
    }
}

/// Decides how many children to fork for waiting tasks.
///
/// Call [`decide`](DemandScaler::decide) after every change of the counts, the rules or the number
/// of waiting tasks, and at [`recheck_at`](PoolDecision::recheck_at). As in a
/// [`Pool`](crate::Pool), the decision compares the actual number of children with the required
/// number. As in `POE::Component::PreforkDispatch`, the pool does not shrink by itself: workers
/// that are no longer needed are kept.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_core::{Counts, DemandScaler, DemandRules, MonotonicTime};
///
/// let rules = DemandRules { start: 1, max_children: 4, interval: Duration::ZERO };
/// let mut scaler = DemandScaler::new(rules.check()?);
/// let mut counts = Counts::default();
/// assert_eq!(scaler.decide(&counts, 0, MonotonicTime::ZERO).fork, 1);
/// counts.record_fork();
/// // One child is starting, and three tasks wait, so two more children are needed.
/// assert_eq!(scaler.decide(&counts, 3, MonotonicTime::ZERO).fork, 2);
/// # Ok::<(), daemon_core::PoolError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DemandScaler {
    rules: DemandRules,
    /// When a child was last forked on demand.
    grown: Option<MonotonicTime>,
}

impl DemandScaler {
    /// Creates a scaler for a pool without children.
    #[must_use]
    pub fn new(rules: DemandRules) -> DemandScaler {
        DemandScaler { rules, grown: None }
    }

    /// Returns the current rules.
    #[must_use]
    pub fn rules(&self) -> &DemandRules {
        &self.rules
    }

    /// Decides how many children to fork and how many to retire. `waiting` is the number of tasks
    /// that have no worker.
    ///
    /// - If there are fewer than `start` children, not counting those that are leaving, the
    ///   difference is forked at once. This replaces workers that were killed.
    /// - If the number of waiting tasks is greater than the number of starting and idle children,
    ///   the difference is forked. If `interval` is not zero, only one child is forked per
    ///   interval.
    /// - The number of children, including those that are leaving, is never raised above
    ///   `max_children`.
    /// - If there are more than `max_children` children after a resize, not counting those that are
    ///   leaving, idle children are retired.
    #[must_use = "the caller has to carry out the decision"]
    pub fn decide(&mut self, counts: &Counts, waiting: u32, now: MonotonicTime) -> PoolDecision {
        let DemandRules { start, max_children, interval } = self.rules;
        let room = max_children.saturating_sub(counts.children());
        let ready = counts.idle() + counts.starting();
        let staying = ready + counts.busy();
        let owed = start.saturating_sub(staying).min(room);
        let wanted = waiting.saturating_sub(ready + owed).min(room - owed);
        let (grown, recheck_at) = match self.grown.map(|grown| grown + interval) {
            _ if wanted == 0 => (0, None),
            Some(next) if now < next => (0, Some(next)),
            Some(_) | None if interval.is_zero() => (wanted, None),
            Some(_) | None => (1, (wanted > 1).then_some(now + interval)),
        };
        if grown > 0 {
            self.grown = Some(now);
        }
        let retire = staying.saturating_sub(max_children).min(counts.idle());
        PoolDecision { fork: owed + grown, retire, recheck_at }
    }

    /// Changes `max_children`, and returns the new rules. `start` is lowered to the new
    /// `max_children` if it is greater.
    ///
    /// # Errors
    ///
    /// [`PoolError::Zero`] if the requested `max_children` is 0, or [`PoolError::ScoreboardFull`]
    /// if it is greater than `slots`. The rules are then unchanged.
    pub fn resize(&mut self, resize: Resize, slots: u32) -> Result<DemandRules, PoolError> {
        let max_children = resize.apply(self.rules.max_children);
        if max_children == 0 {
            return Err(PoolError::Zero { field: "max_children" });
        }
        if max_children > slots {
            return Err(PoolError::ScoreboardFull { slots });
        }
        let start = self.rules.start.min(max_children);
        self.rules = DemandRules { start, max_children, ..self.rules };
        Ok(self.rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    fn rules(start: u32, max_children: u32, interval: u64) -> DemandRules {
        DemandRules { start, max_children, interval: Duration::from_secs(interval) }
    }

    fn counts(starting: u32, idle: u32, busy: u32, leaving: u32) -> Counts {
        let of = |status, count: u32| (0..count).map(move |_child| status);
        of(Status::Forking, starting)
            .chain(of(Status::Waiting, idle))
            .chain(of(Status::Serving, busy))
            .chain(of(Status::Leaving, leaving))
            .collect()
    }

    #[test]
    fn missing_children_are_forked_until_max_children_is_reached() {
        // start, most, (starting, idle, busy, leaving), waiting, forked
        let table = [
            (2, 4, (0, 0, 0, 0), 0, 2),
            (0, 4, (0, 0, 0, 0), 0, 0),
            (0, 4, (0, 0, 0, 0), 1, 1),
            (0, 4, (0, 0, 0, 0), 9, 4),
            (2, 4, (0, 0, 0, 0), 9, 4),
            (2, 4, (2, 0, 0, 0), 2, 0),
            (2, 4, (1, 1, 0, 0), 3, 1),
            (2, 4, (0, 0, 2, 0), 1, 1),
            (2, 4, (0, 0, 4, 0), 9, 0),
            (2, 4, (0, 0, 1, 0), 0, 1),
            (2, 4, (0, 0, 1, 1), 0, 1),
            (2, 4, (0, 0, 1, 3), 9, 0),
            (4, 4, (0, 0, 3, 0), 9, 1),
        ];
        for (start, most, (starting, idle, busy, leaving), waiting, forked) in table {
            let counts = counts(starting, idle, busy, leaving);
            let mut scaler = DemandScaler::new(rules(start, most, 0));
            let decision = scaler.decide(&counts, waiting, MonotonicTime::ZERO);
            assert_eq!(
                decision,
                PoolDecision { fork: forked, ..PoolDecision::default() },
                "{counts:?}"
            );
        }
    }

    #[test]
    fn only_one_child_is_forked_on_demand_per_interval() {
        let at = |seconds| MonotonicTime::ZERO + Duration::from_secs(seconds);
        let mut scaler = DemandScaler::new(rules(0, 4, 2));
        let first = scaler.decide(&counts(0, 0, 0, 0), 3, at(10));
        assert_eq!((first.fork, first.recheck_at), (1, Some(at(12))));
        let early = scaler.decide(&counts(0, 0, 1, 0), 2, at(11));
        assert_eq!((early.fork, early.recheck_at), (0, Some(at(12))));
        let second = scaler.decide(&counts(0, 0, 1, 0), 1, at(12));
        assert_eq!((second.fork, second.recheck_at), (1, None));
    }

    #[test]
    fn missing_start_children_are_forked_without_waiting_for_the_interval() {
        let mut scaler = DemandScaler::new(rules(3, 4, 2));
        assert_eq!(scaler.decide(&counts(0, 0, 0, 0), 0, MonotonicTime::ZERO).fork, 3);
        assert_eq!(scaler.decide(&counts(0, 2, 0, 0), 0, MonotonicTime::ZERO).fork, 1);
    }

    #[test]
    fn a_pool_that_is_made_smaller_retires_idle_children() {
        let mut scaler = DemandScaler::new(rules(4, 4, 0));
        let smaller = scaler.resize(Resize::To(2), 16);
        assert_eq!(smaller, Ok(rules(2, 2, 0)));
        assert_eq!(scaler.decide(&counts(0, 1, 3, 0), 0, MonotonicTime::ZERO).retire, 1);
        assert_eq!(scaler.decide(&counts(0, 3, 1, 0), 0, MonotonicTime::ZERO).retire, 2);
    }

    #[test]
    fn the_error_for_an_invalid_limit_names_the_limit() {
        let sentence = |rules: DemandRules| rules.check().unwrap_err().to_string();
        assert_eq!(sentence(rules(0, 0, 0)), "max_children must be greater than 0");
        assert_eq!(
            sentence(rules(3, 2, 0)),
            "start_children must not be greater than max_children (3 > 2)"
        );
        let mut scaler = DemandScaler::new(rules(1, 2, 0));
        let refused = scaler.resize(Resize::To(17), 16).unwrap_err().to_string();
        assert_eq!(refused, "the scoreboard has 16 slots");
        let refused = scaler.resize(Resize::To(0), 16).unwrap_err().to_string();
        assert_eq!(refused, "max_children must be greater than 0");
        assert_eq!(scaler.rules(), &rules(1, 2, 0));
    }
}
