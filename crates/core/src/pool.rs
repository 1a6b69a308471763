//! The size of a pre-forking daemon's pool: when to fork children, and when to retire them.

use crate::counts::Counts;
use crate::monotonic::MonotonicTime;

mod rules;

pub use rules::{PoolError, PoolRules};

/// Decides how many children of a pool to fork and how many to retire.
///
/// Call [`decide`](Pool::decide) after every change of the counts or the rules, and at
/// [`recheck_at`](PoolDecision::recheck_at). The decision compares the actual number of children
/// with the required number, so it does not depend on having seen a particular event.
///
/// # Examples
///
/// ```
/// use daemon_core::{Counts, MonotonicTime, Pool, PoolRules, Status};
///
/// let mut pool = Pool::new(PoolRules::from_parts(2, Some(1), Some(3), Some(4))?);
/// let mut counts = Counts::default();
/// assert_eq!(pool.decide(&counts, MonotonicTime::ZERO).fork, 2);
/// counts.record_fork();
/// counts.record_fork();
/// assert_eq!(pool.decide(&counts, MonotonicTime::ZERO).fork, 0);
/// # Ok::<(), daemon_core::PoolError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    rules: PoolRules,
    has_started: bool,
    surplus: Option<Surplus>,
}

/// What the parent has to do now.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolDecision {
    /// The number of children to fork.
    pub fork: u32,
    /// The number of idle children to retire. The caller must count them as leaving from now on.
    pub retire: u32,
    /// When to ask again even if nothing changes; `None` if no timer is needed.
    pub recheck_at: Option<MonotonicTime>,
}

/// A change of a pool's size. In a [`Pool`], the number of spare children changes, in a fixed pool
/// the number of children, and in a [`DemandScaler`](crate::DemandScaler) the maximum number.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Resize {
    /// One child more.
    More,
    /// One child fewer.
    Fewer,
    /// This many children.
    To(u32),
}

impl Resize {
    /// Returns the requested number of children, given the current number.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_core::Resize;
    ///
    /// let asked = [Resize::More, Resize::Fewer, Resize::To(3)].map(|resize| resize.apply(7));
    /// assert_eq!(asked, [8, 6, 3]);
    /// ```
    #[must_use]
    pub const fn apply(self, current: u32) -> u32 {
        match self {
            Resize::More => current.saturating_add(1),
            Resize::Fewer => current.saturating_sub(1),
            Resize::To(children) => children,
        }
    }
}

/// A surplus of idle children: the time from which some may be retired, and the smallest number of
/// idle children since the surplus began.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Surplus {
    until: MonotonicTime,
    fewest: u32,
}

impl Pool {
    /// Creates a pool that has not started yet.
    #[must_use]
    pub fn new(rules: PoolRules) -> Pool {
        Pool { rules, has_started: false, surplus: None }
    }

    /// Returns the current rules.
    #[must_use]
    pub fn rules(&self) -> &PoolRules {
        &self.rules
    }

    /// Changes the rules. They apply from the next decision.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if the new rules are not consistent. The current rules are then kept.
    pub fn set_rules(&mut self, rules: PoolRules) -> Result<(), PoolError> {
        self.rules = rules.check()?;
        self.surplus = None;
        Ok(())
    }

    /// Decides how many children to fork and how many to retire.
    ///
    /// - The first decision forks `start` children.
    /// - If fewer than `min_spare` children are idle or starting, the missing children are forked
    ///   at once. Starting children count as idle, as in Apache's prefork
    ///   (`perform_idle_server_maintenance`), because children that start slowly must not cause
    ///   more and more forks. Children that are leaving count towards `max_children`, too.
    /// - If the pool has fewer than `start` children, those that are leaving not counted, the
    ///   missing children are forked at once, too. A `max_spare` below `start` applies instead.
    /// - If more than `max_spare` children are idle throughout `retire_delay`, some are retired:
    ///   the smallest number of idle children in that time, minus `max_spare`. They are not retired
    ///   earlier, because a burst of requests is often followed by another burst.
    #[must_use = "the caller has to carry out the decision"]
    pub fn decide(&mut self, counts: &Counts, now: MonotonicTime) -> PoolDecision {
        let room = self.rules.max_children.saturating_sub(counts.children());
        if !std::mem::replace(&mut self.has_started, true) {
            return PoolDecision { fork: self.rules.start.min(room), ..PoolDecision::default() };
        }
        let spare = counts.idle() + counts.starting();
        let missing = self.rules.kept().saturating_sub(spare + counts.busy());
        let fork = self.rules.min_spare.saturating_sub(spare).max(missing).min(room);
        let retire = self.retire(counts.idle(), now);
        PoolDecision { fork, retire, recheck_at: self.surplus.map(|surplus| surplus.until) }
    }

    fn retire(&mut self, idle: u32, now: MonotonicTime) -> u32 {
        if idle <= self.rules.max_spare {
            self.surplus = None;
            return 0;
        }
        let until = now + self.rules.retire_delay;
        let surplus = self.surplus.get_or_insert(Surplus { until, fewest: idle });
        surplus.fewest = surplus.fewest.min(idle);
        if now < surplus.until {
            return 0;
        }
        let retire = surplus.fewest - self.rules.max_spare;
        let left = idle - retire;
        self.surplus = (left > self.rules.max_spare).then_some(Surplus { until, fewest: left });
        retire
    }

    /// Changes the size of the pool, and returns the new rules: the number of children if the pool
    /// is [fixed](PoolRules::fixed), otherwise `min_spare` and `max_spare` together.
    ///
    /// A fixed pool has 1 to `slots` children. In another pool, `max_spare` is not raised above
    /// `max_children`, and `min_spare` is not lowered below 1. Only
    /// [`set_rules`](Pool::set_rules) can set `min_spare` to 0. The signals TTIN and TTOU resize
    /// the pool by one child, as in unicorn and gunicorn.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if the limits cannot change further, or if the requested number is out of
    /// range. The rules are then unchanged.
    pub fn resize(&mut self, resize: Resize, slots: u32) -> Result<PoolRules, PoolError> {
        self.rules = self.rules.resized(resize, slots)?;
        self.surplus = None;
        Ok(self.rules)
    }
}

#[cfg(test)]
mod tests;
