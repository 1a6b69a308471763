//! The part of the dispatcher that does I/O in the parent process: it passes events to the
//! scheduler and carries out the scheduler's actions.
//!
//! The engine is owned by one task, which is that of the dispatcher's actor. Requests come from the
//! mailbox of the actor, all other events from the channel of [`Input`]s.

mod links;
mod output;
mod requests;
mod scaling;
mod starting;

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use actix::{Addr, Recipient};
use actix_daemon::dispatching::{KillRogue, SetQueueDepth};
use actix_daemon::{ChildExited, ChildId, DaemonActor, Kill, Pid, Violation};
use daemon_core::{ExitCause, LogLimit, MonotonicTime, OperatorPause, StopMode};
use daemon_forkserver::now;
use futures::channel::oneshot;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep};

use crate::answer::TaskResult;
use crate::body::Body;
use crate::claims::SharedClaims;
use crate::fallback::FallbackRequest;
use crate::link::{NewLink, WorkerExit, WorkerLink};
use crate::methods::Methods;
use crate::reply::ReplySender;
use crate::request::{
    CancellationToken, IfRunning, NewRequest, RequestDone, RequestInfo, RequestParts,
};
use crate::scheduler::{
    CancelOutcome, IdleOrder, JobKey, Lane, Scheduler, SchedulerAction, WorkerKillReason,
};
use crate::talkback::{EventLog, report};
use crate::worker::WorkerFds;

use output::{OutputStream, WorkerOutputs};
use scaling::ScalingLog;
use starting::StartFailures;

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
        daemon: Addr<DaemonActor<WorkerFds>>,
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
        let NewRequest { token, name, from, params, upon_result, .. } = request;
        // If the parameters could not be encoded, the request is rejected, so no method reads the
        // empty body.
        let parts =
            RequestParts { id: token.id, name, from, params: params.unwrap_or(Body::EMPTY) };
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

/// An event for the engine.
#[derive(Debug)]
pub(crate) enum Input {
    /// A worker is being forked.
    LinkAdded(NewLink),
    /// A link may be readable, or writable again after it was full.
    LinkReady(ChildId),
    /// A failed send can be retried.
    RetrySend(ChildId),
    WorkerForked(ChildId, Pid),
    /// No worker was forked, for this reason. The link of the child may have been added.
    ForkFailed(Option<ChildId>, String),
    WorkerExited(ChildExited),
    /// A pipe to which a worker prints may be readable.
    OutputReady(ChildId, OutputStream),
    /// A report on dropped output is due.
    OutputReportDue(ChildId, OutputStream),
    /// The future of a request may have been dropped.
    FutureDropped(JobKey),
    /// A request that no worker runs has a result. It was started at this time.
    Answered(Box<DispatchJob>, MonotonicTime, TaskResult),
    Cancel(CancellationToken, IfRunning, oneshot::Sender<CancelOutcome>),
    OperatorPause(OperatorPause),
    /// The dispatcher stops. The sender is used when all accepted requests have been answered.
    Stop(StopMode, oneshot::Sender<()>),
    DaemonStopped(oneshot::Sender<()>),
}

/// Sends events to the engine.
#[derive(Debug, Clone)]
pub(crate) struct InputSender(UnboundedSender<Input>);

impl InputSender {
    pub(crate) fn send(&self, input: Input) {
        // If the engine has ended, nothing is left to do.
        let _ = self.0.send(input);
    }

    fn send_later(&self, delay: Duration, input: Input) {
        let inputs = self.clone();
        actix_rt::spawn(async move {
            sleep(delay).await;
            inputs.send(input);
        });
    }

    /// Returns a waker that sends an event.
    fn waker(&self, event: impl Fn() -> Input + Send + Sync + 'static) -> Waker {
        Waker::from(Arc::new(InputWaker { inputs: self.clone(), event }))
    }
}

struct InputWaker<F> {
    inputs: InputSender,
    event: F,
}

impl<F: Fn() -> Input + Send + Sync + 'static> Wake for InputWaker<F> {
    fn wake(self: Arc<Self>) {
        self.inputs.send((self.event)());
    }
}

/// Creates the channel of an engine.
pub(crate) fn channel() -> (InputSender, UnboundedReceiver<Input>) {
    let (sender, inputs) = unbounded_channel();
    (InputSender(sender), inputs)
}

