//! The babysitter: it looks at the process table and the scoreboard, has the rules judge, takes
//! evidence, and tells the daemon what to do. It does nothing to a child itself.

mod collected;
mod evidence_collector;
mod presence;
mod settings;
mod slowlog;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix::fut::WrapFuture;
use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, ResponseActFuture,
};
use daemon_core::{
    Action, Babysitter, Board, Confirmed, Entry, LadderStep, MonotonicTime, Phase, Presence,
    RecycleReason, Sample, ScanResult, Status, Violation, Why,
};
use daemon_forkserver::{ChildId, now};
use daemon_sys::process::Pid;
use daemon_sys::trace::BacktraceRequester;
use futures::executor::block_on;
use slog::{Logger, warn};
use tokio::task::spawn_blocking;

use collected::CollectedEvidence;
use evidence_collector::EvidenceCollector;
pub use settings::{Babysit, MemoryMeasure};
pub(crate) use slowlog::SlowLog;

use crate::blocking::blocking;
use crate::evidence::{Evidence, inspect};
use crate::messages::{TraceChild, TraceError};
use crate::status::ChildReport;

/// How long a look at a process, or at its names, may take before a step goes on without.
const TIMEOUT: Duration = Duration::from_millis(100);

/// How long it may take to read the process table before that is told, and tried again.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the babysitter wants done: the daemon does it, by way of the fork server.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub(crate) enum BabysitterAction {
    /// A step against a rogue.
    Step {
        child: ChildId,
        pid: Pid,
        violation: Violation,
        step: LadderStep,
        evidence: Option<Arc<Evidence>>,
    },
    /// It has come back to normal.
    Recovered { child: ChildId, pid: Pid, violation: Violation },
    /// It is recycled after the request in hand.
    Recycle { child: ChildId, spent: RecycleReason },
    /// Its request is slow.
    Slow { child: ChildId, pid: Pid, evidence: Arc<Evidence> },
    /// It is gone, and nobody has reported its end.
    Missing { child: ChildId, pid: Pid },
    /// The process table was read, and all children were judged by it.
    Sampled,
    /// It is asked for its backtrace.
    RequestBacktrace { child: ChildId },
}

/// Polls the process table, and deals with rogue and missing children.
///
/// The daemon starts it, see [`DaemonBuilder::babysit`](crate::DaemonBuilder::babysit). It looks at the daemon's
/// own children only.
#[derive(Debug)]
pub struct BabysitterActor {
    daemon: Recipient<BabysitterAction>,
    board: Board,
    babysitter: Babysitter,
    step: MemoryMeasure,
    /// What could not be read of the process table was told.
    has_warned: bool,
    sampling: SampleState,
    interval: Option<Duration>,
    next_sample: MonotonicTime,
    collector: EvidenceCollector,
    slowlog: SlowLog,
    log: Logger,
}

/// What was read of the process table.
type Read = Result<HashMap<u32, Presence>, sysinfo::Error>;

/// Whether the process table is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SampleState {
    Idle,
    Running,
}

/// What there is to watch with.
#[derive(Debug)]
pub(crate) struct BabysitterConfig {
    pub(crate) babysit: Babysit,
    pub(crate) asker: Option<BacktraceRequester>,
    pub(crate) slowlog: SlowLog,
}

impl BabysitterActor {
    pub(crate) fn new(
        babysitting: BabysitterConfig,
        daemon: Recipient<BabysitterAction>,
        board: Board,
        log: Logger,
    ) -> Self {
        let BabysitterConfig { babysit, asker, slowlog } = babysitting;
        let interval = babysit.interval;
        let ladder = babysit
            .ladder
            .clone()
            .unwrap_or_else(|| daemon_core::Ladder::of_interval(interval.unwrap_or_default()));
        BabysitterActor {
            daemon,
            board,
            babysitter: Babysitter::new(babysit.limits.clone(), ladder, now()),
            step: babysit.step,
            has_warned: false,
            sampling: SampleState::Idle,
            interval,
            next_sample: now() + interval.unwrap_or_default(),
            collector: EvidenceCollector::new(asker),
            slowlog,
            log,
        }
    }

    fn children(&self) -> Vec<Entry> {
        self.board.entries().filter(|entry| entry.pid != 0).collect()
    }

    /// Looks at all children, has done what is to be done, and plans the next look.
    fn look(&mut self, interval: Duration, ctx: &mut Context<Self>) {
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
        let due = self.babysitter.next_look(entries, slots, self.next_sample, now());
        let pause = due.saturating_since(now());
        ctx.run_later(pause, move |babysitter, ctx| babysitter.look(interval, ctx));
    }

    /// The end of the daemon has its own grace, for all children.
    fn is_stopping(&self) -> bool {
        matches!(self.board.phase(), Phase::Stopping | Phase::Stopped)
    }

    /// Reads the process table, aside: it may take its time. What it tells is judged then.
    fn sample(&mut self, ctx: &mut Context<Self>) {
        if let SampleState::Running = self.sampling {
            return;
        }
        self.sampling = SampleState::Running;
        let pids: Vec<u32> = self.children().iter().map(|entry| entry.pid).collect();
        let step = self.step;
        let read = blocking(SAMPLE_TIMEOUT, move || presence::presences(&pids, step));
        let judged =
            read.into_actor(self).map(|read, babysitter, ctx| babysitter.sampled(read, ctx));
        ctx.spawn(judged);
    }

