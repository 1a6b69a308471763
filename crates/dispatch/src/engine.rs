//! The part of the dispatcher that does I/O in the parent process: it passes events to the
//! scheduler and carries out the scheduler's actions.

mod cancelled_ids;
mod deliver;
mod intake;
mod links;
mod output;
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
use crate::link::{WorkerExit, WorkerLink};
use crate::methods::Methods;
use crate::output_limit::DroppedOutput;
use crate::reply::{DroppedFutures, ReplySender};
use crate::request::{NewRequest, RequestDone, RequestInfo, RequestParts, RunInfo};
use crate::scheduler::{Lane, Scheduler, SchedulerAction, WorkerKillReason};
use crate::talkback::{EventLog, Verbosity, report};

use cancelled_ids::CancelledIds;
pub(crate) use intake::{CancelLookup, SubmitResult, submit};
use links::LostLinks;
use output::OutputShare;
use scaling::ScalingLog;
pub(crate) use tasks::run;

/// The delay before a lower [demand](Engine::demand) for workers is reported to the daemon. A queue
/// that becomes empty often fills up again immediately.
const DEMAND_DELAY: Duration = Duration::from_millis(5);

/// The maximum number of dead letters that are kept.
const DEAD_LETTERS_MAX: usize = 100;

/// Where methods run.
#[derive(Debug)]
pub(crate) enum ExecutionMode {
    /// In the parent process.
    InProcess,
    /// In worker processes.
    Workers {
        /// The maximum number of workers.
        max: usize,
        /// The number of workers that are forked before the first request.
        pre_fork: u32,
        /// The minimum time between two workers that are forked on demand.
        interval: Duration,
        daemon: Addr<WorkerDaemon>,
    },
}

/// The default options, for requests that do not set these options themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestDefaults {
    pub(crate) soft: Option<Duration>,
    pub(crate) hard: Option<Duration>,
    pub(crate) attempts: u32,
}

/// A request in the scheduler, with the recipients of its result.
#[derive(Debug)]
pub(crate) struct DispatchJob {
    pub(crate) parts: RequestParts,
    pub(crate) method: u16,
    pub(crate) soft: Option<Duration>,
    pub(crate) reply: ReplySender,
    pub(crate) upon_result: Option<Recipient<RequestDone>>,
}

impl DispatchJob {
    fn of(
        request: NewRequest,
        method: u16,
        soft: Option<Duration>,
        reply: ReplySender,
    ) -> DispatchJob {
        let NewRequest { id, name, from, params, upon_result, .. } = request;
        // If the parameters could not be encoded, the request is rejected, so no method reads the
        // empty body.
        let parts = RequestParts { id, name, from, params: params.unwrap_or(Body::EMPTY) };
        DispatchJob { parts, method, soft, reply, upon_result }
    }
}

/// A request that is not retried any more, because its worker died in each attempt.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The request.
    pub request: RequestInfo,
    /// Why the last worker exited.
    pub cause: ExitCause,
}

/// The engine, shared by the dispatcher's actors and tasks. All of them run in one thread.
pub(crate) type SharedEngine = Rc<RefCell<Engine>>;

/// The configuration of an engine. The configuration is created before the actix System exists.
pub(crate) struct EngineConfig {
    pub(crate) methods: Rc<Methods>,
    pub(crate) claims: SharedClaims,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) queue_max: usize,
    pub(crate) defaults: RequestDefaults,
    pub(crate) verbosity: Verbosity,
    pub(crate) max_forks: usize,
    pub(crate) pre_fork: u32,
    pub(crate) fork_interval: Duration,
    pub(crate) output_limit: u64,
    pub(crate) boot_timeout: Duration,
}