/// The configuration of an engine. The configuration is created before the actix System exists.
pub(crate) struct EngineConfig {
    pub(crate) methods: Rc<Methods>,
    pub(crate) claims: SharedClaims,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) queue_max: usize,
    pub(crate) idle_order: IdleOrder,
    pub(crate) defaults: RequestDefaults,
    pub(crate) is_verbose: bool,
    /// The maximum number of workers, or `None` if methods run in this process.
    pub(crate) max_forks: Option<u32>,
    pub(crate) pre_fork: u32,
    pub(crate) fork_interval: Duration,
    pub(crate) output_limit: u64,
    pub(crate) boot_timeout: Duration,
    pub(crate) sender: InputSender,
    pub(crate) inputs: UnboundedReceiver<Input>,
}

pub(crate) struct Engine {
    inputs: UnboundedReceiver<Input>,
    sender: InputSender,
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
    outputs: WorkerOutputs,
    defaults: RequestDefaults,
    pub(crate) upon_result: Option<Recipient<RequestDone>>,
    pub(crate) fallback: Option<Recipient<FallbackRequest>>,
    dead_letters: VecDeque<DeadLetter>,
    /// The workers with an answer whose large body is being read. A piece of the first body is read
    /// in each turn.
    large_answers: VecDeque<ChildId>,
    /// Whether requests have been admitted since the last assignment.
    has_admitted: bool,
    /// The number of unanswered requests that no worker runs: fallback requests and in-process
    /// calls.
    outside_workers: usize,
    /// The number of answered requests that no worker ran.
    answered_outside_workers: u64,
    scaling_log: ScalingLog,
    start_failures: StartFailures,
    /// Limits the records of failures without a recipient.
    failure_log: LogLimit,
    reported_demand: u32,
    /// When a lower demand is reported.
    lower_demand_at: Option<MonotonicTime>,
    timer: Pin<Box<Sleep>>,
    /// When the timer is due. `None` if it is not set.
    timer_at: Option<MonotonicTime>,
    drained: Vec<oneshot::Sender<()>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("stats", &self.scheduler.stats()).finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(setup: EngineConfig, daemon: Addr<DaemonActor<WorkerFds>>) -> Engine {
        let EngineConfig {
            methods,
            claims,
            lanes,
            queue_max,
            idle_order,
            defaults,
            is_verbose,
            max_forks,
            pre_fork,
            fork_interval: interval,
            output_limit,
            boot_timeout,
            sender,
            inputs,
        } = setup;
        let execution = match max_forks {
            None => ExecutionMode::InProcess,
            Some(max) => ExecutionMode::Workers { max: max as usize, pre_fork, interval, daemon },
        };
        let events = EventLog { log: actix_daemon::logger(), recipient: None, is_verbose };
        let slots = claims.slots();
        let scheduler = Scheduler::new(slots, methods.len(), lanes, queue_max, idle_order, claims);
        Engine {
            inputs,
            sender,
            methods,
            claims,
            scheduler,
            links: (0..slots).map(|_slot| None).collect(),
            former_links: Vec::new(),
            dirty: Vec::new(),
            execution,
            boot_timeout,
            events,
            outputs: WorkerOutputs::new(output_limit),
            defaults,
            upon_result: None,
            fallback: None,
            dead_letters: VecDeque::new(),
            large_answers: VecDeque::new(),
            has_admitted: false,
            outside_workers: 0,
            answered_outside_workers: 0,
            scaling_log: ScalingLog::default(),
            start_failures: StartFailures::default(),
            failure_log: LogLimit::default(),
            reported_demand: 0,
            lower_demand_at: None,
            timer: Box::pin(sleep(Duration::ZERO)),
            timer_at: None,
            drained: Vec::new(),
        }
    }

    pub(crate) fn stats(&mut self) -> crate::scheduler::Stats {
        // Requests that were just admitted may go to a worker.
        self.pump();
        let mut stats = self.scheduler.stats();
        stats.admitted += self.answered_outside_workers + self.outside_workers as u64;
        stats.answered += self.answered_outside_workers;
        let dropped = self.outputs.dropped();
        (stats.dropped_output_bytes, stats.dropped_output_lines) = (dropped.bytes, dropped.lines);
        stats.dropped_events = self.events.dropped_lines();
        stats
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters.iter().cloned().collect()
    }

