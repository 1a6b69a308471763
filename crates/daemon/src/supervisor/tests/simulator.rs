//! A simulator for the supervisor: a fake fork server, fake pids, and a clock that tests advance.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use daemon_core::{
    Counts, Exit, MonotonicTime, OperatorPause, Phase, Scoreboard, ScoreboardLine,
    ScoreboardReader, Seat, SlotNumber, Status, WakeParent, lines_for,
};
use daemon_forkserver::{ChildId, ForkError, ForkRefusal, ForkServerError, ForkServerEvent};
use daemon_sys::process::{Pid, Signal};
use futures::channel::oneshot;

use crate::messages::{HandOverError, HandedOver};
use crate::model::Model;
use crate::supervisor::{
    Effect, Lifecycle, PendingRequest, ProcessControl, Supervisor, SupervisorTimeouts,
};

/// EAGAIN, as the fork server reports it.
pub(super) const AGAIN: ForkRefusal = ForkRefusal::System(11);
pub(super) const GRACE: Duration = Duration::from_secs(7);
pub(super) const BOOT_TIMEOUT: Duration = Duration::from_secs(30);

/// A wakeup that does nothing, because the tests read the statuses themselves.
#[derive(Debug)]
pub(super) struct Unwatched;

impl WakeParent for Unwatched {
    fn wake(&self) {}
}

/// A fake fork server, which records commands and keeps track of slots.
pub(super) struct FakeProcesses<R> {
    scoreboard: Scoreboard,
    free: BinaryHeap<Reverse<u32>>,
    next_pid: i32,
    /// Forks that are pending, oldest first.
    pub(super) pending_forks: VecDeque<(ChildId, R)>,
    pub(super) alive: HashMap<ChildId, (Pid, Seat<Unwatched>)>,
    /// The signals that were sent to single children since the last call of
    /// [`Simulator::signalled`].
    pub(super) signals: Vec<(ChildId, Signal)>,
    /// The signals that were sent to all children.
    pub(super) to_all: Vec<Signal>,
    pub(super) release: u32,
    pub(super) oom_kills: u32,
    /// The phase and the pause on the scoreboard.
    pub(super) published: (Phase, OperatorPause),
    /// The number of foreign children.
    pub(super) foreign: usize,
    pub(super) to_foreign: Vec<Signal>,
    /// The signals that were sent to the process group of the fork server.
    pub(super) to_orphans: Vec<Signal>,
    pub(super) are_orphans_gone: bool,
    pub(super) shut_down: u32,
    /// The time for what the children have started, at the shutdown of the fork server.
    pub(super) descendants_grace: Duration,
    pub(super) has_fork_server_exited: bool,
}

impl<R> FakeProcesses<R> {
    fn new(slots: u32, now: MonotonicTime) -> Self {
        let lines = lines_for(slots).unwrap();
        let lines = Box::leak(
            (0..lines).map(|_line| ScoreboardLine::new()).collect::<Box<[ScoreboardLine]>>(),
        );
        FakeProcesses {
            scoreboard: Scoreboard::format(lines, slots, now).unwrap(),
            free: (0..slots).map(Reverse).collect(),
            next_pid: 1000,
            pending_forks: VecDeque::new(),
            alive: HashMap::new(),
            signals: Vec::new(),
            to_all: Vec::new(),
            release: 0,
            oom_kills: 0,
            published: (Phase::Starting, OperatorPause::Off),
            foreign: 0,
            to_foreign: Vec::new(),
            to_orphans: Vec::new(),
            are_orphans_gone: false,
            shut_down: 0,
            descendants_grace: Duration::MAX,
            has_fork_server_exited: false,
        }
    }

    /// Returns the number of pending forks plus the number of living children.
    pub(super) fn children(&self) -> u32 {
        u32::try_from(self.pending_forks.len() + self.alive.len()).unwrap()
    }
}

impl<R> ProcessControl<R> for FakeProcesses<R> {
    fn fork(&mut self, request: R) -> Result<ChildId, ForkError<R>> {
        let Some(Reverse(slot)) = self.free.pop() else {
            let slots = self.scoreboard.slots();
            let reason = ForkServerError::Full { slots };
            return Err(ForkError { request, reason });
        };
        let slot = SlotNumber::new(slot);
        let generation = self.scoreboard.open_slot(slot, MonotonicTime::ZERO).unwrap();
        let child = ChildId { slot, generation };
        self.pending_forks.push_back((child, request));
        Ok(child)
    }

