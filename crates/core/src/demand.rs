//! How many standing children there are where work is given to them one by one: as many as are
//! asked for.

use std::time::Duration;

use crate::counts::Counts;
use crate::line::MAX_SLOTS;
use crate::monotonic::MonotonicTime;
use crate::pool::{PoolDecision, PoolError, Resize};

/// The numbers that a growing pool keeps to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct DemandRules {
    /// How many children there are at the start and from then on, whatever is asked for. The
    /// original's `pre_fork`.
    pub start: u32,
    /// How many children there may be at any instant. The original's `max_forks`.
    pub max_children: u32,
    /// How long after a fork that was asked for the next one may follow; zero for at once, and as
    /// many as are asked for. The original's `fork_interval`.
    pub interval: Duration,
}

impl DemandRules {
    /// Checks whether the numbers go together, and returns them.
    ///
    /// # Errors
    ///
    /// [`PoolError`], which names the field that is wrong and its value.
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

/// Decides how many children to fork for work that waits.
///
/// As a [`Pool`](crate::Pool) it is asked again whenever something has changed, and compares what
/// there is with what there shall be. It does not shrink by itself, as the original: a worker that
/// was needed once is kept.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_core::{Counts, DemandScaler, DemandRules, MonotonicTime};
///
/// let rules = DemandRules { start: 1, max_children: 4, interval: Duration::ZERO };
/// let mut growth = DemandScaler::new(rules.check()?);
/// let mut census = Counts::default();
/// assert_eq!(growth.decide(&census, 0, MonotonicTime::ZERO).fork, 1);
/// census.opened();
/// // one child starts, three pieces of work wait: two more are wanted
/// assert_eq!(growth.decide(&census, 3, MonotonicTime::ZERO).fork, 2);
/// # Ok::<(), daemon_core::PoolError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DemandScaler {
    rules: DemandRules,
    /// When a child was last forked because it was asked for.
    grown: Option<MonotonicTime>,
}

impl DemandScaler {
    /// Makes a pool without children.
    #[must_use]
    pub fn new(rules: DemandRules) -> DemandScaler {
        DemandScaler { rules, grown: None }
    }

    /// Shows the rules in force.
    #[must_use]
    pub fn rules(&self) -> &DemandRules {
        &self.rules
    }

    /// Says what is to be done, of what the census shows, where `waiting` pieces of work have
    /// nobody to do them.
    ///
    /// - Fewer than `start` children that stay: the difference is forked at once. So a worker that
    ///   was killed is replaced.
    /// - More work waits than there are children that start or are idle: for each of the rest one is
    ///   forked; with an interval one at a time.
    /// - Never more than `max_children`, those that leave included.
    /// - More than `max_children` that stay, after a resize: the idle ones of the surplus are
    ///   retired.
    #[must_use = "what is to be done is not done by itself"]
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

    /// Changes `max_children`, and returns the rules then in force. `start` follows where it would
    /// be more.
    ///
    /// # Errors
    ///
    /// [`PoolError::Zero`] for none at all, [`PoolError::ScoreboardFull`] for more than a scoreboard of this
    /// many slots has; the rules stay as they are.
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
    fn as_many_are_forked_as_are_asked_for_and_there_is_room() {
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
    fn with_an_interval_one_is_forked_at_a_time_and_no_sooner() {
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
    fn the_first_children_do_not_wait_for_the_interval() {
        let mut scaler = DemandScaler::new(rules(3, 4, 2));
        assert_eq!(scaler.decide(&counts(0, 0, 0, 0), 0, MonotonicTime::ZERO).fork, 3);
        assert_eq!(scaler.decide(&counts(0, 2, 0, 0), 0, MonotonicTime::ZERO).fork, 1);
    }

    #[test]
    fn a_smaller_pool_retires_those_that_are_idle() {
        let mut scaler = DemandScaler::new(rules(4, 4, 0));
        let smaller = scaler.resize(Resize::To(2), 16);
        assert_eq!(smaller, Ok(rules(2, 2, 0)));
        assert_eq!(scaler.decide(&counts(0, 1, 3, 0), 0, MonotonicTime::ZERO).retire, 1);
        assert_eq!(scaler.decide(&counts(0, 3, 1, 0), 0, MonotonicTime::ZERO).retire, 2);
    }

    #[test]
    fn nonsense_is_refused_by_field_and_value() {
        let sentence = |rules: DemandRules| rules.check().unwrap_err().to_string();
        assert_eq!(sentence(rules(0, 0, 0)), "max_children is 0: it must be at least 1");
        assert_eq!(
            sentence(rules(3, 2, 0)),
            "start_children is 3: it must not be more than max_children, which is 2"
        );
        let mut scaler = DemandScaler::new(rules(1, 2, 0));
        let refused = scaler.resize(Resize::To(17), 16).unwrap_err().to_string();
        assert_eq!(refused, "the scoreboard has 16 slots");
        let refused = scaler.resize(Resize::To(0), 16).unwrap_err().to_string();
        assert_eq!(refused, "max_children is 0: it must be at least 1");
        assert_eq!(scaler.rules(), &rules(1, 2, 0));
    }
}
