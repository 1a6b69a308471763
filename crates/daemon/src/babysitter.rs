//! The babysitter reads the process table and the scoreboard, compares the children with their
//! limits, collects evidence, and sends the daemon the actions to take. It never acts on a child
//! itself.

mod evidence;
mod settings;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix::fut::WrapFuture;
use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, ResponseActFuture,
};
use daemon_core::{
    Action, ActionKind, Babysitter, Confirmation, LadderStep, MonotonicTime, Phase, Presence,
    ProcessSample, RecycleReason, ScanResult, ScoreboardReader, SlotEntry, Status, Violation,
};
use daemon_forkserver::{ChildId, SymbolLookup, now};
use daemon_protocol::{ChildReport, Evidence};
use daemon_sys::process::Pid;
use daemon_sys::trace::BacktraceRequester;
use futures::channel::oneshot;
use slog::{Logger, warn};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub(crate) use evidence::SlowLog;
use evidence::{CollectedEvidence, EvidenceCollector, PendingRecord, SymbolResolver};
pub use settings::{Babysit, MemoryMeasure};

use crate::messages::{TraceChild, TraceError};
use crate::process_table::{TableError, inspect, presences};

/// How long each of three operations may delay a step against a rogue: the two steps of the
/// inspection of the process, and the lookup of the function names.
const TIMEOUT: Duration = Duration::from_millis(100);

/// How long reading the process table may take. If it takes longer, the babysitter logs this once
/// and tries again at the next interval.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The time after which the answer to [`TraceChild`] no longer waits for the function names. The
/// command `daemonctl trace` waits 5 s for its answer.
const TRACE_MAX: Duration = Duration::from_secs(4);

/// How long a [`TraceChild`] waits for those that arrived before it.
const TRACE_TURN_MAX: Duration = Duration::from_secs(3);

/// How long a record of the slow log waits for the function names. Other lookups may come first.
const SLOWLOG_SYMBOLS_MAX: Duration = Duration::from_secs(60);

/// A report of the babysitter, or an action that it requests. The daemon carries out actions
/// through the fork server.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub(crate) enum BabysitterAction {
    /// Takes a step against a rogue.
    Step {
        child: ChildId,
        pid: Pid,
        violation: Violation,
        step: LadderStep,
        evidence: Option<Arc<Evidence>>,
    },
    /// A rogue no longer violates its limits.
    Recovered { child: ChildId, pid: Pid, violation: Violation },
    /// Recycles a child after its current request.
    Recycle { child: ChildId, reason: RecycleReason },
    /// A request is slow.
    Slow { child: ChildId, pid: Pid, evidence: Arc<Evidence> },
    /// A child is missing from the process table, and its exit was not reported.
    Missing { child: ChildId, pid: Pid },
    /// The process table was read, and all children were compared with their limits.
    Sampled,
    /// Sends a child the signal that requests its backtrace.
    RequestBacktrace { child: ChildId },
    /// Starts a lookup of the functions at the addresses of backtraces. If it cannot be started,
    /// `answer` is dropped.
    LookUpSymbols { backtraces: Vec<Vec<usize>>, answer: oneshot::Sender<SymbolLookup> },
}

/// Sent by the daemon when a child is not ready in time after its fork. The babysitter collects
/// evidence and then requests that the child is killed, whether or not it checks children
/// otherwise.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub(crate) struct NotReady {
    pub(crate) child: ChildId,
    pub(crate) pid: Pid,
}

/// Polls the process table and reports rogue and missing children to the daemon.
///
/// The daemon starts this actor, see [`DaemonBuilder::babysit`](crate::DaemonBuilder::babysit). The
/// actor checks only the daemon's own children.
#[derive(Debug)]
pub struct BabysitterActor {
    daemon: Recipient<BabysitterAction>,
    board: ScoreboardReader,
    babysitter: Babysitter,
    measure: MemoryMeasure,
    /// Whether a problem with the process table was logged.
    has_warned: bool,
    /// Whether the process table is being read.
    is_sampling: bool,
    interval: Option<Duration>,
    next_sample: MonotonicTime,
    collector: EvidenceCollector,
    resolver: Rc<SymbolResolver>,
    /// The permit to collect the evidence for a [`TraceChild`].
    trace_turn: Arc<Semaphore>,
    slowlog: SlowLog,
    log: Logger,
}