pub(crate) struct Engine {
    methods: Rc<Methods>,
    /// The claims of all workers. The scheduler uses the same claims.
    claims: SharedClaims,
    scheduler: Scheduler<DispatchJob, SharedClaims>,
    links: Vec<Option<WorkerLink>>,
    /// Links of workers whose exit has not been reported yet although their slot already has a new
    /// worker.
    former_links: Vec<WorkerLink>,
    /// Slots whose links have unsent data.
    dirty: Vec<usize>,
    execution: ExecutionMode,
    /// The time within which a worker must be ready after it was forked.
    boot_timeout: Duration,
    pub(crate) events: EventLog,
    output: Rc<OutputShare>,
    /// The output of workers that was dropped since the start.
    dropped_output: DroppedOutput,
    defaults: RequestDefaults,
    pub(crate) upon_result: Option<Recipient<RequestDone>>,
    pub(crate) fallback: Option<Recipient<FallbackRequest>>,
    pub(crate) dropped_futures: Arc<DroppedFutures>,
    /// Requests that were cancelled before the engine accepted them.
    cancelled_ids: CancelledIds,
    dead_letters: VecDeque<DeadLetter>,
    /// The number of unanswered requests that no worker runs: fallback requests and in-process
    /// calls.
    outside_workers: usize,
    /// The number of answered requests that no worker ran.
    answered_outside_workers: u64,
    scaling_log: ScalingLog,
    reported_demand: u32,
    /// When the timer is due. `None` if it is not set.
    timer_at: Option<MonotonicTime>,
    signals: Rc<Signals>,
    drained: Vec<oneshot::Sender<()>>,
    /// A reference to this engine, for the tasks that it spawns.
    weak_self: Weak<RefCell<Engine>>,
}

