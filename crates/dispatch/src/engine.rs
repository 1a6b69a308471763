//! The dispatcher's hands in the parent: it feeds the ledger with what comes, and does what the
//! ledger wants done.

mod cancelled_ids;
mod deliver;
mod intake;
mod links;
mod scaling;
mod tasks;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};
use actix_daemon::dispatching::{KillRogue, SetQueueDepth};
use actix_daemon::{Kill, Pid, Violation};
use daemon_core::{ExitCause, MonotonicTime, OperatorPause, StopMode};
use daemon_forkserver::now;
use futures::channel::oneshot;
use tokio::sync::Notify;

use crate::answer::Failure;
use crate::body::Body;
use crate::claims::SharedClaims;
use crate::fallback::FallbackRequest;
use crate::launch::WorkerDaemon;
use crate::link::WorkerLink;
use crate::methods::Methods;
use crate::reply::{DroppedFutures, Reply};
use crate::request::{NewRequest, Request, RequestDone, RequestParts, RunInfo};
use crate::scheduler::{Lane, Scheduler, SchedulerAction, WorkerKillReason};
use crate::talkback::{EventLog, Verbosity};

use cancelled_ids::CancelledIds;
pub(crate) use intake::{CancelLookup, SubmitResult, take};
use scaling::ScalingLog;
pub(crate) use tasks::run;

/// How long less demand is kept to oneself: a queue that is empty now is often full again at once.
const DEMAND_DELAY: Duration = Duration::from_millis(5);

/// So many tasks that were put aside are remembered.
const DEAD_LETTERS_MAX: usize = 100;

/// Who does the work.
#[derive(Debug)]
pub(crate) enum ExecutionMode {
    /// The parent, in place.
    InProcess,
    /// Workers, at most so many.
    Workers {
        max: usize,
        /// So many are forked before there is work.
        pre_fork: u32,
        /// For work that waits one is forked, and the next after so long.
        interval: Duration,
        daemon: Addr<WorkerDaemon>,
    },
}

/// What requests are given that don't say otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestDefaults {
    pub(crate) soft: Option<Duration>,
    pub(crate) hard: Option<Duration>,
    pub(crate) attempts: u32,
}

/// A request on its way through the ledger.
#[derive(Debug)]
pub(crate) struct DispatchJob {
    pub(crate) parts: RequestParts,
    pub(crate) method: u16,
    pub(crate) soft: Option<Duration>,
    pub(crate) reply: Reply,
    pub(crate) upon_result: Option<Recipient<RequestDone>>,
}

impl DispatchJob {
    fn of(request: NewRequest, method: u16, soft: Option<Duration>, reply: Reply) -> DispatchJob {
        let NewRequest { id, name, from, params, upon_result, .. } = request;
        // Those that could not be encoded are refused before anybody reads them.
        let parts = RequestParts { id, name, from, params: params.unwrap_or(Body::EMPTY) };
        DispatchJob { parts, method, soft, reply, upon_result }
    }
}

/// A task that has killed its workers as often as it may.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The request.
    pub request: Request,
    /// Why its last worker is gone.
    pub cause: ExitCause,
}

/// A dispatcher's engine, in the hands of its actors and tasks, all of one thread.
pub(crate) type SharedEngine = Rc<RefCell<Engine>>;

/// What an engine is made of, from before there is a System.
pub(crate) struct EngineConfig {
    pub(crate) methods: Rc<Methods>,
    pub(crate) claims: SharedClaims,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) queue_max: usize,
    pub(crate) defaults: RequestDefaults,
    pub(crate) detail: Verbosity,
    pub(crate) max_forks: usize,
    pub(crate) pre_fork: u32,
    pub(crate) fork_interval: Duration,
}

