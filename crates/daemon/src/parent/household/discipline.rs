//! What the babysitter's verdicts lead to, and what the operator asks of a single child.

use daemon_core::{LadderStep, MonotonicTime, RecycleReason, StopReason, Violation};
use daemon_forkserver::ChildId;
use daemon_sys::process::Signal;

use super::Household;
use crate::parent::hands::Hands;

impl<R: 'static> Household<R> {
    /// A step against a rogue. From the first on it counts as leaving: another takes its place as
    /// far as there is room. Given up, it does not count at all.
    pub(crate) fn discipline(
        &mut self,
        child: ChildId,
        offence: Violation,
        measure: LadderStep,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) {
        self.registry.dismiss(child, StopReason::Rogue(offence));
        match measure {
            LadderStep::Int => hands.signal(child, Signal::Int),
            LadderStep::Term => hands.signal(child, Signal::Term),
            LadderStep::Quit => hands.signal(child, Signal::Quit),
            LadderStep::Kill => hands.signal(child, Signal::Kill),
            LadderStep::GiveUp => self.registry.give_up(child),
        }
        self.settle(hands, now);
    }

    /// A child's share is used up: it leaves after the request in hand.
    pub(crate) fn recycle(
        &mut self,
        child: ChildId,
        spent: RecycleReason,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) {
        self.send_away(child, StopReason::Recycled(spent), hands);
        self.settle(hands, now);
    }
}