    /// Handles all events that have arrived. The task of `cx` is woken for the next event.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        // The runtime's cooperative budget limits the number of events in a turn.
        while let Poll::Ready(Some(input)) = self.inputs.poll_recv(cx) {
            self.handle(input);
        }
        let has_more = [self.forward_output(), self.read_large_answer()].contains(&true);
        if has_more {
            cx.waker().wake_by_ref();
        }
        self.events.poll(cx);
        self.pump();
        while self.is_timer_due(cx) {
            self.timer_at = None;
            self.tick();
            self.pump();
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::LinkAdded(link) => self.add_link(link),
            Input::LinkReady(child) => self.link_ready(child),
            Input::RetrySend(child) => self.retry_send(child),
            Input::WorkerForked(child, pid) => self.worker_forked(child, pid),
            Input::ForkFailed(child, reason) => self.fork_failed(child, reason),
            Input::WorkerExited(ChildExited { child, cause, requests, .. }) => {
                self.worker_gone(child, WorkerExit { cause, requests });
            }
            Input::OutputReady(child, stream) => self.watch_output((child, stream)),
            Input::OutputReportDue(child, stream) => self.report_dropped_output(child, stream),
            Input::FutureDropped(key) => self.cancel_if_dropped(key),
            Input::Answered(job, started_at, result) => {
                self.complete_outside_workers(*job, started_at, result);
            }
            Input::Cancel(token, if_running, outcome) => {
                // The sender of the message may not wait for the outcome.
                let _ = outcome.send(self.cancel(&token, if_running));
            }
            Input::OperatorPause(pause) => self.scheduler.set_operator_pause(pause, now()),
            Input::Stop(mode, drained) => {
                self.scheduler.stop(mode, now());
                self.drained.push(drained);
                self.reject_if_no_workers_left();
            }
            Input::DaemonStopped(answered) => {
                self.daemon_stopped();
                // This fails if the daemon no longer waits.
                let _ = answered.send(());
            }
        }
    }

    /// Runs the checks that are due.
    fn tick(&mut self) {
        let time = now();
        if self.scheduler.wake_at().is_some_and(|at| at <= time) {
            for child in self.scheduler.with_overdue_messages(time) {
                self.read_link(child);
            }
            self.scheduler.tick(now());
        }
        if self.lower_demand_at.take_if(|at| *at <= time).is_some()
            && let Some(demand) = self.demand()
        {
            self.set_demand(demand);
        }
        self.events.report_dropped();
    }

    /// Carries out the scheduler's actions, sends the data of all links, and updates the demand and
    /// the timer.
    fn pump(&mut self) {
        if std::mem::take(&mut self.has_admitted) {
            self.scheduler.assign(now());
        }
        // A link that cannot be written causes further actions.
        loop {
            self.carry_out_actions();
            if !self.flush() {
                break;
            }
        }
        self.log_shortage();
        self.report_demand();
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

    fn kill(&mut self, pid: Pid, kill_reason: WorkerKillReason) {
        let ExecutionMode::Workers { daemon, .. } = &self.execution else { return };
        let (worker, reason) = (pid.as_raw(), kill_reason.word());
        match kill_reason {
            WorkerKillReason::HardLimit => {
                report!(self.events, warn, "killing worker"; "worker" => worker, "reason" => reason);
                daemon.do_send(KillRogue { pid, violation: Violation::Time });
            }
            WorkerKillReason::NotReady => {
                report!(self.events, warn, "killing worker"; "worker" => worker, "reason" => reason);
                daemon.do_send(KillRogue { pid, violation: Violation::Boot });
            }
            WorkerKillReason::Unresponsive
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
            WorkerKillReason::HookPanicked => daemon.do_send(Kill(pid)),
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
        } else if demand < self.reported_demand && self.lower_demand_at.is_none() {
            self.lower_demand_at = Some(now() + DEMAND_DELAY);
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

    /// Sets the timer to the time of the next check, unless the timer is due earlier. Returns
    /// whether the timer is due.
    fn is_timer_due(&mut self, cx: &mut Context<'_>) -> bool {
        let due = [self.scheduler.wake_at(), self.lower_demand_at, self.events.report_due()];
        let Some(due) = due.into_iter().flatten().min() else { return false };
        if self.timer_at.is_some_and(|timer_at| timer_at <= due) {
            return self.timer.is_elapsed();
        }
        self.timer_at = Some(due);
        // The runtime's timer has a resolution of one millisecond, and can fire early by a fraction
        // of that. The minimum prevents a loop without a wait.
        let left = due.saturating_since(now()).max(Duration::from_micros(200));
        self.timer.as_mut().reset(Instant::now() + left);
        // Without `unconstrained`, the timer would not be started if tokio's cooperative budget is
        // used up.
        pin!(unconstrained(self.timer.as_mut())).poll(cx).is_ready()
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
    fn daemon_stopped(&mut self) {
        self.scheduler.stop(StopMode::Immediate, now());
        let links = self.links.iter().flatten().chain(&self.former_links);
        let children: Vec<_> = links.map(|link| link.child).collect();
        for child in children {
            self.drain_link(child);
            self.remove_worker(child, WorkerExit { cause: ExitCause::Missing, requests: 0 });
        }
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
}
