//! The parent's rules in one place: an event comes, orders go out, and what there is to tell is
//! answered. It neither waits, nor reads a clock, nor knows actors.

mod discipline;
mod ending;
mod events;
mod notice;
mod orders;
mod size;
mod staffing;
mod state;

use std::time::Duration;

use daemon_core::{
    AcceptChange, Backoff, BackoffRules, ChildKind, DemandScaler, MonotonicTime, OperatorPause,
    Phase, Pool,
};

pub(crate) use notice::Notice;

use super::hands::Hands;
use super::reception::{Drained, Guest, Reception};
use super::registry::Registry;
use super::reload::Reloaded;
use super::sizing::Sizing;
use crate::demand::Endowment;
use crate::messages::Refusal;
use crate::model::Rules;
use crate::status::Counters;
use crate::told::{Recurring, Told};

/// How long children have after QUIT before they are killed.
const LAST_GRACE: Duration = Duration::from_millis(500);
/// How long the fork server has to report the end of children that it was told to kill.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Who orders children, and when.
#[derive(Debug)]
enum Strategy<R> {
    PreFork { sizing: Sizing, endowment: Endowment<R> },
    PostFork(Reception<R>),
}

/// How far the end has come.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Not,
    /// TERM was sent; at this time it is KILL.
    Grace(MonotonicTime),
    /// KILL was sent; a fork server that has not done it by this time does nothing any more.
    Killed(MonotonicTime),
    /// The fork server was found silent, and was told of.
    Silent,
    /// All was told.
    Over,
}

/// The household: registry, strategy, backoff, phase.
#[derive(Debug)]
pub(crate) struct Household<R> {
    strategy: Strategy<R>,
    registry: Registry,
    backoff: Backoff,
    phase: Phase,
    ending: Ending,
    drained: Drained,
    initial: u32,
    ready: u32,
    boot_deaths: u32,
    boot_deadline: MonotonicTime,
    /// Why the initial children do not come up, until it is told.
    not_ready: Option<String>,
    grace: Duration,
    slots: u32,
    recheck_at: Option<MonotonicTime>,
    retry: Option<MonotonicTime>,
    /// The end of the delay that was told last.
    delay_told: MonotonicTime,
    cap_told: Told,
    /// All children are busy.
    full: Recurring,
    fork_server_told: Told,
    hold: OperatorPause,
    reloaded: Reloaded,
    pub(crate) counters: Counters,
    notices: Vec<Notice>,
}

/// The times that a household keeps to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) grace: Duration,
    pub(crate) boot_timeout: Duration,
}

impl<R: 'static> Household<R> {
    /// A household for a forking model; `None` for one without children.
    pub(crate) fn new(rules: Rules<R>, times: Times, now: MonotonicTime) -> Option<Self> {
        let slots = rules.slots();
        let (strategy, calling, initial) = match rules {
            Rules::Solo => return None,
            Rules::PostFork { max_children, backlog } => (
                Strategy::PostFork(Reception::new(max_children, backlog)),
                ChildKind::OneRequest,
                0,
            ),
            Rules::PreFork { pool, endowment, .. } => {
                let sizing = Sizing::Spares(Pool::new(pool));
                (Strategy::PreFork { sizing, endowment }, ChildKind::Pool, pool.start)
            }
            Rules::OnDemand { rules, endowment, .. } => {
                let sizing = Sizing::Demand { growth: DemandScaler::new(rules), waiting: 0 };
                (Strategy::PreFork { sizing, endowment }, ChildKind::Pool, rules.start)
            }
        };
        Some(Household {
            strategy,
            registry: Registry::new(slots, calling),
            backoff: Backoff::new(BackoffRules::default()),
            phase: Phase::Starting,
            ending: Ending::Not,
            drained: Drained::NotYet,
            initial,
            ready: 0,
            boot_deaths: 0,
            boot_deadline: now + times.boot_timeout,
            not_ready: None,
            grace: times.grace,
            slots,
            recheck_at: None,
            retry: None,
            delay_told: MonotonicTime::ZERO,
            cap_told: Told::No,
            full: Recurring::default(),
            fork_server_told: Told::No,
            hold: OperatorPause::Off,
            reloaded: Reloaded::default(),
            counters: Counters::default(),
            notices: Vec::new(),
        })
    }

    /// What there is to tell since the last time. A start that has failed comes last: it ends the
    /// daemon, perhaps at once.
    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        let mut notices = std::mem::take(&mut self.notices);
        notices.extend(self.not_ready.take().map(Notice::NotReady));
        notices
    }

    /// A session hands a request over.
    pub(crate) fn hand_over(
        &mut self,
        guest: Guest<R>,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) {
        let children = self.registry.census().children();
        match &mut self.strategy {
            Strategy::PreFork { .. } => {
                self.counters.handed_back += 1;
                guest.hand_back(crate::messages::HandOverErrorReason::NotPostForking);
            }
            Strategy::PostFork(reception) => {
                reception.come_in(guest, children, self.phase, self.drained);
                self.settle(hands, now);
            }
        }
    }

    fn changeable(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Starting | Phase::Running => Ok(()),
            phase @ (Phase::Stopping | Phase::Stopped) => Err(Refusal::Phase(phase)),
        }
    }

    /// Brings what is in line with what shall be. Every event ends here, so that nothing depends
    /// on having seen an edge.
    pub(crate) fn settle(&mut self, hands: &mut impl Hands<R>, now: MonotonicTime) {
        self.recheck_at = None;
        self.retry = None;
        match self.phase {
            Phase::Starting | Phase::Running => {
                self.staff(hands, now);
                self.come_up(now);
            }
            Phase::Stopping => {
                self.staff_the_last(hands, now);
                self.finish(hands, now);
            }
            Phase::Stopped => {}
        }
        let children = self.registry.census().children();
        if let Strategy::PostFork(reception) = &mut self.strategy
            && let Some(swing) = reception.settle(children, self.phase)
        {
            self.notices.push(Notice::AcceptChange(swing));
            match swing {
                AcceptChange::Resume => {}
                AcceptChange::Pause => {
                    let most = reception.max_children;
                    self.counters.pauses += 1;
                    if self.hold == OperatorPause::Off && self.phase == Phase::Running {
                        self.tell_that_too_few_are_spare(most, 0, 1, now);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
