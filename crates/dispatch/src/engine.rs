//! The dispatcher's hands in the parent: it feeds the ledger with what comes, and does what the
//! ledger wants done.

mod deliver;
mod early;
mod growth;
mod intake;
mod links;
mod tasks;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};
use actix_daemon::{Kill, KillRogue, Pid, SetQueueDepth, Violation};
use daemon_core::{ExitCause, MonotonicTime, OperatorPause, StopMode};
use daemon_forkserver::now;
use futures::channel::oneshot;
use tokio::sync::Notify;

use crate::answer::Failure;
use crate::body::Body;
use crate::claims::Board;
use crate::fallback::FallbackRequest;
use crate::launch::WorkerDaemon;
use crate::ledger::{Act, KillReason, Lane, Ledger};
use crate::link::Link;
use crate::methods::Methods;
use crate::reply::{DroppedFutures, Reply};
use crate::request::{NewRequest, Request, RequestDone, RequestParts, RunInfo};
use crate::talkback::{EventLog, Verbosity};

use early::Early;
use growth::Growth;
pub(crate) use intake::{Cancelled, Taken, take};
pub(crate) use tasks::run;

/// How long less demand is kept to oneself: a queue that is empty now is often full again at once.
const DEMAND_LINGER: Duration = Duration::from_millis(5);

/// So many tasks that were put aside are remembered.
const ASIDE_MAX: usize = 100;

/// Who does the work.
#[derive(Debug)]
pub(crate) enum Staff {
    /// The parent, in place.
    Parent,
    /// Workers, at most so many.
    Workers {
        most: usize,
        /// So many are forked before there is work.
        pre_fork: u32,
        /// For work that waits one is forked, and the next after so long.
        interval: Duration,
        daemon: Addr<WorkerDaemon>,
    },
}

/// What requests are given that don't say otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Defaults {
    pub(crate) soft: Option<Duration>,
    pub(crate) hard: Option<Duration>,
    pub(crate) attempts: u32,
}

/// A request on its way through the ledger.
#[derive(Debug)]
pub(crate) struct Cargo {
    pub(crate) parts: RequestParts,
    pub(crate) method: u16,
    pub(crate) soft: Option<Duration>,
    pub(crate) reply: Reply,
    pub(crate) upon_result: Option<Recipient<RequestDone>>,
}

impl Cargo {
    fn of(request: NewRequest, method: u16, soft: Option<Duration>, reply: Reply) -> Cargo {
        let NewRequest { id, name, from, params, upon_result, .. } = request;
        // Those that could not be encoded are refused before anybody reads them.
        let parts = RequestParts { id, name, from, params: params.unwrap_or(Body::NONE) };
        Cargo { parts, method, soft, reply, upon_result }
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
pub(crate) type Shared = Rc<RefCell<Engine>>;

/// What an engine is made of, from before there is a System.
pub(crate) struct Setup {
    pub(crate) methods: Rc<Methods>,
    pub(crate) board: Board,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) queue_max: usize,
    pub(crate) defaults: Defaults,
    pub(crate) detail: Verbosity,
    pub(crate) max_forks: usize,
    pub(crate) pre_fork: u32,
    pub(crate) fork_interval: Duration,
}

pub(crate) struct Engine {
    methods: Rc<Methods>,
    /// The ledger's board too.
    board: Board,
    ledger: Ledger<Cargo, Board>,
    links: Vec<Option<Link>>,
    /// Links of workers whose end is still to be told, while their slot is another's already.
    former: Vec<Link>,
    /// Slots of links that have something to send.
    dirty: Vec<usize>,
    staff: Staff,
    pub(crate) events: EventLog,
    defaults: Defaults,
    pub(crate) upon_result: Option<Recipient<RequestDone>>,
    pub(crate) fallback: Option<Recipient<FallbackRequest>>,
    pub(crate) hangups: Arc<DroppedFutures>,
    /// Cancelled before they have come.
    early: Early,
    aside: VecDeque<DeadLetter>,
    /// Transactions and calls in place that are not answered yet.
    elsewhere: usize,
    /// Those that are.
    answered_elsewhere: u64,
    growth: Growth,
    demand_told: u32,
    /// When the timer wakes.
    armed: Option<MonotonicTime>,
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
    pub(crate) room: Notify,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("tally", &self.ledger.tally()).finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(setup: Setup, daemon: Addr<WorkerDaemon>) -> Engine {
        let Setup {
            methods,
            board,
            lanes,
            queue_max,
            defaults,
            detail,
            max_forks,
            pre_fork,
            fork_interval: interval,
        } = setup;
        let staff = match max_forks {
            0 => Staff::Parent,
            most => Staff::Workers { most, pre_fork, interval, daemon },
        };
        let events = EventLog { log: actix_daemon::logger(), recipient: None, detail };
        let slots = board.slots();
        let ledger = Ledger::new(slots, methods.len(), lanes, queue_max, board);
        Engine {
            methods,
            board,
            ledger,
            links: (0..slots).map(|_slot| None).collect(),
            former: Vec::new(),
            dirty: Vec::new(),
            staff,
            events,
            defaults,
            upon_result: None,
            fallback: None,
            hangups: Arc::default(),
            early: Early::default(),
            aside: VecDeque::new(),
            elsewhere: 0,
            answered_elsewhere: 0,
            growth: Growth::default(),
            demand_told: 0,
            armed: None,
            signals: Rc::default(),
            drained: Vec::new(),
            me: Weak::new(),
        }
    }

