//! The babysitter: it looks at the process table and the scoreboard, has the rules judge, takes
//! evidence, and tells the daemon what to do. It does nothing to a child itself.

mod settings;
mod slowlog;
mod table;
mod taken;
mod witness;

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

pub use settings::{Babysit, MemoryMeasure};
pub(crate) use slowlog::SlowLog;
use taken::Taken;
use witness::Witness;

use crate::aside::aside;
use crate::evidence::{Evidence, sight};
use crate::messages::{TraceChild, TraceError};
use crate::status::ChildReport;
use crate::told::Told;

/// How long a look at a process, or at its names, may take before a step goes on without.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long it may take to read the process table before that is told, and tried again.
const SAMPLE_PATIENCE: Duration = Duration::from_secs(10);

/// What the babysitter wants done: the daemon does it, by way of the fork server.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub(crate) enum Verdict {
    /// A step against a rogue.
    Step {
        child: ChildId,
        pid: Pid,
        offence: Violation,
        measure: LadderStep,
        evidence: Option<Arc<Evidence>>,
    },
    /// It has come back to normal.
    Recovered { child: ChildId, pid: Pid, offence: Violation },
    /// It is recycled after the request in hand.
    Recycle { child: ChildId, spent: RecycleReason },
    /// Its request is slow.
    Slow { child: ChildId, pid: Pid, evidence: Arc<Evidence> },
    /// It is gone, and nobody has reported its end.
    Missing { child: ChildId, pid: Pid },
    /// The process table was read, and all children were judged by it.
    Sampled,
    /// It is asked for its backtrace.
    Ask { child: ChildId },
}

/// Polls the process table, and deals with rogue and missing children.
///
/// The daemon starts it, see [`DaemonBuilder::babysit`](crate::DaemonBuilder::babysit). It looks at the daemon's
/// own children only.
#[derive(Debug)]
pub struct BabysitterActor {
    daemon: Recipient<Verdict>,
    board: Board,
    babysitter: Babysitter,
    measure: MemoryMeasure,
    /// What could not be read of the process table was told.
    told: Told,
    sampling: Sampling,
    interval: Option<Duration>,
    next_sample: MonotonicTime,
    witness: Witness,
    slowlog: SlowLog,
    log: Logger,
}

/// What was read of the process table.
type Read = Result<HashMap<u32, Presence>, sysinfo::Error>;

/// Whether the process table is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sampling {
    Not,
    UnderWay,
}

/// What there is to watch with.
#[derive(Debug)]
pub(crate) struct Babysitting {
    pub(crate) babysit: Babysit,
    pub(crate) asker: Option<BacktraceRequester>,
    pub(crate) slowlog: SlowLog,
}

impl BabysitterActor {
    pub(crate) fn new(
        babysitting: Babysitting,
        daemon: Recipient<Verdict>,
        board: Board,
        log: Logger,
    ) -> Self {
        let Babysitting { babysit, asker, slowlog } = babysitting;
        let interval = babysit.interval;
        let ladder = babysit
            .ladder
            .clone()
            .unwrap_or_else(|| daemon_core::Ladder::of_interval(interval.unwrap_or_default()));
        BabysitterActor {
            daemon,
            board,
            babysitter: Babysitter::new(babysit.limits.clone(), ladder, now()),
            measure: babysit.measure,
            told: Told::No,
            sampling: Sampling::Not,
            interval,
            next_sample: now() + interval.unwrap_or_default(),
            witness: Witness::new(asker),
            slowlog,
            log,
        }
    }

    fn children(&self) -> Vec<Entry> {
        self.board.entries().filter(|entry| entry.pid != 0).collect()
    }