    fn signal(&mut self, child: ChildId, signal: Signal) {
        self.signals.push((child, signal));
    }

    fn signal_all(&mut self, signal: Signal) {
        self.to_all.push(signal);
    }

    fn release(&mut self) {
        self.release += 1;
    }

    fn signal_foreign(&mut self, signal: Signal) {
        self.to_foreign.push(signal);
    }

    fn has_foreign(&self) -> bool {
        self.foreign > 0
    }

    fn shut_down(&mut self, grace: Duration) {
        self.shut_down += 1;
        self.descendants_grace = grace;
    }

    fn reap_fork_server(&mut self) -> bool {
        self.has_fork_server_exited
    }

    fn signal_orphans(&mut self, signal: Signal) {
        self.to_orphans.push(signal);
    }

    fn orphans_are_gone(&mut self) -> bool {
        self.are_orphans_gone
    }

    fn take_pending(&mut self) -> Vec<(ChildId, R)> {
        self.pending_forks.drain(..).collect()
    }

    fn claim_oom_kill(&mut self) -> bool {
        let is_new = self.oom_kills > 0;
        self.oom_kills = self.oom_kills.saturating_sub(1);
        is_new
    }

    fn publish(&mut self, phase: Phase, pause: OperatorPause) {
        self.published = (phase, pause);
    }

    fn board(&self) -> Option<ScoreboardReader> {
        Some(self.scoreboard.reader())
    }
}

/// The channel for the answer to a request that was handed over.
pub(super) type Reply<R> = oneshot::Receiver<Result<HandedOver, HandOverError<R>>>;

/// A supervisor with a fake fork server, a fake clock, and the effects that the supervisor has
/// collected.
pub(super) struct Simulator<R> {
    pub(super) supervisor: Supervisor<R>,
    pub(super) processes: FakeProcesses<R>,
    pub(super) now: MonotonicTime,
    pub(super) effects: Vec<Effect>,
}

