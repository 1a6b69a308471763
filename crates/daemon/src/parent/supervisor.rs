//! The supervisor: the rules of the parent as a pure state machine. It takes reports and commands,
//! calls [`ProcessControl`], and collects events. It does not block, read a clock, or use actors.

mod enforcement;
mod event;
mod operator;
mod pool;
mod reports;
mod size;
mod state;
mod stopping;
mod unconfirmed;

use std::time::Duration;

use daemon_core::{
    AcceptChange, Backoff, BackoffRules, ChildKind, DemandScaler, LogThrottle, MonotonicTime,
    OperatorPause, Phase, Pool,
};

pub(crate) use event::SupervisorEvent;

use super::backlog::{Backlog, Drained, PendingRequest};
use super::process_control::ProcessControl;
use super::registry::Registry;
use super::reload::ReloadState;
use super::sizing::Sizing;
use crate::dispatching::SharedRequestFactory;
use crate::messages::CommandError;
use crate::model::Rules;
use daemon_protocol::Counters;
use unconfirmed::Unconfirmed;

/// The time between QUIT and KILL in an immediate stop.
const QUIT_GRACE: Duration = Duration::from_millis(500);
/// The time within which the fork server must report the exits of the children that it was asked to
/// kill.
const FORK_SERVER_RESPONSE_MAX: Duration = Duration::from_secs(5);

/// The model, with its rules for when children are forked.
#[derive(Debug)]
enum Strategy<R> {
    PreFork { sizing: Sizing, request_factory: SharedRequestFactory<R> },
    PostFork(Backlog<R>),
}

/// How far the stop has progressed.
#[derive(Debug, Clone, Copy)]
enum StopProgress {
    NotStopping,
    /// TERM or QUIT was sent. KILL will be sent at this time.
    Grace(MonotonicTime),
    /// KILL was sent. If the exits are not reported by this time, the fork server is unresponsive.
    KillSent(MonotonicTime),
    /// The fork server is unresponsive, and `ForkServerUnresponsive` was emitted.
    Unresponsive,
    /// All children are gone and `AllChildrenGone` was emitted, or the fork server was lost.
    Stopped,
}

/// The state machine that decides which children exist.
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
    /// The reason why the start has failed, until [`Supervisor::take_events`] returns it.
    start_failure: Option<String>,
    grace: Duration,
    slots: u32,
    recheck_at: Option<MonotonicTime>,
    unconfirmed: Unconfirmed,
    retry: Option<MonotonicTime>,
    /// The end of the backoff delay that was last reported.
    backoff_reported_until: MonotonicTime,
    max_children_reported: bool,
    /// Limits how often [`SupervisorEvent::MaxChildrenReached`] is emitted.
    max_children_log: LogThrottle,
    /// Limits how often [`SupervisorEvent::ScoreboardRepaired`] is emitted.
    scoreboard_fault_log: LogThrottle,
    /// Whether the fork server was notified that no more children will be forked.
    is_released: bool,
    operator_pause: OperatorPause,
    reload: ReloadState,
    pub(crate) counters: Counters,
    events: Vec<SupervisorEvent>,
}

/// The timeouts for the stop (`grace`) and for the start of the children (`boot_timeout`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct SupervisorTimeouts {
    pub(crate) grace: Duration,
    pub(crate) boot_timeout: Duration,
}

impl<R: 'static> Supervisor<R> {
    /// Creates a supervisor for a forking model. Returns `None` for a model without children.
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
                let sizing = Sizing::Demand { scaler: DemandScaler::new(rules), queue_depth: 0 };
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
            start_failure: None,
            grace: times.grace,
            slots,
            recheck_at: None,
            unconfirmed: Unconfirmed::default(),
            retry: None,
            backoff_reported_until: MonotonicTime::ZERO,
            max_children_reported: false,
            max_children_log: LogThrottle::default(),
            scoreboard_fault_log: LogThrottle::default(),
            is_released: false,
            operator_pause: OperatorPause::Off,
            reload: ReloadState::default(),
            counters: Counters::default(),
            events: Vec::new(),
        })
    }

    /// Returns the events that were emitted since the last call. The event for a failed
    /// start comes last, because handling it can stop the daemon immediately.
    pub(crate) fn take_events(&mut self) -> Vec<SupervisorEvent> {
        let mut events = std::mem::take(&mut self.events);
        events.extend(self.start_failure.take().map(SupervisorEvent::StartFailed));
        events
    }

    /// Handles a request from a session: forks a child for it, adds it to the backlog, or returns
    /// it to the session.
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

    fn check_changeable(&self) -> Result<(), CommandError> {
        match self.phase {
            Phase::Starting | Phase::Running => Ok(()),
            phase @ (Phase::Stopping | Phase::Stopped) => Err(CommandError::Phase(phase)),
        }
    }

    /// Compares the actual state with the desired state and acts on the difference. Runs after
    /// every report and command. Its decisions depend only on the current state, so a missed event
    /// does no harm.
    pub(crate) fn reconcile(&mut self, processes: &mut impl ProcessControl<R>, now: MonotonicTime) {
        self.recheck_at = None;
        self.retry = None;
        match self.phase {
            Phase::Starting | Phase::Running => {
                self.adjust_pool(processes, now);
                self.confirm_statuses(processes, now);
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
            && let Some(change) = backlog.update_accepting(children, self.phase)
        {
            self.events.push(SupervisorEvent::AcceptChange(change));
            match change {
                AcceptChange::Resume => {}
                AcceptChange::Pause => {
                    let max_children = backlog.max_children;
                    if self.operator_pause == OperatorPause::Off {
                        self.counters.pool_full += 1;
                        if self.phase == Phase::Running {
                            self.emit_max_children_reached(max_children, 0, 1, now);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