    /// Looks at all children, has done what is to be done, and plans the next look.
    fn look(&mut self, interval: Duration, ctx: &mut Context<Self>) {
        if self.rests() {
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
    fn rests(&self) -> bool {
        matches!(self.board.phase(), Phase::Stopping | Phase::Stopped)
    }

    /// Reads the process table, aside: it may take its time. What it tells is judged then.
    fn sample(&mut self, ctx: &mut Context<Self>) {
        if let Sampling::UnderWay = self.sampling {
            return;
        }
        self.sampling = Sampling::UnderWay;
        let pids: Vec<u32> = self.children().iter().map(|entry| entry.pid).collect();
        let measure = self.measure;
        let read = aside(SAMPLE_PATIENCE, move || table::presences(&pids, measure));
        let judged =
            read.into_actor(self).map(|read, babysitter, ctx| babysitter.sampled(read, ctx));
        ctx.spawn(judged);
    }

    fn sampled(&mut self, read: Option<Read>, ctx: &mut Context<Self>) {
        self.sampling = Sampling::Not;
        match read {
            Some(Ok(presences)) => {
                if !self.rests() {
                    self.tell_what_is_hidden(&presences);
                    self.judge(&self.children(), &presences, ctx);
                    self.daemon.do_send(Verdict::Sampled);
                }
            }
            Some(Err(error)) => self.tell_once(&error.to_string()),
            None => self.tell_once("it does not answer"),
        }
    }

    fn tell_what_is_hidden(&mut self, presences: &HashMap<u32, Presence>) {
        let is_limited = self.babysitter.limits().soft_memory.is_some()
            || self.babysitter.limits().hard_memory.is_some();
        for presence in presences.values() {
            match presence {
                Presence::Hidden => self.tell_once("it does not show all children"),
                Presence::Seen(Sample { memory: None, .. }) if is_limited => {
                    self.tell_once("it does not tell the memory of all children");
                }
                Presence::Seen(_) | Presence::Gone | Presence::NotChecked => {}
            }
        }
    }

    fn tell_once(&mut self, why: &str) {
        if self.told == Told::No {
            self.told = Told::Yes;
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
        for errand in self.babysitter.look(looked, self.board.slots(), now()) {
            self.run(errand, ctx);
        }
    }

    fn run(&mut self, errand: Action, ctx: &mut Context<Self>) {
        let Some(pid) = i32::try_from(errand.pid).ok().and_then(Pid::from_raw) else {
            return;
        };
        let child = ChildId { slot: errand.slot, generation: errand.generation };
        match errand.why {
            Why::First(offence, measure) => {
                let taken = self.evidence(child, pid, errand.cpu_of_request);
                let step = taken.into_actor(self).map(move |taken, babysitter, _ctx| {
                    let entry = babysitter.board.read(errand.slot);
                    let slots = babysitter.board.slots();
                    let confirmed = babysitter.babysitter.confirm(&errand, &entry, slots, now());
                    if babysitter.rests() || confirmed == Confirmed::No {
                        return;
                    }
                    let evidence = Some(Arc::new(taken.evidence.clone()));
                    let step = Verdict::Step { child, pid, offence, measure, evidence };
                    babysitter.daemon.do_send(step);
                    babysitter.record(taken, format!("rogue: {offence}"));
                });
                ctx.spawn(step);
            }
            Why::Next(offence, measure) => {
                let step = Verdict::Step { child, pid, offence, measure, evidence: None };
                self.daemon.do_send(step);
            }
            Why::Recovered(offence) => {
                self.daemon.do_send(Verdict::Recovered { child, pid, offence });
            }
            Why::Recycle(spent) => self.daemon.do_send(Verdict::Recycle { child, spent }),
            Why::Slow => {
                let taken = self.evidence(child, pid, errand.cpu_of_request);
                let told = taken.into_actor(self).map(move |taken, babysitter, _ctx| {
                    let evidence = Arc::new(taken.evidence.clone());
                    babysitter.daemon.do_send(Verdict::Slow { child, pid, evidence });
                    babysitter.record(taken, "a slow request".to_owned());
                });
                ctx.spawn(told);
            }
            Why::Missing => self.daemon.do_send(Verdict::Missing { child, pid }),
        }
    }

    /// Writes the evidence to the slow log, once all of it has its names. On a thread of the runtime,
    /// which waits for it when it ends: no record is lost.
    fn record(&self, taken: Taken, why: String) {
        let (slowlog, log) = (self.slowlog.clone(), self.log.clone());
        spawn_blocking(move || slowlog.write(&block_on(taken.named()), &why, &log));
    }

    /// Takes the evidence of what a child does, its own backtrace among it if it answers in time.
    fn evidence(
        &self,
        child: ChildId,
        pid: Pid,
        cpu_of_request: Option<Duration>,
    ) -> impl Future<Output = Taken> + use<> {
        let seen = ChildReport::of(&self.board.read(child.slot), now());
        let (witness, daemon) = (self.witness.clone(), self.daemon.clone());
        async move {
            let number = pid.as_raw().unsigned_abs();
            // Before the child is asked, which may wake it: what it waits for is part of it. And on
            // another thread: to look at a process that the kernel is busy with may take for ever.
            let sight = aside(PATIENCE, move || sight(number)).await;
            let (sight, taken) = (sight.unwrap_or_default(), SystemTime::now());
            let evidence = Evidence::of(&seen, sight, cpu_of_request, taken);
            let answer = witness.trace(pid, || daemon.do_send(Verdict::Ask { child })).await;
            Taken::of(evidence, answer).await
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