#[derive(Debug)]
pub(crate) struct BabysitterConfig {
    pub(crate) babysit: Babysit,
    pub(crate) backtraces: Option<BacktraceRequester>,
    pub(crate) slowlog: SlowLog,
}

impl BabysitterActor {
    pub(crate) fn new(
        babysitting: BabysitterConfig,
        daemon: Recipient<BabysitterAction>,
        board: ScoreboardReader,
        log: Logger,
    ) -> Self {
        let BabysitterConfig { babysit, backtraces, slowlog } = babysitting;
        let interval = babysit.interval;
        let ladder = babysit
            .ladder
            .clone()
            .unwrap_or_else(|| daemon_core::Ladder::with_interval(interval.unwrap_or_default()));
        BabysitterActor {
            resolver: Rc::new(SymbolResolver::new(daemon.clone())),
            daemon,
            board,
            babysitter: Babysitter::new(babysit.limits.clone(), ladder, now()),
            measure: babysit.measure,
            has_warned: false,
            is_sampling: false,
            interval,
            next_sample: now() + interval.unwrap_or_default(),
            collector: EvidenceCollector::new(backtraces),
            trace_turn: Arc::new(Semaphore::new(1)),
            slowlog,
            log,
        }
    }

    fn children(&self) -> Vec<SlotEntry> {
        self.board.observe_all(now()).filter(|entry| entry.pid != 0).collect()
    }

    /// Checks all children, sends the actions that are due, and schedules the next check.
    fn check_children(&mut self, interval: Duration, ctx: &mut Context<Self>) {
        if self.is_stopping() {
            return;
        }
        let time = now();
        if time >= self.next_sample {
            self.next_sample = time + interval;
            self.sample(ctx);
        }
        let entries = self.children();
        self.judge(&entries, &HashMap::new(), ctx);
        let slots = self.board.slots();
        let due = self.babysitter.next_scan(entries, slots, self.next_sample, now());
        let pause = due.saturating_since(now());
        ctx.run_later(pause, move |babysitter, ctx| babysitter.check_children(interval, ctx));
    }

    /// Returns whether the daemon is stopping. While it stops, the grace period applies to all
    /// children instead of their limits.
    fn is_stopping(&self) -> bool {
        matches!(self.board.phase(), Phase::Stopping | Phase::Stopped)
    }

