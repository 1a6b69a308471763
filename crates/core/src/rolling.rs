//! How all children of a pool are replaced, a few at a time, without a dip in service.

/// What a pool looks like in the middle of being replaced.
///
/// Old children are those that were ordered before the reload. Each count is of children that were
/// not told to go, but for `leaving`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct RollingReplace {
    /// Old children that wait for a request.
    pub old_idle: u32,
    /// Old children that have a request in hand, or that are not ready themselves.
    pub old_busy: u32,
    /// New children that are not ready yet.
    pub starting: u32,
    /// New children that are ready, idle or busy.
    pub ready: u32,
    /// Children, old or new, that were told to go and are not gone.
    pub leaving: u32,
    /// How many children there were when it began: so many shall serve throughout.
    pub target: u32,
    /// How many children there may be at any instant.
    pub max_children: u32,
    /// How many children fewer than `target` may serve at a time, where there is no room to start
    /// the new one first; 0 counts as 1. See [`max_unavailable`].
    pub max_unavailable: u32,
}

/// What is to be done next.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum RollingStep {
    /// Fork so many new children.
    Fork(u32),
    /// Retire so many old children, idle ones first.
    Retire(u32),
    /// Ask again when a child has become ready or is gone.
    Wait,
    /// No old child is left. Up to `max_unavailable` children may be missing, which the pool's own rules fork.
    Done,
}

/// How many children of a pool of this size may be away at once: a quarter, at least one.
#[must_use]
pub fn default_max_unavailable(target: u32) -> u32 {
    (target / 4).max(1)
}

impl RollingReplace {
    /// Says what is to be done next. One turn follows on the other until [`RollingStep::Wait`] or
    /// [`RollingStep::Done`].
    ///
    /// - Where there is room, new children are started first, `max_unavailable` at a time, and for each that
    ///   is ready an old one is retired: as many serve as before.
    /// - Where there is none, since the pool is at its maximum, `max_unavailable` old children are retired,
    ///   and new ones started as they go.
    ///
    /// A child that leaves slowly holds up no more than its own place, but where the room is all
    /// taken by such children it waits for them.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_core::{RollingStep, RollingReplace};
    ///
    /// let pool = RollingReplace {
    ///     old_idle: 4, old_busy: 0, starting: 0, ready: 0, leaving: 0,
    ///     target: 4, max_children: 5, away: 1,
    /// };
    /// assert_eq!(pool.turn(), RollingStep::Fork(1));
    /// assert_eq!(RollingReplace { ready: 1, ..pool }.turn(), RollingStep::Retire(1));
    /// assert_eq!(RollingReplace { max_children: 4, ..pool }.turn(), RollingStep::Retire(1));
    /// ```
    #[must_use = "what is to be done is not done by itself"]
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
        // Where only children that leave take the room, it is worth waiting for.
        let never_room = self.max_children <= self.target || self.max_children <= coming;
        let missing = self.target.saturating_sub(serving);
        if never_room && room == 0 && self.starting == 0 && missing < max_unavailable {
            return RollingStep::Retire((max_unavailable - missing).min(old));
        }
        RollingStep::Wait
    }
}
