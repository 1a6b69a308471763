//! How a household ends: TERM, the grace, KILL; and what was accepted before still gets its child.

use daemon_core::{MonotonicTime, Phase, StopMode, StopReason};
use daemon_forkserver::ChildId;
use daemon_sys::process::Signal;

use super::{Ending, Household, LAST_GRACE, Notice, SILENCE_MAX, Strategy};
use crate::parent::hands::Hands;
use crate::parent::reception::Drained;
use crate::told::Told;

impl<R: 'static> Household<R> {
    /// Sessions have answered to the shutdown: no request comes any more.
    pub(crate) fn drained(&mut self, hands: &mut impl Hands<R>, now: MonotonicTime) {
        self.drained = Drained::Yes;
        self.settle(hands, now);
    }

    /// The end begins, or is hurried.
    pub(crate) fn stop(&mut self, manner: StopMode, hands: &mut impl Hands<R>, now: MonotonicTime) {
        self.phase = Phase::Stopping;
        match manner {
            StopMode::Graceful => {
                self.registry.dismiss_all(StopReason::Stopping);
                hands.signal_all(Signal::Term);
                self.ending = Ending::Grace(now + self.grace);
            }
            StopMode::Immediate => {
                if let Strategy::PostFork(reception) = &mut self.strategy {
                    reception.clear();
                }
                self.drained = Drained::Yes;
                self.registry.dismiss_all(StopReason::StoppedNow);
                hands.signal_all(Signal::Quit);
                self.ending = Ending::Grace(now + LAST_GRACE);
            }
        }
        if let Strategy::PreFork { .. } = self.strategy {
            self.release(hands);
        }
        self.settle(hands, now);
    }

    /// No more child is needed, nor the fork server's copy of any listener.
    pub(super) fn release(&mut self, hands: &mut impl Hands<R>) {
        if self.fork_server_told == Told::No {
            self.fork_server_told = Told::Yes;
            hands.release();
        }
    }

    /// Requests that were accepted before the end began still get their child.
    pub(super) fn staff_the_last(&mut self, hands: &mut impl Hands<R>, now: MonotonicTime) {
        if let Strategy::PreFork { .. } = self.strategy {
            return;
        }
        if let Ending::Killed(_) | Ending::Silent = self.ending
            && let Strategy::PostFork(reception) = &mut self.strategy
        {
            reception.clear();
        }
        match self.backoff.blocked_until(now) {
            Some(until) if self.waiting() > 0 => self.retry = Some(until),
            Some(_) | None => {
                self.serve_the_waiting(hands, now);
                if self.is_served() && self.drained == Drained::Yes {
                    self.release(hands);
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

    pub(super) fn finish(&mut self, hands: &mut impl Hands<R>, now: MonotonicTime) {
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
                self.notices.push(Notice::ForkServerSilent);
                self.ending = Ending::Silent;
            }
            Ending::Grace(_) | Ending::Killed(_) | Ending::Not | Ending::Silent | Ending::Over => {}
        }
    }

    /// The fork server is lost: nothing can be forked any more, and what waits goes back.
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