pub(crate) struct Engine {
    methods: Rc<Methods>,
    /// The ledger's board too.
    claims: SharedClaims,
    scheduler: Scheduler<DispatchJob, SharedClaims>,
    links: Vec<Option<WorkerLink>>,
    /// Links of workers whose end is still to be told, while their slot is another's already.
    former: Vec<WorkerLink>,
    /// Slots of links that have something to send.
    dirty: Vec<usize>,
    execution: ExecutionMode,
    pub(crate) events: EventLog,
    defaults: RequestDefaults,
    pub(crate) upon_result: Option<Recipient<RequestDone>>,
    pub(crate) fallback: Option<Recipient<FallbackRequest>>,
    pub(crate) hangups: Arc<DroppedFutures>,
    /// Cancelled before they have come.
    cancelled_ids: CancelledIds,
    dead_letters: VecDeque<DeadLetter>,
    /// Transactions and calls in place that are not answered yet.
    outside_workers: usize,
    /// Those that are.
    answered_outside_workers: u64,
    scaling_log: ScalingLog,
    reported_demand: u32,
    /// When the timer wakes.
    timer_at: Option<MonotonicTime>,
    signals: Rc<Signals>,
    drained: Vec<oneshot::Sender<()>>,
    /// For tasks that it starts.
    me: Weak<RefCell<Engine>>,
}

