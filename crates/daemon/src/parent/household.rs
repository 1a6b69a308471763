//! The parent's rules in one place: an event comes, orders go out, and what there is to tell is
//! answered. It neither waits, nor reads a clock, nor knows actors.

mod discipline;
mod ending;
mod orders;
mod staffing;

use std::time::Duration;

use daemon_core::{
    Backoff, BackoffRules, Calling, Cause, Death, Door, Entry, Exit, Growth, Hold, Moment, Phase,
    Pool, Swing,
};
use daemon_nursery::{ChildId, Event};
use daemon_sys::process::Pid;

use super::hands::{Hands, Memory};
use super::reception::{Drained, Guest, Reception};
use super::registry::{Age, Registry, Sight};
use super::reload::Reloaded;
use super::sizing::Sizing;
use crate::demand::Endowment;
use crate::messages::{ChildExited, Refusal, Reloading, Resize, Resized};
use crate::model::Rules;
use crate::status::Counters;
use crate::told::Told;

/// How long children have after QUIT before they are killed.
const LAST_GRACE: Duration = Duration::from_millis(500);
/// The parent wakes at most this often for reports of children, however many there are.
const BELL_PAUSE: Duration = Duration::from_millis(1);
/// The same for a pool that cannot grow.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// SIGKILL, the same number everywhere.
const KILL: i32 = 9;
/// How long the nursery has to report the end of children that it was told to kill.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// So many children in a row that die before they are ready, while none was ever ready, and the
/// daemon gives up starting.
const BOOT_DEATHS_MAX: u32 = 5;

