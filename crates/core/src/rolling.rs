//! Rolling replacement of all children of a pool, a few at a time. The number of ready children
//! drops only if the pool has no free slots.

/// The state of a pool during a rolling replacement.
///
/// Old children are those whose fork was requested before the replacement began. Except for
/// `leaving`, the numbers do not include children that were asked to exit.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct RollingReplace {
    /// Old children that wait for a request.
    pub old_idle: u32,
    /// Old children that handle a request, or that are not ready yet.
    pub old_busy: u32,
    /// New children that are not ready yet.
    pub starting: u32,
    /// New children that are ready, whether idle or busy.
    pub ready: u32,
    /// Children, old or new, that were asked to exit and have not exited yet.
    pub leaving: u32,
    /// The number of children when the replacement began. The replacement keeps this number if it
    /// can.
    pub target: u32,
    /// The maximum number of children at any time.
    pub max_children: u32,
    /// The maximum number of children by which the pool may fall below `target` when there is no
    /// free slot, so that old children must exit before new ones are forked; 0 counts as 1. See
    /// [`default_max_unavailable`].
    pub max_unavailable: u32,
}

/// The next step of a rolling replacement.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum RollingStep {
    /// Fork this many new children.
    Fork(u32),
    /// Retire this many old children, idle ones first.
    Retire(u32),
    /// Wait, and ask for the next step again when a child becomes ready or exits.
    Wait,
    /// No old child is left. The pool may still have up to `max_unavailable` children fewer than
    /// `target`. The pool forks more only if fewer than `min_spare` children are idle or starting.
    Done,
}

/// Returns the default of `max_unavailable`: a quarter of `target`, but at least 1.
#[must_use]
pub fn default_max_unavailable(target: u32) -> u32 {
    (target / 4).max(1)
}

impl RollingReplace {
    /// Returns the next step. Call this method again after each step, until it returns
    /// [`RollingStep::Wait`] or [`RollingStep::Done`].
    ///
    /// - If there are free slots, new children are started first, `max_unavailable` at a time. An
    ///   old child is retired for each new child that becomes ready, so the number of ready
    ///   children stays the same.
    /// - If there are no free slots because the pool is at its maximum, `max_unavailable` old
    ///   children are retired first, and new children are started when the old ones have exited.
    ///
    /// A child that exits slowly delays only the child that replaces it. But if such children take
    /// up all free slots, the rolling replacement waits for them.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_core::{RollingStep, RollingReplace};
    ///
    /// let pool = RollingReplace {
    ///     old_idle: 4, old_busy: 0, starting: 0, ready: 0, leaving: 0,
    ///     target: 4, max_children: 5, max_unavailable: 1,
    /// };
    /// assert_eq!(pool.next_step(), RollingStep::Fork(1));
    /// assert_eq!(RollingReplace { ready: 1, ..pool }.next_step(), RollingStep::Retire(1));
    /// assert_eq!(RollingReplace { max_children: 4, ..pool }.next_step(), RollingStep::Retire(1));
    /// ```
    #[must_use = "the caller has to carry out the decision"]
    pub fn next_step(&self) -> RollingStep {
        let old = self.old_idle.saturating_add(self.old_busy);
        if old == 0 {
            return RollingStep::Done;
        }
        let serving = old.saturating_add(self.ready);
        if serving > self.target && self.ready > 0 {
            return RollingStep::Retire((serving - self.target).min(self.ready).min(old));
        }
        let max_unavailable = self.max_unavailable.max(1);
        let coming = serving.saturating_add(self.starting);
        let room = self.max_children.saturating_sub(coming.saturating_add(self.leaving));
        let wanted = self.target.saturating_add(max_unavailable.min(old)).saturating_sub(coming);
        let fork = wanted.min(room).min(max_unavailable.saturating_sub(self.starting));
        if fork > 0 {
            return RollingStep::Fork(fork);
        }
        // If `max_children` is greater than `target`, and leaving children take up all the
        // remaining room, wait for these children instead of retiring old ones.
        let never_room = self.max_children <= self.target || self.max_children <= coming;
        let missing = self.target.saturating_sub(serving);
        if never_room && room == 0 && self.starting == 0 && missing < max_unavailable {
            return RollingStep::Retire((max_unavailable - missing).min(old));
        }
        RollingStep::Wait
    }
}