    pub(crate) fn signals(&self) -> Rc<Signals> {
        Rc::clone(&self.signals)
    }

    pub(crate) fn tally(&self) -> crate::ledger::Stats {
        let mut tally = self.ledger.tally();
        tally.admitted += self.answered_elsewhere + self.elsewhere as u64;
        tally.answered += self.answered_elsewhere;
        tally
    }

    pub(crate) fn aside(&self) -> Vec<DeadLetter> {
        self.aside.iter().cloned().collect()
    }

    /// Does what the ledger wants done, and sends what is to be sent.
    fn pump(&mut self) {
        while let Some(act) = self.ledger.next_act() {
            match act {
                Act::Send { slot, turn, key } => self.send(slot, turn, key),
                Act::Answer { cargo, failure, run } => {
                    if run.attempts > 0 {
                        // A worker that is given up may still be about to read them.
                        cargo.parts.params.withdraw();
                    }
                    self.remember_if_put_aside(&cargo, &failure, run);
                    self.deliver(cargo, run, Err(failure));
                }
                Act::Kill { pid, why } => self.kill(pid, why),
            }
        }
        self.flush();
        self.talk_of_shortage();
        self.tell_demand();
        self.arm();
        if self.ledger.has_room() {
            self.signals.room.notify_waiters();
        }
        if self.is_drained() {
            self.tell_drained();
        }
    }

    fn kill(&self, pid: Pid, why: KillReason) {
        let Staff::Workers { daemon, .. } = &self.staff else { return };
        match why {
            KillReason::Overtime => {
                self.events.warn(format_args!(
                    "Worker {pid} is killed: its task has passed the hard limit"
                ));
                daemon.do_send(KillRogue { pid, violation: Violation::Time });
            }
            KillReason::Deaf => {
                self.events.warn(format_args!(
                    "Worker {pid} is killed: it does not begin what it is sent"
                ));
                daemon.do_send(KillRogue { pid, violation: Violation::Hung });
            }
            KillReason::Cancelled => {
                self.events.say(format_args!("Worker {pid} is killed: its task was cancelled"));
                daemon.do_send(Kill(pid));
            }
        }
    }

    /// How many workers what waits could do with.
    fn wanted(&self) -> Option<u32> {
        let Staff::Workers { most, .. } = &self.staff else { return None };
        Some(u32::try_from(self.ledger.waiting().min(*most)).unwrap_or(u32::MAX))
    }

    /// More demand is told at once, less when it has lasted.
    fn tell_demand(&mut self) {
        let Some(wanted) = self.wanted() else { return };
        if wanted > self.demand_told {
            self.demand(wanted);
        } else if wanted < self.demand_told {
            self.signals.demand.notify_one();
        }
    }

    fn demand(&mut self, wanted: u32) {
        if let Staff::Workers { daemon, .. } = &self.staff
            && wanted != self.demand_told
        {
            self.demand_told = wanted;
            daemon.do_send(SetQueueDepth(wanted));
        }
    }

    /// Sees to it that the timer wakes in time.
    fn arm(&mut self) {
        let Some(wake) = self.ledger.wake() else { return };
        if self.armed.is_none_or(|armed| wake < armed) {
            self.armed = Some(wake);
            self.signals.timer.notify_one();
        }
    }

    /// The operator's word.
    pub(crate) fn hold(&mut self, hold: OperatorPause) {
        self.ledger.hold(hold, now());
        self.pump();
    }

    /// The end begins. Answers when all that was taken is answered.
    pub(crate) fn stop(&mut self, manner: StopMode) -> oneshot::Receiver<()> {
        let (drained, told) = oneshot::channel();
        self.ledger.stop(manner, now());
        self.drained.push(drained);
        self.refuse_if_nobody_is_left();
        self.pump();
        told
    }

    /// In a dispatcher that stops nobody is forked any more: without a worker nothing is done.
    fn refuse_if_nobody_is_left(&mut self) {
        if !self.ledger.is_open()
            && self.links.iter().all(Option::is_none)
            && self.former.is_empty()
        {
            self.ledger.stop(StopMode::Immediate, now());
        }
    }

    /// The daemon has ended, whatever was still to come: all that is left is lost.
    pub(crate) fn bereave(&mut self) {
        self.ledger.stop(StopMode::Immediate, now());
        let links = self.links.iter().flatten().chain(&self.former);
        let children: Vec<_> = links.map(|link| link.child).collect();
        for child in children {
            self.worker_gone(child, ExitCause::Missing, 0);
        }
        self.pump();
    }

    fn is_drained(&self) -> bool {
        !self.ledger.is_open() && self.ledger.is_empty() && self.elsewhere == 0
    }

    /// All is answered: workers that stay for more may go.
    fn tell_drained(&mut self) {
        for drained in self.drained.drain(..) {
            // Who has asked may have gone meanwhile.
            let _ = drained.send(());
        }
        for link in self.links.iter_mut().flatten() {
            link.reopen_logs();
        }
    }

    /// Answers a refusal before anything else has happened.
    fn refuse(&mut self, request: NewRequest, reply: Reply, why: Failure) {
        self.deliver(Cargo::of(request, 0, None, reply), RunInfo::default(), Err(why));
    }
}
