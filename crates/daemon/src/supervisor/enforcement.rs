//! Enforcement against single children: the babysitter's steps against rogues, recycling, retiring
//! and killing, and children whose status on the scoreboard may be wrong.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use daemon_core::{LadderStep, MonotonicTime, RecycleReason, StopReason, Violation};
use daemon_forkserver::ChildId;
use daemon_sys::process::{Pid, Signal};

use super::{Effect, ProcessControl, Strategy, Supervisor};
use crate::messages::CommandError;

/// How long a child that was not asked to stop may be leaving before it is asked whether it is.
const LEAVING_CHECK: Duration = Duration::from_secs(1);
/// The minimum time between two rounds of questions, so that a child that damages the scoreboard
/// all the time does not keep the parent busy.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Children whose status on the scoreboard may be wrong, and that are asked to report it again.
///
/// Other code can write a wrong status to a child's line. If it is impossible, the parent sees that
/// the line is damaged, and restores the last status that it knows. If it is *leaving*, it is
/// plausible, but a child that does not leave would stay in addition to its replacement.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    damaged: HashSet<ChildId>,
    /// Children that report that they leave, and when they are asked whether they do.
    leaving: VecDeque<(MonotonicTime, ChildId)>,
    next_round: MonotonicTime,
}

impl Unconfirmed {
    /// Adds a child whose line was damaged.
    pub(super) fn add_damaged(&mut self, child: ChildId) {
        self.damaged.insert(child);
    }

    /// Adds a child that is leaving since this time, although it was not asked to.
    pub(super) fn add_leaving(&mut self, child: ChildId, since: MonotonicTime) {
        self.leaving.push_back((since + LEAVING_CHECK, child));
    }

    /// Removes and returns the children to ask now.
    fn due(&mut self, now: MonotonicTime) -> Vec<ChildId> {
        if now < self.next_round {
            return Vec::new();
        }
        let mut due: Vec<ChildId> = self.damaged.drain().collect();
        while let Some((time, child)) = self.leaving.front()
            && *time <= now
        {
            due.push(*child);
            self.leaving.pop_front();
        }
        if !due.is_empty() {
            self.next_round = now + ASK_INTERVAL;
        }
        due
    }

    /// Returns when the next child is to be asked.
    fn next(&self) -> Option<MonotonicTime> {
        let damaged = (!self.damaged.is_empty()).then_some(self.next_round);
        let leaving = self.leaving.front().map(|(time, _child)| (*time).max(self.next_round));
        damaged.into_iter().chain(leaving).min()
    }
}