/// What wakes the engine's tasks.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    timer: Notify,
    demand: Notify,
    pub(crate) queue_room: Notify,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("tally", &self.scheduler.stats()).finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(setup: EngineConfig, daemon: Addr<WorkerDaemon>) -> Engine {
        let EngineConfig {
            methods,
            claims,
            lanes,
            queue_max,
            defaults,
            detail,
            max_forks,
            pre_fork,
            fork_interval: interval,
        } = setup;
        let execution = match max_forks {
            0 => ExecutionMode::InProcess,
            max => ExecutionMode::Workers { max, pre_fork, interval, daemon },
        };
        let events = EventLog { log: actix_daemon::logger(), recipient: None, detail };
        let slots = claims.slots();
        let scheduler = Scheduler::new(slots, methods.len(), lanes, queue_max, claims);
        Engine {
            methods,
            claims,
            scheduler,
            links: (0..slots).map(|_slot| None).collect(),
            former: Vec::new(),
            dirty: Vec::new(),
            execution,
            events,
            defaults,
            upon_result: None,
            fallback: None,
            hangups: Arc::default(),
            cancelled_ids: CancelledIds::default(),
            dead_letters: VecDeque::new(),
            outside_workers: 0,
            answered_outside_workers: 0,
            scaling_log: ScalingLog::default(),
            reported_demand: 0,
            timer_at: None,
            signals: Rc::default(),
            drained: Vec::new(),
            me: Weak::new(),
        }
    }

    pub(crate) fn signals(&self) -> Rc<Signals> {
        Rc::clone(&self.signals)
    }

    pub(crate) fn stats(&self) -> crate::scheduler::Stats {
        let mut stats = self.scheduler.stats();
        stats.admitted += self.answered_outside_workers + self.outside_workers as u64;
        stats.answered += self.answered_outside_workers;
        stats
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters.iter().cloned().collect()
    }

    /// Does what the ledger wants done, and sends what is to be sent.
    fn pump(&mut self) {
        while let Some(action) = self.scheduler.next_action() {
            match action {
                SchedulerAction::Send { slot, turn, key } => self.send(slot, turn, key),
                SchedulerAction::Fail { job, failure, run } => {
                    if run.attempts > 0 {
                        // A worker that is given up may still be about to read them.
                        job.parts.params.prevent_reuse();
                    }
                    self.record_dead_letter(&job, &failure, run);
                    self.deliver(job, run, Err(failure));
                }
                SchedulerAction::Kill { pid, reason } => self.kill(pid, reason),
            }
        }
        self.flush();
        self.log_shortage();
        self.report_demand();
        self.arm_timer();
        if self.scheduler.has_capacity() {
            self.signals.queue_room.notify_waiters();
        }
        if self.is_drained() {
            self.notify_drained();
        }
    }

    fn kill(&self, pid: Pid, why: WorkerKillReason) {
        let ExecutionMode::Workers { daemon, .. } = &self.execution else { return };
        match why {
            WorkerKillReason::HardLimit => {
                self.events.warn(format_args!(
                    "Worker {pid} is killed: its task has passed the hard limit"
                ));
                daemon.do_send(KillRogue { pid, violation: Violation::Time });
            }
            WorkerKillReason::Unresponsive => {
                self.events.warn(format_args!(
                    "Worker {pid} is killed: it does not begin what it is sent"
                ));
                daemon.do_send(KillRogue { pid, violation: Violation::Hung });
            }
            WorkerKillReason::Cancelled => {
                self.events.say(format_args!("Worker {pid} is killed: its task was cancelled"));
                daemon.do_send(Kill(pid));
            }
        }
    }

    /// How many workers what waits could do with.
    fn demand(&self) -> Option<u32> {
        let ExecutionMode::Workers { max, .. } = &self.execution else { return None };
        Some(u32::try_from(self.scheduler.unassigned().min(*max)).unwrap_or(u32::MAX))
    }

    /// More demand is told at once, less when it has lasted.
    fn report_demand(&mut self) {
        let Some(demand) = self.demand() else { return };
        if demand > self.reported_demand {
            self.set_demand(demand);
        } else if demand < self.reported_demand {
            self.signals.demand.notify_one();
        }
    }

    fn set_demand(&mut self, demand: u32) {
        if let ExecutionMode::Workers { daemon, .. } = &self.execution
            && demand != self.reported_demand
        {
            self.reported_demand = demand;
            daemon.do_send(SetQueueDepth(demand));
        }
    }

    /// Sees to it that the timer wakes in time.
    fn arm_timer(&mut self) {
        let Some(wake_at) = self.scheduler.wake_at() else { return };
        if self.timer_at.is_none_or(|timer_at| wake_at < timer_at) {
            self.timer_at = Some(wake_at);
            self.signals.timer.notify_one();
        }
    }

    /// The operator's word.
    pub(crate) fn set_operator_pause(&mut self, operator_pause: OperatorPause) {
        self.scheduler.set_operator_pause(operator_pause, now());
        self.pump();
    }

    /// The end begins. Answers when all that was taken is answered.
    pub(crate) fn stop(&mut self, mode: StopMode) -> oneshot::Receiver<()> {
        let (drained, told) = oneshot::channel();
        self.scheduler.stop(mode, now());
        self.drained.push(drained);
        self.reject_if_no_workers_left();
        self.pump();
        told
    }

    /// In a dispatcher that stops nobody is forked any more: without a worker nothing is done.
    fn reject_if_no_workers_left(&mut self) {
        if !self.scheduler.is_accepting()
            && self.links.iter().all(Option::is_none)
            && self.former.is_empty()
        {
            self.scheduler.stop(StopMode::Immediate, now());
        }
    }

    /// The daemon has ended, whatever was still to come: all that is left is lost.
    pub(crate) fn daemon_stopped(&mut self) {
        self.scheduler.stop(StopMode::Immediate, now());
        let links = self.links.iter().flatten().chain(&self.former);
        let children: Vec<_> = links.map(|link| link.child).collect();
        for child in children {
            self.worker_gone(child, ExitCause::Missing, 0);
        }
        self.pump();
    }

    fn is_drained(&self) -> bool {
        !self.scheduler.is_accepting() && self.scheduler.is_empty() && self.outside_workers == 0
    }

    /// All is answered: workers that stay for more may go.
    fn notify_drained(&mut self) {
        for drained in self.drained.drain(..) {
            // Who has asked may have gone meanwhile.
            let _ = drained.send(());
        }
        for link in self.links.iter_mut().flatten() {
            link.reopen_logs();
        }
    }

    /// Answers a refusal before anything else has happened.
    fn reject(&mut self, request: NewRequest, reply: Reply, why: Failure) {
        self.deliver(DispatchJob::of(request, 0, None, reply), RunInfo::default(), Err(why));
    }
}