    /// Reads the process table on another thread, because the read may block, and then compares the
    /// children with their limits.
    fn sample(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_sampling, true) {
            return;
        }
        let pids: Vec<u32> = self.children().iter().map(|entry| entry.pid).collect();
        let by_share = self.measure == MemoryMeasure::Pss;
        let read = presences(pids, by_share, SAMPLE_TIMEOUT);
        let judged =
            read.into_actor(self).map(|read, babysitter, ctx| babysitter.sampled(read, ctx));
        ctx.spawn(judged);
    }

    fn sampled(
        &mut self,
        read: Result<HashMap<u32, Presence>, TableError>,
        ctx: &mut Context<Self>,
    ) {
        self.is_sampling = false;
        match read {
            Ok(presences) => {
                if !self.is_stopping() {
                    self.warn_of_hidden_children(&presences);
                    self.judge(&self.children(), &presences, ctx);
                    self.daemon.do_send(BabysitterAction::Sampled);
                }
            }
            Err(error) => self.warn_once(&error.to_string()),
        }
    }

    fn warn_of_hidden_children(&mut self, presences: &HashMap<u32, Presence>) {
        let is_limited = self.babysitter.limits().soft_memory.is_some()
            || self.babysitter.limits().hard_memory.is_some();
        for presence in presences.values() {
            match presence {
                Presence::Hidden => self.warn_once("some children are hidden"),
                Presence::Seen(ProcessSample { memory: None, .. }) if is_limited => {
                    self.warn_once("the memory of some children is hidden");
                }
                Presence::Seen(_) | Presence::Gone | Presence::NotChecked => {}
            }
        }
    }

    fn warn_once(&mut self, reason: &str) {
        if !self.has_warned {
            self.has_warned = true;
            warn!(
                self.log, "process table is incomplete, so some limits are not enforced";
                "reason" => reason
            );
        }
    }

    fn judge(
        &mut self,
        entries: &[SlotEntry],
        presences: &HashMap<u32, Presence>,
        ctx: &mut Context<Self>,
    ) {
        let looked = entries.iter().map(|entry| ScanResult {
            entry: *entry,
            presence: presences.get(&entry.pid).copied().unwrap_or(Presence::NotChecked),
        });
        for action in self.babysitter.scan(looked, self.board.slots(), now()) {
            self.run(action, ctx);
        }
    }

    fn run(&mut self, action: Action, ctx: &mut Context<Self>) {
        let Some(pid) = i32::try_from(action.pid).ok().and_then(Pid::from_raw) else {
            return;
        };
        let child = ChildId { slot: action.slot, generation: action.generation };
        match action.kind {
            ActionKind::FirstStep(violation, step) => {
                let taken = self.evidence_for_step(child, pid, action.request_cpu);
                let take_step = taken.into_actor(self).map(move |taken, babysitter, ctx| {
                    let entry = babysitter.board.observe(action.slot, now());
                    let slots = babysitter.board.slots();
                    let confirmed = babysitter.babysitter.confirm(&action, &entry, slots, now());
                    if babysitter.is_stopping() || confirmed == Confirmation::Outdated {
                        return;
                    }
                    let evidence = Some(Arc::new(taken.evidence.clone()));
                    babysitter.daemon.do_send(BabysitterAction::Step {
                        child,
                        pid,
                        violation,
                        step,
                        evidence,
                    });
                    babysitter.record(taken, format!("rogue: {violation}"), ctx);
                });
                ctx.spawn(take_step);
            }
            ActionKind::NextStep(violation, step) => {
                let evidence = None;
                self.daemon.do_send(BabysitterAction::Step {
                    child,
                    pid,
                    violation,
                    step,
                    evidence,
                });
            }
            ActionKind::Recovered(violation) => {
                self.daemon.do_send(BabysitterAction::Recovered { child, pid, violation });
            }
            ActionKind::Recycle(reason) => {
                self.daemon.do_send(BabysitterAction::Recycle { child, reason });
            }
            ActionKind::SlowRequest => {
                let taken = self.evidence_for_step(child, pid, action.request_cpu);
                let slow = taken.into_actor(self).map(move |taken, babysitter, ctx| {
                    let evidence = Arc::new(taken.evidence.clone());
                    babysitter.daemon.do_send(BabysitterAction::Slow { child, pid, evidence });
                    babysitter.record(taken, "slow request".to_owned(), ctx);
                });
                ctx.spawn(slow);
            }
            ActionKind::Missing => self.daemon.do_send(BabysitterAction::Missing { child, pid }),
        }
    }

    /// Waits for the lookup of the function names, and then writes the evidence to the slow log.
    /// The write runs on a blocking thread of the runtime, which waits for this thread when it
    /// shuts down (in [`run`](crate::Launched::run) for a limited time), so that the record is not
    /// lost. If it shuts down earlier, it drops the waiting record, which writes it.
    fn record(&self, mut taken: CollectedEvidence, reason: String, ctx: &mut Context<Self>) {
        let mut record = PendingRecord {
            evidence: taken.evidence.clone(),
            reason,
            slowlog: self.slowlog.clone(),
            log: self.log.clone(),
        };
        let write = async move {
            taken.wait_for_symbols(SLOWLOG_SYMBOLS_MAX).await;
            record.evidence = taken.evidence;
            spawn_blocking(move || drop(record));
        };
        ctx.spawn(write.into_actor(self));
    }

    /// Collects evidence of a child before a step, and waits a short time for the function names.
    fn evidence_for_step(
        &self,
        child: ChildId,
        pid: Pid,
        request_cpu: Option<Duration>,
    ) -> impl Future<Output = CollectedEvidence> + use<> {
        let taken = self.evidence(child, pid, request_cpu);
        async move {
            let mut taken = taken.await;
            taken.wait_for_symbols(TIMEOUT).await;
            taken
        }
    }

    /// Collects evidence of a child, including a backtrace if the child answers in time. The lookup
    /// of the function names has only started.
    fn evidence(
        &self,
        child: ChildId,
        pid: Pid,
        request_cpu: Option<Duration>,
    ) -> impl Future<Output = CollectedEvidence> + use<> {
        let report = ChildReport::of(&self.board.observe(child.slot, now()), now());
        let (collector, daemon) = (self.collector.clone(), self.daemon.clone());
        let resolver = Rc::clone(&self.resolver);
        async move {
            let number = pid.as_raw().unsigned_abs();
            // Inspect the child before requesting its backtrace, because the signal that requests
            // the backtrace may interrupt the system call in which the child waits.
            let info = inspect(number, TIMEOUT).await;
            let mut evidence = Evidence::of(&report, SystemTime::now());
            info.add_to(&mut evidence);
            evidence.request_cpu = evidence.cpu.and(request_cpu);
            let answer = collector
                .trace(pid, || daemon.do_send(BabysitterAction::RequestBacktrace { child }))
                .await;
            CollectedEvidence::of(evidence, answer, &resolver)
        }
    }
}

