//! What the babysitter's verdicts lead to, and what the operator asks of a single child.

use daemon_core::{LadderStep, MonotonicTime, RecycleReason, StopReason, Violation};
use daemon_forkserver::ChildId;
use daemon_sys::process::Signal;

use super::Supervisor;
use crate::parent::process_control::ProcessControl;

impl<R: 'static> Supervisor<R> {
    /// A step against a rogue. From the first on it counts as leaving: another takes its place as
    /// far as there is room. Given up, it does not count at all.
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

    /// A child's share is used up: it leaves after the request in hand.
    pub(crate) fn recycle(
        &mut self,
        child: ChildId,
        spent: RecycleReason,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        self.stop_child(child, StopReason::Recycled(spent), processes);
        self.reconcile(processes, now);
    }
}