/// Notifications for the engine's tasks and for the dispatcher's actor.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    timer: Notify,
    demand: Notify,
    pub(crate) queue_capacity: Notify,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("stats", &self.scheduler.stats()).finish_non_exhaustive()
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
            verbosity,
            max_forks,
            pre_fork,
            fork_interval: interval,
            output_limit,
            boot_timeout,
        } = setup;
        let execution = match max_forks {
            0 => ExecutionMode::InProcess,
            max => ExecutionMode::Workers { max, pre_fork, interval, daemon },
        };
        let events = EventLog { log: actix_daemon::logger(), recipient: None, verbosity };
        let slots = claims.slots();
        let scheduler = Scheduler::new(slots, methods.len(), lanes, queue_max, claims);
        Engine {
            methods,
            claims,
            scheduler,
            links: (0..slots).map(|_slot| None).collect(),
            former_links: Vec::new(),
            dirty: Vec::new(),
            execution,
            boot_timeout,
            events,
            output: OutputShare::new(output_limit),
            dropped_output: DroppedOutput::default(),
            defaults,
            upon_result: None,
            fallback: None,
            dropped_futures: Arc::default(),
            cancelled_ids: CancelledIds::default(),
            dead_letters: VecDeque::new(),
            outside_workers: 0,
            answered_outside_workers: 0,
            scaling_log: ScalingLog::default(),
            reported_demand: 0,
            timer_at: None,
            signals: Rc::default(),
            drained: Vec::new(),
            weak_self: Weak::new(),
        }
    }

    pub(crate) fn signals(&self) -> Rc<Signals> {
        Rc::clone(&self.signals)
    }

    pub(crate) fn stats(&self) -> crate::scheduler::Stats {
        let mut stats = self.scheduler.stats();
        stats.admitted += self.answered_outside_workers + self.outside_workers as u64;
        stats.answered += self.answered_outside_workers;
        let DroppedOutput { bytes, lines } = self.dropped_output;
        (stats.dropped_output_bytes, stats.dropped_output_lines) = (bytes, lines);
        stats.dropped_events = self.events.dropped_lines();
        stats
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters.iter().cloned().collect()
    }

    /// Carries out the scheduler's actions, sends the data of all links, and updates the demand and
    /// the timer.
    fn pump(&mut self) {
        // A link that cannot be written causes further actions.
        loop {
            self.carry_out_actions();
            if self.flush() == LostLinks::None {
                break;
            }
        }
        self.log_shortage();
        self.report_demand();
        self.arm_timer();
        if self.scheduler.has_capacity() {
            self.signals.queue_capacity.notify_waiters();
        }
        if self.is_drained() {
            self.notify_drained();
        }
    }

    fn carry_out_actions(&mut self) {
        while let Some(action) = self.scheduler.next_action() {
            match action {
                SchedulerAction::Send { slot, turn, key } => self.send(slot, turn, key),
                SchedulerAction::Fail { job, failure, run } => {
                    if run.attempts > 0 {
                        // A worker that has run this request may still read the parameters.
                        job.parts.params.prevent_reuse();
                    }
                    self.record_dead_letter(&job, &failure, run);
                    self.deliver(job, run, Err(failure));
                }
                SchedulerAction::Kill { pid, reason } => self.kill(pid, reason),
            }
        }
    }

    fn kill(&self, pid: Pid, kill_reason: WorkerKillReason) {
        let ExecutionMode::Workers { daemon, .. } = &self.execution else { return };
        let (worker, reason) = (pid.as_raw(), kill_reason.word());
        match kill_reason {
            WorkerKillReason::HardLimit => {
                report!(self.events, warn, "killing worker"; "worker" => worker, "reason" => reason);
                daemon.do_send(KillRogue { pid, violation: Violation::Time });
            }
            WorkerKillReason::Unresponsive
            | WorkerKillReason::NotReady
            | WorkerKillReason::AnswerMissing
            | WorkerKillReason::NotLeft => {
                report!(self.events, warn, "killing worker"; "worker" => worker, "reason" => reason);
                daemon.do_send(KillRogue { pid, violation: Violation::Hung });
            }
            WorkerKillReason::UnfinishedMessage
            | WorkerKillReason::DamagedClaim
            | WorkerKillReason::LinkClosed => {
                report!(self.events, warn, "killing worker"; "worker" => worker, "reason" => reason);
                daemon.do_send(KillRogue { pid, violation: Violation::Protocol });
            }
            // The reason has been reported together with the error.
            WorkerKillReason::LinkBroken => {
                daemon.do_send(KillRogue { pid, violation: Violation::Protocol });
            }
            WorkerKillReason::Cancelled => {
                report!(self.events, info, "killing worker"; "worker" => worker, "reason" => reason);
                daemon.do_send(Kill(pid));
            }
        }
    }

    /// Returns the number of workers that the unassigned requests could use. Returns `None` if
    /// methods run in this process.
    fn demand(&self) -> Option<u32> {
        let ExecutionMode::Workers { max, .. } = &self.execution else { return None };
        Some(u32::try_from(self.scheduler.unassigned().min(*max)).unwrap_or(u32::MAX))
    }

    /// Reports a higher demand to the daemon immediately, and a lower demand after a delay.
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

    /// Sets the timer to the time of the scheduler's next check, unless the timer is due earlier.
    fn arm_timer(&mut self) {
        let Some(wake_at) = self.scheduler.wake_at() else { return };
        if self.timer_at.is_none_or(|timer_at| wake_at < timer_at) {
            self.timer_at = Some(wake_at);
            self.signals.timer.notify_one();
        }
    }

    /// Pauses or resumes the scheduler on behalf of the operator.
    pub(crate) fn set_operator_pause(&mut self, operator_pause: OperatorPause) {
        self.scheduler.set_operator_pause(operator_pause, now());
        self.pump();
    }

    /// Starts the shutdown. The returned receiver completes when all accepted requests have been
    /// answered.
    pub(crate) fn stop(&mut self, mode: StopMode) -> oneshot::Receiver<()> {
        let (drained, all_answered) = oneshot::channel();
        self.scheduler.stop(mode, now());
        self.drained.push(drained);
        self.reject_if_no_workers_left();
        self.pump();
        all_answered
    }

    /// Rejects the queued requests if the dispatcher is stopping and no workers are left, because
    /// no further workers are forked then.
    fn reject_if_no_workers_left(&mut self) {
        if !self.scheduler.is_accepting()
            && self.links.iter().all(Option::is_none)
            && self.former_links.is_empty()
        {
            self.scheduler.stop(StopMode::Immediate, now());
        }
    }

    /// Fails all remaining requests, because the daemon has stopped.
    pub(crate) fn daemon_stopped(&mut self) {
        self.scheduler.stop(StopMode::Immediate, now());
        let links = self.links.iter().flatten().chain(&self.former_links);
        let children: Vec<_> = links.map(|link| link.child).collect();
        for child in children {
            self.drain_link(child);
            self.remove_worker(child, WorkerExit { cause: ExitCause::Missing, requests: 0 });
        }
        self.pump();
    }

    fn is_drained(&self) -> bool {
        !self.scheduler.is_accepting() && self.scheduler.is_empty() && self.outside_workers == 0
    }

    /// Completes the shutdown after all requests have been answered. Closes the links, so that the
    /// remaining workers exit.
    fn notify_drained(&mut self) {
        for drained in self.drained.drain(..) {
            // The receiver may have been dropped.
            let _ = drained.send(());
        }
        for link in self.links.iter_mut().flatten() {
            link.shut_down();
        }
    }

    /// Answers a request with a failure before it is accepted.
    fn reject(&mut self, request: NewRequest, reply: ReplySender, failure: Failure) {
        self.deliver(DispatchJob::of(request, 0, None, reply), RunInfo::default(), Err(failure));
    }
}
