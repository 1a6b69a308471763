//! The parent's rules in one place: an event comes, orders go out, and what there is to tell is
//! answered. It neither waits, nor reads a clock, nor knows actors.

mod enforcement;
mod event;
mod operator;
mod pool;
mod reports;
mod size;
mod state;
mod stopping;

use std::time::Duration;

use daemon_core::{
    AcceptChange, Backoff, BackoffRules, ChildKind, DemandScaler, MonotonicTime, OperatorPause,
    Phase, Pool,
};

pub(crate) use event::SupervisorEvent;

use super::backlog::{Backlog, Drained, PendingRequest};
use super::process_control::ProcessControl;
use super::registry::Registry;
use super::reload::ReloadState;
use super::sizing::Sizing;
use crate::dispatching::SharedRequestFactory;
use crate::log_throttle::LogThrottle;
use crate::messages::CommandError;
use crate::model::Rules;
use crate::status::Counters;

/// How long children have after QUIT before they are killed.
const QUIT_GRACE: Duration = Duration::from_millis(500);
/// How long the fork server has to report the end of children that it was told to kill.
const FORK_SERVER_RESPONSE_MAX: Duration = Duration::from_secs(5);

/// Who orders children, and when.
#[derive(Debug)]
enum Strategy<R> {
    PreFork { sizing: Sizing, request_factory: SharedRequestFactory<R> },
    PostFork(Backlog<R>),
}

/// How far the end has come.
#[derive(Debug, Clone, Copy)]
enum StopProgress {
    NotStopping,
    /// TERM was sent; at this time it is KILL.
    Grace(MonotonicTime),
    /// KILL was sent; a fork server that has not done it by this time does nothing any more.
    KillSent(MonotonicTime),
    /// The fork server was found silent, and was told of.
    Unresponsive,
    /// All was told.
    Stopped,
}

/// The household: registry, strategy, backoff, phase.
#[derive(Debug)]
pub(crate) struct Supervisor<R> {
    strategy: Strategy<R>,
    registry: Registry,
    backoff: Backoff,
    phase: Phase,
    stop_progress: StopProgress,
    drained: Drained,
    initial: u32,
    ready: u32,
    boot_failures: u32,
    boot_deadline: MonotonicTime,
    /// Why the initial children do not come up, until it is told.
    not_ready: Option<String>,
    grace: Duration,
    slots: u32,
    recheck_at: Option<MonotonicTime>,
    retry: Option<MonotonicTime>,
    /// The end of the delay that was told last.
    backoff_reported_until: MonotonicTime,
    max_children_reported: bool,
    /// All children are busy.
    full: LogThrottle,
    is_released: bool,
    operator_pause: OperatorPause,
    reloaded: ReloadState,
    pub(crate) counters: Counters,
    events: Vec<SupervisorEvent>,
}

/// The times that a household keeps to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SupervisorTimeouts {
    pub(crate) grace: Duration,
    pub(crate) boot_timeout: Duration,
}

impl<R: 'static> Supervisor<R> {
    /// A household for a forking model; `None` for one without children.
    pub(crate) fn new(
        rules: Rules<R>,
        times: SupervisorTimeouts,
        now: MonotonicTime,
    ) -> Option<Self> {
        let slots = rules.slots();
        let (strategy, child_kind, initial) = match rules {
            Rules::Solo => return None,
            Rules::PostFork { max_children, backlog } => {
                (Strategy::PostFork(Backlog::new(max_children, backlog)), ChildKind::OneRequest, 0)
            }
            Rules::PreFork { pool, request_factory, .. } => {
                let sizing = Sizing::Spares(Pool::new(pool));
                (Strategy::PreFork { sizing, request_factory }, ChildKind::Pool, pool.start)
            }
            Rules::OnDemand { rules, request_factory, .. } => {
                let sizing = Sizing::Demand { growth: DemandScaler::new(rules), waiting: 0 };
                (Strategy::PreFork { sizing, request_factory }, ChildKind::Pool, rules.start)
            }
        };
        Some(Supervisor {
            strategy,
            registry: Registry::new(slots, child_kind),
            backoff: Backoff::new(BackoffRules::default()),
            phase: Phase::Starting,
            stop_progress: StopProgress::NotStopping,
            drained: Drained::NotYet,
            initial,
            ready: 0,
            boot_failures: 0,
            boot_deadline: now + times.boot_timeout,
            not_ready: None,
            grace: times.grace,
            slots,
            recheck_at: None,
            retry: None,
            backoff_reported_until: MonotonicTime::ZERO,
            max_children_reported: false,
            full: LogThrottle::default(),
            is_released: false,
            operator_pause: OperatorPause::Off,
            reloaded: ReloadState::default(),
            counters: Counters::default(),
            events: Vec::new(),
        })
    }

    /// What there is to tell since the last time. A start that has failed comes last: it ends the
    /// daemon, perhaps at once.
    pub(crate) fn take_events(&mut self) -> Vec<SupervisorEvent> {
        let mut events = std::mem::take(&mut self.events);
        events.extend(self.not_ready.take().map(SupervisorEvent::StartFailed));
        events
    }

    /// A session hands a request over.
    pub(crate) fn hand_over(
        &mut self,
        pending: PendingRequest<R>,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let children = self.registry.counts().children();
        match &mut self.strategy {
            Strategy::PreFork { .. } => {
                self.counters.returned += 1;
                pending.hand_back(crate::messages::HandOverErrorReason::NotPostForking);
            }
            Strategy::PostFork(backlog) => {
                backlog.enqueue(pending, children, self.phase, self.drained);
                self.reconcile(processes, now);
            }
        }
    }

    fn changeable(&self) -> Result<(), CommandError> {
        match self.phase {
            Phase::Starting | Phase::Running => Ok(()),
            phase @ (Phase::Stopping | Phase::Stopped) => Err(CommandError::Phase(phase)),
        }
    }

    /// Brings what is in line with what shall be. Every event ends here, so that nothing depends
    /// on having seen an edge.
    pub(crate) fn reconcile(&mut self, processes: &mut impl ProcessControl<R>, now: MonotonicTime) {
        self.recheck_at = None;
        self.retry = None;
        match self.phase {
            Phase::Starting | Phase::Running => {
                self.adjust_pool(processes, now);
                self.check_boot(now);
            }
            Phase::Stopping => {
                self.serve_remaining(processes, now);
                self.check_stopped(processes, now);
            }
            Phase::Stopped => {}
        }
        let children = self.registry.counts().children();
        if let Strategy::PostFork(backlog) = &mut self.strategy
            && let Some(change) = backlog.reconcile(children, self.phase)
        {
            self.events.push(SupervisorEvent::AcceptChange(change));
            match change {
                AcceptChange::Resume => {}
                AcceptChange::Pause => {
                    let most = backlog.max_children;
                    match self.operator_pause {
                        OperatorPause::On => self.counters.operator_pauses += 1,
                        OperatorPause::Off => self.counters.pool_full += 1,
                    }
                    if self.operator_pause == OperatorPause::Off && self.phase == Phase::Running {
                        self.emit_max_children_reached(most, 0, 1, now);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