impl Actor for BabysitterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(interval) = self.interval {
            let due = self.babysitter.next_scan([], self.board.slots(), self.next_sample, now());
            let pause = due.saturating_since(now());
            ctx.run_later(pause, move |babysitter, ctx| babysitter.check_children(interval, ctx));
        }
    }
}

impl Handler<NotReady> for BabysitterActor {
    type Result = ();

    fn handle(&mut self, NotReady { child, pid }: NotReady, ctx: &mut Self::Context) {
        let taken = self.evidence_for_step(child, pid, None);
        let kill = taken.into_actor(self).map(move |taken, babysitter, ctx| {
            let violation = Violation::Boot;
            babysitter.daemon.do_send(BabysitterAction::Step {
                child,
                pid,
                violation,
                step: LadderStep::Kill,
                evidence: Some(Arc::new(taken.evidence.clone())),
            });
            babysitter.record(taken, format!("rogue: {violation}"), ctx);
        });
        ctx.spawn(kill);
    }
}

impl Handler<TraceChild> for BabysitterActor {
    type Result = ResponseActFuture<Self, Result<Arc<Evidence>, TraceError>>;

    fn handle(&mut self, TraceChild(pid): TraceChild, _ctx: &mut Self::Context) -> Self::Result {
        let number = u32::try_from(pid.as_raw()).unwrap_or(0);
        let entry = self.board.entries().find(|entry| {
            entry.pid == number && entry.status.is_some_and(|status| status != Status::Empty)
        });
        let taken = entry.map(|entry| {
            let child = ChildId { slot: entry.slot, generation: entry.generation };
            self.evidence(child, pid, None)
        });
        let (turn, deadline) = (Arc::clone(&self.trace_turn), Instant::now() + TRACE_MAX);
        let answer = async move {
            let Some(taken) = taken else {
                return Err(TraceError::NoSuchChild(pid));
            };
            // Only one child can be asked for its backtrace at a time. After the wait, the evidence
            // is collected in any case.
            let turn = timeout(TRACE_TURN_MAX, turn.acquire()).await;
            let mut taken = taken.await;
            drop(turn);
            taken.wait_for_symbols(deadline.saturating_duration_since(Instant::now())).await;
            Ok(Arc::new(taken.evidence))
        };
        Box::pin(answer.into_actor(self))
    }
}
