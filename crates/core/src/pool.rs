//! How many standing children a pre-forking daemon has: when to fork, and when to retire.

use crate::counts::Counts;
use crate::monotonic::MonotonicTime;

mod rules;

pub use rules::{PoolError, PoolRules};

/// Decides how many children to fork and how many to retire.
///
/// It is asked again whenever something has changed, and compares what there is with what there
/// shall be: nothing depends on having seen an event.
///
/// # Examples
///
/// ```
/// use daemon_core::{Counts, MonotonicTime, Pool, PoolRules, Status};
///
/// let mut pool = Pool::new(PoolRules::from_parts(2, Some(1), Some(3), Some(4))?);
/// let mut census = Counts::default();
/// assert_eq!(pool.decide(&census, MonotonicTime::ZERO).fork, 2);
/// census.opened();
/// census.opened();
/// assert_eq!(pool.decide(&census, MonotonicTime::ZERO).fork, 0);
/// # Ok::<(), daemon_core::PoolError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    rules: PoolRules,
    initial_fork: InitialFork,
    surplus: Option<Surplus>,
}

/// What a pool's parent is to do now.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolDecision {
    /// So many children are to be forked.
    pub fork: u32,
    /// So many idle children are to be retired. They count as leaving from now on.
    pub retire: u32,
    /// When to ask again even if nothing changes; `None` if that needs no timer.
    pub recheck_at: Option<MonotonicTime>,
}

/// Another size of a pool.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Resize {
    /// One spare child more.
    More,
    /// One spare child fewer.
    Fewer,
    /// So many spare children at least.
    To(u32),
}

impl Resize {
    /// Tells which number is asked for, where it is this one now.
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

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum InitialFork {
    Pending,
    Done,
}

/// More idle children than there shall be, until when that is watched, and the fewest seen.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Surplus {
    until: MonotonicTime,
    fewest: u32,
}

impl Pool {
    /// Makes a pool that has not started yet.
    #[must_use]
    pub fn new(rules: PoolRules) -> Pool {
        Pool { rules, initial_fork: InitialFork::Pending, surplus: None }
    }

    /// Shows the rules in force.
    #[must_use]
    pub fn rules(&self) -> &PoolRules {
        &self.rules
    }

    /// Puts other rules in force. The next verdict follows them.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if they do not go together; those in force stay.
    pub fn set_rules(&mut self, rules: PoolRules) -> Result<(), PoolError> {
        self.rules = rules.check()?;
        self.surplus = None;
        Ok(())
    }

    /// Says what is to be done, of what the census shows.
    ///
    /// - The first verdict forks `start` children.
    /// - Whenever fewer than `min_spare` children are idle or starting, the difference is forked at
    ///   once. Children that start count as idle, as in Apache's prefork
    ///   (`perform_idle_server_maintenance`): a slow start must not fork more and more. All
    ///   children count towards `max_children`, those that leave too.
    /// - A pool in which nobody but leaving children is left gets one, even if `min_spare` is 0.
    /// - When more than `max_spare` children are idle, the difference is retired, but only those
    ///   that were too many all through `retire_delay`: a burst that has just ended often comes again.
    #[must_use = "what is to be done is not done by itself"]
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

    /// Moves `min_spare` and `max_spare` together, and returns the rules then in force.
    ///
    /// `max_spare` stops at `max_children`, and `min_spare` at 1, so that it takes a word of its
    /// own to have none. TTIN and TTOU do this, as in unicorn and gunicorn.
    ///
    /// # Errors
    ///
    /// [`PoolError::AtMaximum`] or [`PoolError::AtMinimum`] if nothing can move, or if the number asked
    /// for is out of range; the rules stay as they are.
    pub fn resize(&mut self, resize: Resize) -> Result<PoolRules, PoolError> {
        self.rules = self.rules.resized(resize)?;
        self.surplus = None;
        Ok(self.rules)
    }
}

#[cfg(test)]
mod tests;
