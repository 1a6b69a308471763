//! What the babysitter's verdicts lead to, and what the operator asks of a single child.

use daemon_core::{Dismissal, Measure, Moment, Offence, Spent};
use daemon_nursery::ChildId;
use daemon_sys::process::Signal;

use super::Household;
use crate::parent::hands::Hands;

impl<R: 'static> Household<R> {
    /// A step against a rogue. From the first on it counts as leaving: another takes its place as
    /// far as there is room. Given up, it does not count at all.
    pub(crate) fn discipline(
        &mut self,
        child: ChildId,
        offence: Offence,
        measure: Measure,
        hands: &mut impl Hands<R>,
        now: Moment,
    ) {
        self.registry.dismiss(child, Dismissal::Rogue(offence));
        match measure {
            Measure::Int => hands.signal(child, Signal::Int),
            Measure::Term => hands.signal(child, Signal::Term),
            Measure::Quit => hands.signal(child, Signal::Quit),
            Measure::Kill => hands.signal(child, Signal::Kill),
            Measure::GiveUp => self.registry.give_up(child),
        }
        self.settle(hands, now);
    }

    /// A child's share is used up: it leaves after the request in hand.
    pub(crate) fn recycle(
        &mut self,
        child: ChildId,
        spent: Spent,
        hands: &mut impl Hands<R>,
        now: Moment,
    ) {
        self.send_away(child, Dismissal::Recycled(spent), hands);
        self.settle(hands, now);
    }
}
