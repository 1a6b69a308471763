//! The supervisor: the rules of the parent as a pure state machine.
//!
//! It takes reports and commands together with the time, carries out its decisions through
//! [`ProcessControl`], and collects [`Effect`]s for the actor to log, broadcast and act on. It does
//! not block, read a clock, or use actors.

mod backlog;
mod children;
mod enforcement;
mod lifecycle;
mod pool;

use std::time::Duration;

use daemon_core::{
    AcceptChange, AcceptState, Backoff, BackoffRules, BackoffState, ChildKind, DemandScaler,
    FaultCount, Jitter, LogThrottle, MonotonicTime, OperatorPause, Phase, Pool, RequestLimit,
    ScoreboardReader,
};
use daemon_forkserver::{ChildId, ForkError};
use daemon_protocol::Counters;
use daemon_sys::process::{Pid, Signal};

pub(crate) use backlog::PendingRequest;
pub(crate) use children::Registry;
pub(crate) use lifecycle::{Lifecycle, Origin};

use crate::error::DaemonError;
use crate::events::DaemonEvent;
use crate::messages::{CommandError, HandOverErrorReason, PauseOutcome};
use crate::model::{Rules, SharedRequestFactory};
use backlog::Backlog;
use enforcement::Unconfirmed;
use pool::{ReloadState, Sizing};

/// The minimum time between two readings of the children's status changes.
const WAKEUP_DELAY: Duration = Duration::from_millis(1);
/// Replaces [`WAKEUP_DELAY`] while the pool is at its maximum.
const FULL_POOL_WAKEUP_DELAY: Duration = Duration::from_millis(100);

/// Carries out the decisions of the supervisor. Tests use a fake that records the commands.
pub(crate) trait ProcessControl<R> {
    /// Requests the fork of a child that serves this request. If the fork cannot be requested, the
    /// error contains the request.
    fn fork(&mut self, request: R) -> Result<ChildId, ForkError<R>>;
    /// Signals one child.
    fn signal(&mut self, child: ChildId, signal: Signal);
    /// Signals all children.
    fn signal_all(&mut self, signal: Signal);
    /// Signals all foreign children.
    fn signal_foreign(&mut self, signal: Signal);
    /// Returns whether foreign children exist.
    fn has_foreign(&self) -> bool;
    /// Notifies the fork server that no more children will be forked.
    fn release(&mut self);
    /// Asks the fork server to end what the children have started, within this time, and to exit.
    /// All children are gone.
    fn shut_down(&mut self, grace: Duration);
    /// Reaps the fork server. Returns whether it is gone.
    fn reap_fork_server(&mut self) -> bool;
    /// Signals the fork server and its children through their process groups, without the help of
    /// the fork server.
    fn signal_orphans(&mut self, signal: Signal);
    /// Returns whether the fork server and its children are gone.
    fn orphans_are_gone(&mut self) -> bool;
    /// Returns the requests whose forks were requested but have not been reported.
    fn take_pending(&mut self) -> Vec<(ChildId, R)>;
    /// Claims one OOM kill for the exit of one child. Returns whether there was an unclaimed kill.
    fn claim_oom_kill(&mut self) -> bool;
    /// Writes the phase and the operator's pause to the scoreboard, where the children read them.
    fn publish(&mut self, phase: Phase, pause: OperatorPause);
    /// Returns a reader of the scoreboard; `None` if the daemon has no children.
    fn board(&self) -> Option<ScoreboardReader>;
}