impl<R: 'static> Simulator<R> {
    /// Creates a simulator without calling the supervisor's `reconcile`.
    pub(super) fn of(model: impl Model<R>) -> Self {
        let now = MonotonicTime::from_since_boot(Duration::from_secs(1000));
        let rules = model.check().unwrap().0;
        let processes = FakeProcesses::new(rules.slots(), now);
        let times = SupervisorTimeouts { grace: GRACE, boot_timeout: BOOT_TIMEOUT };
        Simulator {
            supervisor: Supervisor::new(rules, times, now),
            processes,
            now,
            effects: Vec::new(),
        }
    }

    /// Runs `act` on the supervisor, checks the number of children and the counts of the registry,
    /// and collects the effects.
    pub(super) fn act<T>(
        &mut self,
        act: impl FnOnce(&mut Supervisor<R>, &mut FakeProcesses<R>, MonotonicTime) -> T,
    ) -> T {
        let before = self.processes.children();
        let result = act(&mut self.supervisor, &mut self.processes, self.now);
        self.effects.extend(self.supervisor.take_effects());
        let is_waiting = match self.supervisor.life() {
            // The children of a lost fork server are no longer reported.
            Lifecycle::ForkServerLost(_) => {
                assert!(self.supervisor.next_wake().is_some(), "its children are checked");
                return result;
            }
            Lifecycle::Stopped => return result,
            Lifecycle::Starting(_) | Lifecycle::Draining(_) => true,
            Lifecycle::Killing { .. } => self.supervisor.registry().counts().children() > 0,
            Lifecycle::Closing { reap_at, .. } => reap_at.is_some(),
            Lifecycle::Running => false,
        };
        assert!(!is_waiting || self.supervisor.next_wake().is_some(), "a deadline is set");
        let registry = self.supervisor.registry();
        let given_up = registry.records().filter(|record| record.seen == Status::Empty).count();
        let counted = self.processes.children() - u32::try_from(given_up).unwrap();
        // A stopping pool with a quota may need one more.
        let last = u32::from(matches!(self.supervisor.life(), Lifecycle::Draining(_)));
        let max_children = (self.supervisor.max_children() + last).max(before);
        assert!(counted <= max_children, "more children than max_children");
        let seen: Counts = registry.records().map(|record| record.seen).collect();
        assert_eq!(registry.counts(), &seen);
        assert_eq!(registry.counts().children(), counted);
        result
    }

    pub(super) fn reconcile(&mut self) {
        self.act(Supervisor::reconcile);
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now = self.now + time;
        self.reconcile();
    }

    /// Advances to the time at which the supervisor must run again.
    pub(super) fn wake(&mut self) {
        let wake = self.supervisor.next_wake().expect("a deadline is set");
        self.now = self.now.max(wake);
        self.reconcile();
        assert!(self.supervisor.next_wake().is_none_or(|wake| wake > self.now), "a busy loop");
    }

    fn event(&mut self, event: ForkServerEvent<R>) {
        self.act(|supervisor, processes, now| {
            supervisor.on_fork_server_event(event, processes, now);
            supervisor.reconcile(processes, now);
        });
    }

    /// Completes the oldest pending fork.
    pub(super) fn fork_next(&mut self) -> ChildId {
        let (child, _request) =
            self.processes.pending_forks.pop_front().expect("a fork is pending");
        self.processes.next_pid += 1;
        let pid = Pid::from_raw(self.processes.next_pid).unwrap();
        let seat = Seat::take(
            self.processes.scoreboard.reader(),
            child.slot,
            child.generation,
            pid.as_raw().unsigned_abs(),
            self.now,
            Unwatched,
        )
        .unwrap();
        self.processes.alive.insert(child, (pid, seat));
        self.event(ForkServerEvent::Forked { child, pid });
        child
    }

    /// Fails the oldest pending fork.
    pub(super) fn fork_fails(&mut self, refusal: ForkRefusal) {
        let (child, request) = self.processes.pending_forks.pop_front().expect("a fork is pending");
        self.processes.scoreboard.close_slot(child.slot, self.now);
        self.processes.free.push(Reverse(child.slot.get()));
        self.event(ForkServerEvent::ForkFailed { child, request, refusal });
    }

    /// Reports a status for a child, if the seat allows this status, and makes the supervisor read
    /// it.
    pub(super) fn report_status(&mut self, child: ChildId, status: Status) {
        let (_pid, seat) = &self.processes.alive[&child];
        if seat.report(status, self.now).is_ok() {
            let entry = self.processes.scoreboard.reader().read(child.slot);
            self.act(|supervisor, processes, now| {
                supervisor.on_status_change(&entry);
                supervisor.reconcile(processes, now);
            });
        }
    }

    pub(super) fn die(&mut self, child: ChildId, exit: Exit) {
        let (pid, _seat) = self.processes.alive.remove(&child).expect("the child is alive");
        let last = self.processes.scoreboard.close_slot(child.slot, self.now);
        self.processes.free.push(Reverse(child.slot.get()));
        self.event(ForkServerEvent::Exited { child, pid, exit, last });
    }

    /// Lets a child exit cleanly.
    pub(super) fn leave(&mut self, child: ChildId) {
        self.report_status(child, Status::Leaving);
        self.die(child, Exit::Code(0));
    }

    pub(super) fn kill(&mut self, child: ChildId) {
        self.die(child, Exit::Signal { number: 9, core: false });
    }

    /// Completes all pending forks, and lets the children become ready.
    pub(super) fn all_ready(&mut self) -> Vec<ChildId> {
        let mut ready = Vec::new();
        while !self.processes.pending_forks.is_empty() {
            let child = self.fork_next();
            self.report_status(child, Status::Fresh);
            ready.push(child);
        }
        ready
    }

    pub(super) fn hand_over(&mut self, request: R) -> Reply<R> {
        let (reply, answer) = oneshot::channel();
        self.act(|supervisor, processes, now| {
            supervisor.hand_over(PendingRequest::new(request, reply), processes, now);
        });
        answer
    }

    /// Returns the collected effects of one kind and discards the others.
    pub(super) fn take_effects_of<T>(&mut self, kind: impl Fn(&Effect) -> Option<T>) -> Vec<T> {
        let all = std::mem::take(&mut self.effects);
        all.iter().filter_map(kind).collect()
    }

    /// Returns the children that were signalled since the last call of this method, and checks that
    /// they all got the `wanted` signal.
    pub(super) fn signalled(&mut self, wanted: Signal) -> Vec<ChildId> {
        std::mem::take(&mut self.processes.signals)
            .into_iter()
            .map(|(child, signal)| {
                assert_eq!(signal, wanted);
                child
            })
            .collect()
    }
}
