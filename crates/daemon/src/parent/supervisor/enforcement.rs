//! Carries out the babysitter's steps against rogues, and recycles children.

use daemon_core::{LadderStep, MonotonicTime, RecycleReason, StopReason, Violation};
use daemon_forkserver::ChildId;
use daemon_sys::process::Signal;

use super::Supervisor;
use crate::parent::process_control::ProcessControl;

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
}