/// What the actor has to broadcast, log or act on.
#[derive(Debug)]
pub(crate) enum Effect {
    /// An event for the subscribers.
    Event(DaemonEvent),
    /// The daemon has entered this state of its life.
    Entered(Lifecycle),
    /// The daemon cannot continue. It is stopping.
    Failed(DaemonError),
    /// A fork failed.
    ForkFailed(String),
    /// Forks are delayed after failures.
    ForkBackoff(BackoffState),
    /// The daemon has `max_children` children and needs more.
    MaxChildrenReached {
        /// The maximum number of children.
        max_children: u32,
        /// The number of children that are idle or starting.
        spare: u32,
        /// The minimum number of children that should be idle or starting.
        min_spare: u32,
    },
    /// A child was not ready in time after its fork. It is to be killed when evidence was
    /// collected.
    NotReady {
        /// The child.
        child: ChildId,
        /// The child's pid.
        pid: Pid,
    },
    /// A reload of this many children has started.
    ReloadStarted(u32),
    /// Damage of the scoreboard was found and repaired.
    ScoreboardRepaired(FaultCount),
    /// The fork server could not reopen its log.
    ReopenLogsFailed(String),
    /// Processes that a child has started are left after its exit.
    DescendantsLeft {
        /// The child.
        child: ChildId,
        /// The process group of the child and of these processes.
        group: Pid,
    },
    /// The fork server ends this number of processes that children have started.
    EndingDescendants(u32),
    /// Processes that children have started cannot be ended, for this reason.
    DescendantsSurvive(String),
}

/// The model, with its rules for when children are forked.
#[derive(Debug)]
enum Strategy<R> {
    Solo,
    PreFork {
        sizing: Sizing,
        request_factory: SharedRequestFactory<R>,
        /// The smallest number of requests after which a child exits; `None` if there is no limit.
        quota: Option<u64>,
    },
    PostFork(Backlog<R>),
}

/// Returns the smallest number of requests after which a child exits.
fn least_quota(requests: RequestLimit, jitter: Jitter) -> Option<u64> {
    match requests {
        RequestLimit::Unlimited => None,
        RequestLimit::AtMost(requests) => Some(jitter.shortest(requests.get().into())),
    }
}

/// The timeouts for the stop (`grace`), and for the start of the initial children and of each child
/// after its fork (`boot_timeout`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct SupervisorTimeouts {
    pub(crate) grace: Duration,
    pub(crate) boot_timeout: Duration,
}

/// The state machine that decides which children exist, and when the daemon has stopped.
#[derive(Debug)]
pub(crate) struct Supervisor<R> {
    life: Lifecycle,
    strategy: Strategy<R>,
    registry: Registry,
    backoff: Backoff,
    grace: Duration,
    boot_timeout: Duration,
    /// When to check whether forked children are still not ready.
    boot_check_at: Option<MonotonicTime>,
    slots: u32,
    recheck_at: Option<MonotonicTime>,
    retry: Option<MonotonicTime>,
    unconfirmed: Unconfirmed,
    /// The end of the backoff delay that was last reported.
    backoff_reported_until: MonotonicTime,
    max_children_reported: bool,
    /// Limits how often [`Effect::MaxChildrenReached`] is collected.
    max_children_log: LogThrottle,
    /// Limits how often [`Effect::DescendantsLeft`] is collected.
    descendants_log: LogThrottle,
    /// Limits how often [`Effect::ScoreboardRepaired`] is collected.
    scoreboard_fault_log: LogThrottle,
    /// Whether the fork server was notified that no more children will be forked.
    is_released: bool,
    /// Whether the operator has paused the daemon. A stop does not change it.
    pause: OperatorPause,
    reload: ReloadState,
    pub(crate) counters: Counters,
    effects: Vec<Effect>,
}

