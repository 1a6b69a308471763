//! How a household ends: TERM, the grace, KILL; and what was accepted before still gets its child.

use daemon_core::{Dismissal, Manner, Moment, Phase};
use daemon_nursery::ChildId;
use daemon_sys::process::Signal;

use super::{Ending, Household, LAST_GRACE, Notice, SILENCE_MAX, Strategy};
use crate::parent::hands::Hands;
use crate::parent::reception::Drained;
use crate::told::Told;

impl<R: 'static> Household<R> {
    /// Sessions have answered to the shutdown: no request comes any more.
    pub(crate) fn drained(&mut self, hands: &mut impl Hands<R>, now: Moment) {
        self.drained = Drained::Yes;
        self.settle(hands, now);
    }

    /// The end begins, or is hurried.
    pub(crate) fn stop(&mut self, manner: Manner, hands: &mut impl Hands<R>, now: Moment) {
        self.phase = Phase::Stopping;
        match manner {
            Manner::Orderly => {
                self.registry.dismiss_all(Dismissal::Stopping);
                hands.signal_all(Signal::Term);
                self.ending = Ending::Grace(now + self.grace);
            }
            Manner::AtOnce => {
                if let Strategy::PostFork(reception) = &mut self.strategy {
                    reception.clear();
                }
                self.drained = Drained::Yes;
                self.registry.dismiss_all(Dismissal::AtOnce);
                hands.signal_all(Signal::Quit);
                self.ending = Ending::Grace(now + LAST_GRACE);
            }
        }
        if let Strategy::PreFork { .. } = self.strategy {
            self.let_go(hands);
        }
        self.settle(hands, now);
    }

    /// No more child is needed, nor the nursery's copy of any listener.
    pub(super) fn let_go(&mut self, hands: &mut impl Hands<R>) {
        if self.nursery_told == Told::No {
            self.nursery_told = Told::Yes;
            hands.let_go();
        }
    }

    /// Requests that were accepted before the end began still get their child.
    pub(super) fn staff_the_last(&mut self, hands: &mut impl Hands<R>, now: Moment) {
        if let Strategy::PreFork { .. } = self.strategy {
            return;
        }
        if let Ending::Killed(_) | Ending::Silent = self.ending
            && let Strategy::PostFork(reception) = &mut self.strategy
        {
            reception.clear();
        }
        match self.backoff.forbidden_until(now) {
            Some(until) if self.waiting() > 0 => self.retry = Some(until),
            Some(_) | None => {
                self.serve_the_waiting(hands, now);
                if self.is_served() && self.drained == Drained::Yes {
                    self.let_go(hands);
                }
            }
        }
    }

    /// Whether no request waits, and no fork is under way that could fail and give one back.
    pub(super) fn is_served(&self) -> bool {
        match &self.strategy {
            Strategy::PreFork { .. } => true,
            Strategy::PostFork(reception) => reception.is_served(),
        }
    }

    pub(super) fn finish(&mut self, hands: &mut impl Hands<R>, now: Moment) {
        let children = self.registry.census().children();
        if children == 0 && self.waiting() == 0 && self.drained == Drained::Yes {
            if !matches!(self.ending, Ending::Over) {
                self.ending = Ending::Over;
                self.phase = Phase::Stopped;
                self.notices.push(Notice::AllGone);
            }
            return;
        }
        match self.ending {
            Ending::Grace(time) if now >= time => {
                self.notices.push(Notice::Overdue(children));
                if let Strategy::PostFork(reception) = &mut self.strategy {
                    reception.clear();
                }
                self.drained = Drained::Yes;
                hands.signal_all(Signal::Kill);
                self.ending = Ending::Killed(now + SILENCE_MAX);
                self.finish(hands, now);
            }
            Ending::Killed(time) if now >= time => {
                self.notices.push(Notice::NurserySilent);
                self.ending = Ending::Silent;
            }
            Ending::Grace(_) | Ending::Killed(_) | Ending::Not | Ending::Silent | Ending::Over => {}
        }
    }

    /// The nursery is lost: nothing can be forked any more, and what waits goes back.
    pub(crate) fn bereave(&mut self, unborn: Vec<(ChildId, R)>, why: &str) {
        self.phase = Phase::Stopped;
        self.ending = Ending::Over;
        if let Strategy::PostFork(reception) = &mut self.strategy {
            for (child, request) in unborn {
                reception.unborn(child, request, why);
            }
            reception.clear();
        }
    }
}
