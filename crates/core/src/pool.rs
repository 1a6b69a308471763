//! The size of a pre-forking daemon's pool: when to fork children, and when to retire them.

use crate::counts::Counts;
use crate::monotonic::MonotonicTime;

mod rules;

pub use rules::{PoolError, PoolRules};

/// Decides how many children to fork and how many to retire.
///
/// It is called after every change, and compares the actual with the required number of children:
/// nothing depends on having seen a particular event.
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
    initial_fork: InitialFork,
    surplus: Option<Surplus>,
}

/// What the parent has to do now.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolDecision {
    /// The number of children to fork.
    pub fork: u32,
    /// The number of idle children to retire. They count as leaving from now on.
    pub retire: u32,
    /// When to ask again even if nothing changes; `None` if no timer is needed.
    pub recheck_at: Option<MonotonicTime>,
}

/// A change of a pool's size.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum PoolResize {
    /// One spare child more.
    More,
    /// One spare child fewer.
    Fewer,
    /// At least this many spare children.
    To(u32),
}

impl PoolResize {
    /// Returns the requested number, given the current one.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_core::PoolResize;
    ///
    /// let asked = [PoolResize::More, PoolResize::Fewer, PoolResize::To(3)].map(|resize| resize.apply(7));
    /// assert_eq!(asked, [8, 6, 3]);
    /// ```
    #[must_use]
    pub const fn apply(self, current: u32) -> u32 {
        match self {
            PoolResize::More => current.saturating_add(1),
            PoolResize::Fewer => current.saturating_sub(1),
            PoolResize::To(children) => children,
        }
    }
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum InitialFork {
    Pending,
    Done,
}

/// The surplus of idle children: when they may be retired, and the fewest idle children seen so
/// far.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Surplus {
    until: MonotonicTime,
    fewest: u32,
}

impl Pool {
    /// Creates a pool that has not started yet.
    #[must_use]
    pub fn new(rules: PoolRules) -> Pool {
        Pool { rules, initial_fork: InitialFork::Pending, surplus: None }
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
    /// [`PoolError`] if they are not consistent; the current rules then stay.
    pub fn set_rules(&mut self, rules: PoolRules) -> Result<(), PoolError> {
        self.rules = rules.check()?;
        self.surplus = None;
        Ok(())
    }

    /// Decides how many children to fork and to retire.
    ///
    /// - The first decision forks `start` children.
    /// - If fewer than `min_spare` children are idle or starting, the difference is forked at once.
    ///   Starting children count as idle, as in Apache's prefork
    ///   (`perform_idle_server_maintenance`): a slow start must not fork more and more children.
    ///   All children count towards `max_children`, also those that are leaving.
    /// - A pool in which all children are leaving gets one, even if `min_spare` is 0.
    /// - If more than `max_spare` children are idle, the difference is retired, but only those that
    ///   were surplus during all of `retire_delay`: a burst of requests that has just ended often
    ///   comes again.
    #[must_use = "the caller has to carry out the decision"]
    pub fn decide(&mut self, counts: &Counts, now: MonotonicTime) -> PoolDecision {
        let room = self.rules.max_children.saturating_sub(counts.children());
        if self.initial_fork == InitialFork::Pending {
            self.initial_fork = InitialFork::Done;
            return PoolDecision { fork: self.rules.start.min(room), ..PoolDecision::default() };
        }
        let spare = counts.idle() + counts.starting();
        let needed = match spare + counts.busy() {
            0 => self.rules.min_spare.max(1),
            _some => self.rules.min_spare,
        };
        let fork = needed.saturating_sub(spare).min(room);
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

    /// Changes `min_spare` and `max_spare` together, and returns the new rules.
    ///
    /// `max_spare` stops at `max_children`, and `min_spare` at 1; only
    /// [`set_rules`](Pool::set_rules) can set it to 0. TTIN and TTOU do this, as in unicorn and
    /// gunicorn.
    ///
    /// # Errors
    ///
    /// [`PoolError::AtMaximum`] or [`PoolError::AtMinimum`] if nothing can change, or if the
    /// requested number is out of range; the rules are then unchanged.
    pub fn resize(&mut self, resize: PoolResize) -> Result<PoolRules, PoolError> {
        self.rules = self.rules.resized(resize)?;
        self.surplus = None;
        Ok(self.rules)
    }
}

#[cfg(test)]
mod tests;