impl<R: 'static> Supervisor<R> {
    pub(crate) fn new(rules: Rules<R>, times: SupervisorTimeouts, now: MonotonicTime) -> Self {
        let slots = rules.slots();
        let (strategy, child_kind, initial) = match rules {
            Rules::Solo => (Strategy::Solo, ChildKind::Pool, 0),
            Rules::PostFork { max_children, backlog } => {
                (Strategy::PostFork(Backlog::new(max_children, backlog)), ChildKind::OneRequest, 0)
            }
            Rules::PreFork { pool, request_factory, requests, jitter } => {
                let sizing = Sizing::Spares(Pool::new(pool));
                let quota = least_quota(requests, jitter);
                let strategy = Strategy::PreFork { sizing, request_factory, quota };
                (strategy, ChildKind::Pool, pool.start)
            }
            Rules::OnDemand { rules, request_factory, requests, jitter } => {
                let sizing = Sizing::Demand { scaler: DemandScaler::new(rules), queue_depth: 0 };
                let quota = least_quota(requests, jitter);
                let strategy = Strategy::PreFork { sizing, request_factory, quota };
                (strategy, ChildKind::Pool, rules.start)
            }
        };
        Supervisor {
            life: Lifecycle::starting(initial, now + times.boot_timeout),
            strategy,
            registry: Registry::new(slots, child_kind),
            backoff: Backoff::new(BackoffRules::default()),
            grace: times.grace,
            boot_timeout: times.boot_timeout,
            boot_check_at: None,
            slots,
            recheck_at: None,
            retry: None,
            unconfirmed: Unconfirmed::default(),
            backoff_reported_until: MonotonicTime::ZERO,
            max_children_reported: false,
            max_children_log: LogThrottle::default(),
            descendants_log: LogThrottle::default(),
            scoreboard_fault_log: LogThrottle::default(),
            is_released: false,
            pause: OperatorPause::Off,
            reload: ReloadState::default(),
            counters: Counters::default(),
            effects: Vec::new(),
        }
    }

    /// Returns the effects that were collected since the last call.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
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
            Strategy::Solo | Strategy::PreFork { .. } => {
                self.counters.returned += 1;
                pending.hand_back(HandOverErrorReason::NotPostForking);
            }
            Strategy::PostFork(backlog) => {
                let phase = self.life.admission_phase();
                backlog.enqueue(pending, children, phase, self.pause);
                self.reconcile(processes, now);
            }
        }
    }

    /// Pauses or resumes the daemon. The children of a pool read the pause from the scoreboard when
    /// they get CONT.
    pub(crate) fn set_pause(
        &mut self,
        pause: OperatorPause,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<PauseOutcome, CommandError> {
        if let Strategy::Solo = self.strategy {
            let action = if pause == OperatorPause::On { "pause" } else { "resume" };
            return Err(CommandError::NoChildren { action });
        }
        self.check_changeable()?;
        if self.pause == pause {
            return Ok(PauseOutcome::Already);
        }
        self.pause = pause;
        processes.publish(self.phase(), pause);
        self.counters.operator_pauses += u64::from(pause == OperatorPause::On);
        if let Strategy::PreFork { .. } = self.strategy {
            processes.signal_all(Signal::Cont);
            self.effects.push(Effect::Event(DaemonEvent::Accepting { state: self.accept_state() }));
        }
        self.reconcile(processes, now);
        self.effects.push(Effect::Event(DaemonEvent::OperatorPause { state: pause }));
        Ok(PauseOutcome::Now)
    }

    fn check_changeable(&self) -> Result<(), CommandError> {
        match self.phase() {
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
        match self.life {
            Lifecycle::Starting(_) | Lifecycle::Running => {
                self.adjust_pool(processes, now);
                self.confirm_statuses(processes, now);
                self.check_boot(processes, now);
            }
            Lifecycle::Draining(_) | Lifecycle::Killing { .. } => {
                self.serve_remaining(processes, now);
                self.check_stopped(processes, now);
            }
            Lifecycle::Closing { .. } | Lifecycle::ForkServerLost(_) => {
                self.check_stopped(processes, now);
            }
            Lifecycle::Stopped => {}
        }
        self.check_boot_timeouts(processes, now);
        self.check_accepting(now);
    }

    /// Collects an event if a post-forking daemon has to start or stop accepting requests.
    fn check_accepting(&mut self, now: MonotonicTime) {
        let (children, phase) = (self.registry.counts().children(), self.phase());
        let Strategy::PostFork(backlog) = &mut self.strategy else { return };
        let Some(change) = backlog.update_accepting(children, phase, self.pause) else { return };
        let (state, max_children) = (backlog.accept_state(), backlog.max_children);
        self.effects.push(Effect::Event(DaemonEvent::Accepting { state }));
        if change == AcceptChange::Pause && self.pause == OperatorPause::Off {
            self.counters.pool_full += 1;
            if phase == Phase::Running {
                self.report_max_children(max_children, 0, 1, now);
            }
        }
    }

    pub(crate) fn life(&self) -> &Lifecycle {
        &self.life
    }

    pub(crate) fn phase(&self) -> Phase {
        self.life.phase()
    }

    /// Writes the phase and the pause to the scoreboard again, in case other code has damaged them.
    pub(crate) fn publish(&self, processes: &mut impl ProcessControl<R>) {
        processes.publish(self.phase(), self.pause);
    }

    pub(crate) fn grace(&self) -> Duration {
        self.grace
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the number of requests that wait for a child.
    pub(crate) fn waiting(&self) -> usize {
        match &self.strategy {
            Strategy::Solo | Strategy::PreFork { .. } => 0,
            Strategy::PostFork(backlog) => backlog.waiting(),
        }
    }

    /// Returns whether requests are accepted. A pool stops accepting only when the operator pauses
    /// it.
    pub(crate) fn accept_state(&self) -> AcceptState {
        match (&self.strategy, self.pause) {
            (Strategy::Solo | Strategy::PreFork { .. }, OperatorPause::Off) => {
                AcceptState::Accepting
            }
            (Strategy::Solo | Strategy::PreFork { .. }, OperatorPause::On) => AcceptState::Paused,
            (Strategy::PostFork(backlog), _) => backlog.accept_state(),
        }
    }

    /// Returns whether the operator has paused the daemon. A stopping daemon is no longer paused,
    /// because it serves the requests that wait.
    pub(crate) fn operator_pause(&self) -> OperatorPause {
        match self.phase() {
            Phase::Starting | Phase::Running => self.pause,
            Phase::Stopping | Phase::Stopped => OperatorPause::Off,
        }
    }

    /// Returns the counters since the start.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        if let Strategy::PostFork(backlog) = &self.strategy {
            counters.returned += backlog.handed_back();
        }
        counters
    }

    /// Returns the current maximum number of children.
    pub(crate) fn max_children(&self) -> u32 {
        match &self.strategy {
            Strategy::Solo => 0,
            Strategy::PreFork { sizing, .. } => sizing.max_children(),
            Strategy::PostFork(backlog) => backlog.max_children,
        }
    }

    /// Returns the time at which the supervisor must run even if no event arrives.
    pub(crate) fn next_wake(&self) -> Option<MonotonicTime> {
        let times = [self.life.deadline(), self.recheck_at, self.retry, self.boot_check_at];
        times.into_iter().flatten().min()
    }

    /// Returns whether the supervisor's decisions depend on the statuses of children. This is so
    /// for a pool, but not for a post-forking daemon.
    pub(crate) fn uses_statuses(&self) -> bool {
        matches!(self.strategy, Strategy::PreFork { .. })
    }

    /// Returns how long the parent may leave status changes unread while more arrive.
    ///
    /// A pool at its maximum can only shrink. By default it shrinks only after too many children
    /// have been idle for 1 s, so a delay of 100 ms does not matter. Reading every status change of
    /// a busy pool would take CPU time from its children.
    pub(crate) fn wakeup_delay(&self) -> Duration {
        let counts = self.registry.counts();
        let is_full = counts.children() >= self.max_children() && counts.starting() == 0;
        let is_running = self.phase() == Phase::Running;
        if is_full && is_running { FULL_POOL_WAKEUP_DELAY } else { WAKEUP_DELAY }
    }
}

#[cfg(test)]
mod tests;