    fn sampled(&mut self, read: Option<Read>, ctx: &mut Context<Self>) {
        self.sampling = SampleState::Idle;
        match read {
            Some(Ok(presences)) => {
                if !self.is_stopping() {
                    self.warn_of_hidden_children(&presences);
                    self.judge(&self.children(), &presences, ctx);
                    self.daemon.do_send(BabysitterAction::Sampled);
                }
            }
            Some(Err(error)) => self.warn_once(&error.to_string()),
            None => self.warn_once("it does not answer"),
        }
    }

    fn warn_of_hidden_children(&mut self, presences: &HashMap<u32, Presence>) {
        let is_limited = self.babysitter.limits().soft_memory.is_some()
            || self.babysitter.limits().hard_memory.is_some();
        for presence in presences.values() {
            match presence {
                Presence::Hidden => self.warn_once("it does not show all children"),
                Presence::Seen(Sample { memory: None, .. }) if is_limited => {
                    self.warn_once("it does not tell the memory of all children");
                }
                Presence::Seen(_) | Presence::Gone | Presence::NotChecked => {}
            }
        }
    }

    fn warn_once(&mut self, why: &str) {
        if !self.has_warned {
            self.has_warned = true;
            warn!(
                self.log,
                "the process table tells too little, and limits that need it do not hold: {}", why
            );
        }
    }

    fn judge(
        &mut self,
        entries: &[Entry],
        presences: &HashMap<u32, Presence>,
        ctx: &mut Context<Self>,
    ) {
        let looked = entries.iter().map(|entry| ScanResult {
            entry: *entry,
            presence: presences.get(&entry.pid).copied().unwrap_or(Presence::NotChecked),
        });
        for action in self.babysitter.look(looked, self.board.slots(), now()) {
            self.run(action, ctx);
        }
    }

    fn run(&mut self, action: Action, ctx: &mut Context<Self>) {
        let Some(pid) = i32::try_from(action.pid).ok().and_then(Pid::from_raw) else {
            return;
        };
        let child = ChildId { slot: action.slot, generation: action.generation };
        match action.why {
            Why::First(violation, step) => {
                let taken = self.evidence(child, pid, action.cpu_of_request);
                let step = taken.into_actor(self).map(move |taken, babysitter, _ctx| {
                    let entry = babysitter.board.read(action.slot);
                    let slots = babysitter.board.slots();
                    let confirmed = babysitter.babysitter.confirm(&action, &entry, slots, now());
                    if babysitter.is_stopping() || confirmed == Confirmed::No {
                        return;
                    }
                    let evidence = Some(Arc::new(taken.evidence.clone()));
                    let step = BabysitterAction::Step { child, pid, violation, step, evidence };
                    babysitter.daemon.do_send(step);
                    babysitter.record(taken, format!("rogue: {violation}"));
                });
                ctx.spawn(step);
            }
            Why::Next(violation, step) => {
                let step = BabysitterAction::Step { child, pid, violation, step, evidence: None };
                self.daemon.do_send(step);
            }
            Why::Recovered(violation) => {
                self.daemon.do_send(BabysitterAction::Recovered { child, pid, violation });
            }
            Why::Recycle(spent) => self.daemon.do_send(BabysitterAction::Recycle { child, spent }),
            Why::Slow => {
                let taken = self.evidence(child, pid, action.cpu_of_request);
                let told = taken.into_actor(self).map(move |taken, babysitter, _ctx| {
                    let evidence = Arc::new(taken.evidence.clone());
                    babysitter.daemon.do_send(BabysitterAction::Slow { child, pid, evidence });
                    babysitter.record(taken, "a slow request".to_owned());
                });
                ctx.spawn(told);
            }
            Why::Missing => self.daemon.do_send(BabysitterAction::Missing { child, pid }),
        }
    }

    /// Writes the evidence to the slow log, once all of it has its names. On a thread of the runtime,
    /// which waits for it when it ends: no record is lost.
    fn record(&self, taken: CollectedEvidence, why: String) {
        let (slowlog, log) = (self.slowlog.clone(), self.log.clone());
        spawn_blocking(move || slowlog.write(&block_on(taken.named()), &why, &log));
    }

    /// Takes the evidence of what a child does, its own backtrace among it if it answers in time.
    fn evidence(
        &self,
        child: ChildId,
        pid: Pid,
        cpu_of_request: Option<Duration>,
    ) -> impl Future<Output = CollectedEvidence> + use<> {
        let seen = ChildReport::of(&self.board.read(child.slot), now());
        let (collector, daemon) = (self.collector.clone(), self.daemon.clone());
        async move {
            let number = pid.as_raw().unsigned_abs();
            // Before the child is asked, which may wake it: what it waits for is part of it. And on
            // another thread: to look at a process that the kernel is busy with may take for ever.
            let inspect = blocking(TIMEOUT, move || inspect(number)).await;
            let (inspect, taken) = (inspect.unwrap_or_default(), SystemTime::now());
            let evidence = Evidence::of(&seen, inspect, cpu_of_request, taken);
            let answer = collector
                .trace(pid, || daemon.do_send(BabysitterAction::RequestBacktrace { child }))
                .await;
            CollectedEvidence::of(evidence, answer).await
        }
    }
}

impl Actor for BabysitterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(interval) = self.interval {
            let due = self.babysitter.next_look([], self.board.slots(), self.next_sample, now());
            let pause = due.saturating_since(now());
            ctx.run_later(pause, move |babysitter, ctx| babysitter.look(interval, ctx));
        }
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
        let answer = async move {
            match taken {
                None => Err(TraceError::NoSuchChild(pid)),
                Some(taken) => Ok(Arc::new(taken.await.named().await)),
            }
        };
        Box::pin(answer.into_actor(self))
    }
}