impl<R: 'static> Supervisor<R> {
    /// Takes a step against a rogue. From the first step on, the rogue counts as leaving, so
    /// another child replaces it if `max_children` allows. After the step [`LadderStep::GiveUp`],
    /// the rogue is not counted at all.
    pub(crate) fn enforce(
        &mut self,
        child: ChildId,
        violation: Violation,
        step: LadderStep,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        self.registry.mark_stopping(child, StopReason::Rogue(violation));
        match step {
            LadderStep::Int => processes.signal(child, Signal::Int),
            LadderStep::Term => processes.signal(child, Signal::Term),
            LadderStep::Quit => processes.signal(child, Signal::Quit),
            LadderStep::Kill => processes.signal(child, Signal::Kill),
            LadderStep::GiveUp => self.registry.give_up(child),
        }
        self.reconcile(processes, now);
    }

    /// Finds the children that are not ready in time after their fork. During a stop, the grace
    /// period applies to them instead.
    ///
    /// One timer serves all children. It runs only while a child of a pool is starting or leaving,
    /// or if a post-forked child was forked since the last check, or was still starting then.
    pub(super) fn check_boot_timeouts(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let counts = self.registry.counts();
        let are_ready = self.uses_statuses() && counts.starting() + counts.leaving() == 0;
        if are_ready || self.life.stop_mode().is_some() {
            self.boot_check_at = None;
        }
        if self.boot_check_at.is_none_or(|time| now < time) {
            return;
        }
        let (overdue, next) = match processes.board() {
            Some(board) => self.registry.take_overdue(board, now),
            None => (Vec::new(), None),
        };
        self.boot_check_at = next;
        let not_ready = |(child, pid)| Effect::NotReady { child, pid };
        self.effects.extend(overdue.into_iter().map(not_ready));
    }

    /// Asks a child that has reached a limit to exit after its current request.
    pub(crate) fn recycle(
        &mut self,
        child: ChildId,
        reason: RecycleReason,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        self.stop_child(child, StopReason::Recycled(reason), processes);
        self.reconcile(processes, now);
    }

    /// Asks a child to exit after its current request.
    pub(crate) fn retire_child(
        &mut self,
        pid: Pid,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<ChildId, CommandError> {
        if let Strategy::Solo = self.strategy {
            return Err(CommandError::NoChildren { action: "retire a child" });
        }
        self.check_changeable()?;
        let child = self.child(pid)?;
        self.stop_child(child, StopReason::Retired, processes);
        self.reconcile(processes, now);
        Ok(child)
    }

    /// Kills a child. The reason is reported when the child exits. This is allowed in any phase, so
    /// an operator can kill a child that delays the daemon's stop.
    pub(crate) fn kill_child(
        &mut self,
        pid: Pid,
        reason: StopReason,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<ChildId, CommandError> {
        if let Strategy::Solo = self.strategy {
            return Err(CommandError::NoChildren { action: "kill a child" });
        }
        let child = self.child(pid)?;
        self.registry.mark_killed(child, reason);
        processes.signal(child, Signal::Kill);
        self.reconcile(processes, now);
        Ok(child)
    }

    fn child(&self, pid: Pid) -> Result<ChildId, CommandError> {
        self.registry.find_by_pid(pid).ok_or(CommandError::NoSuchChild { pid })
    }

    /// Asks the children whose status may be wrong to report it again. CONT makes a child read the
    /// operator's pause again and write its own status.
    pub(super) fn confirm_statuses(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        for child in self.unconfirmed.due(now) {
            if self.registry.contains(child) {
                processes.signal(child, Signal::Cont);
            }
        }
        self.recheck_at = [self.recheck_at, self.unconfirmed.next()].into_iter().flatten().min();
    }
}

#[cfg(test)]
mod tests {
    use daemon_core::{Generation, SlotNumber};

    use super::*;

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_since_boot(Duration::from_millis(10_000 + millis))
    }

    fn child(slot: u32) -> ChildId {
        ChildId { slot: SlotNumber::new(slot), generation: Generation::new(1) }
    }

    #[test]
    fn a_child_with_a_damaged_line_is_asked_once_and_at_most_every_100_ms() {
        let mut unconfirmed = Unconfirmed::default();
        unconfirmed.add_damaged(child(1));
        unconfirmed.add_damaged(child(1));
        assert_eq!(unconfirmed.due(at(0)), [child(1)]);
        assert_eq!((unconfirmed.due(at(0)), unconfirmed.next()), (vec![], None));
        unconfirmed.add_damaged(child(1));
        assert_eq!((unconfirmed.due(at(99)), unconfirmed.next()), (vec![], Some(at(100))));
        assert_eq!(unconfirmed.due(at(100)), [child(1)]);
    }

    #[test]
    fn a_child_that_leaves_is_asked_after_one_second() {
        let mut unconfirmed = Unconfirmed::default();
        unconfirmed.add_leaving(child(2), at(0));
        unconfirmed.add_leaving(child(3), at(500));
        assert_eq!((unconfirmed.due(at(999)), unconfirmed.next()), (vec![], Some(at(1000))));
        assert_eq!(unconfirmed.due(at(1000)), [child(2)]);
        assert_eq!(unconfirmed.due(at(2000)), [child(3)]);
        assert_eq!(unconfirmed.next(), None);
    }
}