/// Something to tell sessions, operators or the daemon's owner.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The initial children are up.
    Up,
    /// A broadcast of the door.
    Swing(Swing),
    /// A child lives.
    Born(ChildId, Pid),
    /// A child is gone.
    Exited(ChildExited),
    /// A fork failed.
    ForkFailed(String),
    /// No child is forked for so long.
    Delayed(Duration),
    /// The pool is at its maximum and would like to be larger.
    AtTheCap(u32),
    /// The initial children do not come up.
    NotReady(String),
    /// The grace period is over for so many children.
    Overdue(u32),
    /// The nursery does not do what it is told.
    NurserySilent,
    /// The nursery could not reopen its log.
    HangUpFailed(String),
    /// All children are to be replaced.
    Reloading,
    /// All children of before the reload are gone or going.
    Reloaded,
    /// All children are gone, and no more will come.
    AllGone,
}

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
    Grace(Moment),
    /// KILL was sent; a nursery that has not done it by this time does nothing any more.
    Killed(Moment),
    /// The nursery was found silent, and was told of.
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
    boot_deadline: Moment,
    grace: Duration,
    slots: u32,
    look_again: Option<Moment>,
    retry: Option<Moment>,
    /// The end of the delay that was told last.
    delay_told: Moment,
    cap_told: Told,
    nursery_told: Told,
    hold: Hold,
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
    pub(crate) fn new(rules: Rules<R>, times: Times, now: Moment) -> Option<Self> {
        let slots = rules.slots();
        let (strategy, calling, initial) = match rules {
            Rules::Solo => return None,
            Rules::PostFork { max_children, backlog } => {
                (Strategy::PostFork(Reception::new(max_children, backlog)), Calling::OneRequest, 0)
            }
            Rules::PreFork { pool, endowment, .. } => {
                let sizing = Sizing::Spares(Pool::new(pool));
                (Strategy::PreFork { sizing, endowment }, Calling::Pool, pool.start)
            }
            Rules::OnDemand { rules, endowment, .. } => {
                let sizing = Sizing::Demand { growth: Growth::new(rules), waiting: 0 };
                (Strategy::PreFork { sizing, endowment }, Calling::Pool, rules.start)
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
            grace: times.grace,
            slots,
            look_again: None,
            retry: None,
            delay_told: Moment::ZERO,
            cap_told: Told::No,
            nursery_told: Told::No,
            hold: Hold::No,
            reloaded: Reloaded::default(),
            counters: Counters::default(),
            notices: Vec::new(),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// How many requests wait for a child.
    pub(crate) fn waiting(&self) -> usize {
        match &self.strategy {
            Strategy::PreFork { .. } => 0,
            Strategy::PostFork(reception) => reception.waiting(),
        }
    }

    /// The door. A pool's is shut when the operator holds it.
    pub(crate) fn door(&self) -> Door {
        match (&self.strategy, self.hold) {
            (Strategy::PreFork { .. }, Hold::No) => Door::Open,
            (Strategy::PreFork { .. }, Hold::Yes) => Door::Shut,
            (Strategy::PostFork(reception), _) => reception.door(),
        }
    }

    /// What was counted since the start.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        if let Strategy::PostFork(reception) = &self.strategy {
            counters.handed_back += reception.handed_back();
        }
        counters
    }

    /// The most children there may be now.
    pub(crate) fn max_children(&self) -> u32 {
        match &self.strategy {
            Strategy::PreFork { sizing, .. } => sizing.max_children(),
            Strategy::PostFork(reception) => reception.max_children,
        }
    }

    /// What there is to tell since the last time.
    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// When something is due that no event announces.
    pub(crate) fn next_wake(&self) -> Option<Moment> {
        let ending = match self.ending {
            Ending::Grace(time) | Ending::Killed(time) => Some(time),
            Ending::Not | Ending::Silent | Ending::Over => None,
        };
        let boot = (self.phase == Phase::Starting).then_some(self.boot_deadline);
        [ending, boot, self.look_again, self.retry].into_iter().flatten().min()
    }

    /// A session hands a request over.
    pub(crate) fn hand_over(&mut self, guest: Guest<R>, hands: &mut impl Hands<R>, now: Moment) {
        let children = self.registry.census().children();
        match &mut self.strategy {
            Strategy::PreFork { .. } => {
                self.counters.handed_back += 1;
                guest.hand_back(crate::messages::HandBackReason::NotPostForking);
            }
            Strategy::PostFork(reception) => {
                reception.come_in(guest, children, self.phase, self.drained);
                self.settle(hands, now);
            }
        }
    }

    /// So many pieces of work have nobody to do them. A pool that is not sized by demand does not
    /// care.
    pub(crate) fn demand(&mut self, wanted: u32, hands: &mut impl Hands<R>, now: Moment) {
        if let Strategy::PreFork { sizing: Sizing::Demand { waiting, .. }, .. } = &mut self.strategy
        {
            *waiting = wanted;
            self.settle(hands, now);
        }
    }

    /// The nursery has reported.
    pub(crate) fn report(&mut self, event: Event<R>, hands: &mut impl Hands<R>, now: Moment) {
        match event {
            Event::Born { child, pid } => {
                self.counters.forks += 1;
                self.backoff.forked();
                self.registry.born(child, pid);
                if let Strategy::PostFork(reception) = &mut self.strategy {
                    // It has its request from birth; that is all there is to know of it.
                    self.registry.serves(child);
                    reception.born(child, pid);
                }
                self.notices.push(Notice::Born(child, pid));
            }
            Event::ForkFailed { child, request, refusal } => {
                self.counters.failed_forks += 1;
                self.registry.unmade(child);
                self.backoff.fork_failed(now);
                self.notices.push(Notice::ForkFailed(refusal.to_string()));
                if let Strategy::PostFork(reception) = &mut self.strategy {
                    reception.fork_failed(child, request, &refusal);
                }
            }
            Event::Gone { child, pid, exit, last } => {
                self.gone(child, pid, exit, &last, hands, now);
            }
            Event::HangUpFailed { error } => self.notices.push(Notice::HangUpFailed(error)),
            _ => {}
        }
    }

    fn gone(
        &mut self,
        child: ChildId,
        pid: Pid,
        exit: daemon_core::Exit,
        last: &Entry,
        hands: &mut impl Hands<R>,
        now: Moment,
    ) {
        let Some((mut exited, age)) = self.registry.gone(child, pid, exit, last, now) else {
            return;
        };
        // The kernel kills by the same signal as anybody.
        if let Cause::Killed { signal: KILL, .. }
        | Cause::FailedToBoot(Exit::Signal { number: KILL, .. }) = exited.cause
            && hands.memory() == Memory::HasRunOut
        {
            exited.cause = Cause::OutOfMemory;
        }
        let death = match age {
            Age::BeforeReady => {
                self.boot_deaths += 1;
                Death::BeforeReady
            }
            Age::Unused(lived) if lived < BackoffRules::default().young => Death::Young,
            Age::Unused(_) => Death::Grown,
            Age::Served => {
                self.backoff.thrived();
                Death::Grown
            }
        };
        self.backoff.died(death, now);
        self.counters.exited(&exited.cause, exited.requests);
        if self.phase == Phase::Starting && self.boot_deaths >= BOOT_DEATHS_MAX && self.ready == 0 {
            self.notices.push(Notice::NotReady(format!(
                "the initial children do not come up: {} in a row died before they were ready, \
                 the last by {}",
                self.boot_deaths, exited.cause
            )));
        }
        self.notices.push(Notice::Exited(exited));
    }

    /// Whether a change of a child's status can change anything here: the size of a pool depends
    /// on it, and nothing of a post-forking daemon.
    pub(crate) fn heeds_statuses(&self) -> bool {
        matches!(self.strategy, Strategy::PreFork { .. })
    }

    /// How long the parent may leave reports of children unread while they keep coming.
    ///
    /// A pool at its maximum can only shrink, and shrinks only after a second: to look at each
    /// request of a busy pool would cost its children what they need themselves.
    pub(crate) fn bell_pause(&self) -> Duration {
        let census = self.registry.census();
        let is_full = census.children() >= self.max_children() && census.starting() == 0;
        if is_full && self.phase == Phase::Running { FULL_PAUSE } else { BELL_PAUSE }
    }

    /// A child has reported on the scoreboard.
    pub(crate) fn changed(&mut self, entry: &Entry) {
        if self.registry.saw(entry) == Sight::BecameReady {
            self.backoff.thrived();
            self.ready += 1;
            self.boot_deaths = 0;
        }
    }

    /// Replaces all children of today.
    pub(crate) fn reload(
        &mut self,
        hands: &mut impl Hands<R>,
        now: Moment,
    ) -> Result<Reloading, Refusal> {
        self.changeable()?;
        if let Strategy::PostFork(_) = self.strategy {
            return Err(Refusal::NoPool { act: "reload" });
        }
        let children = self.registry.census().children() - self.registry.census().leaving();
        self.reloaded.begin(children);
        self.notices.push(Notice::Reloading);
        self.settle(hands, now);
        Ok(Reloading { children })
    }

    /// Changes the number of children.
    pub(crate) fn resize(
        &mut self,
        resize: Resize,
        hands: &mut impl Hands<R>,
        now: Moment,
    ) -> Result<Resized, Refusal> {
        self.changeable()?;
        let resized = match &mut self.strategy {
            Strategy::PreFork { sizing, .. } => {
                let resized = sizing.resize(resize, self.slots)?;
                self.initial = self.initial.min(resized.max_children);
                resized
            }
            Strategy::PostFork(reception) => {
                let max = super::resize::max_children(reception.max_children, self.slots, resize)?;
                reception.max_children = max;
                Resized { min_spare: 0, max_spare: 0, max_children: max }
            }
        };
        self.settle(hands, now);
        Ok(resized)
    }

    fn changeable(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Starting | Phase::Running => Ok(()),
            phase @ (Phase::Stopping | Phase::Stopped) => Err(Refusal::Phase(phase)),
        }
    }

    /// Brings what is in line with what shall be. Every event ends here, so that nothing depends
    /// on having seen an edge.
    pub(crate) fn settle(&mut self, hands: &mut impl Hands<R>, now: Moment) {
        self.look_again = None;
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
            self.counters.pauses += u64::from(swing == Swing::Pause);
            self.notices.push(Notice::Swing(swing));
        }
    }
}

#[cfg(test)]
mod tests;
