//! Simulated workers, with real claims, an inbox for each worker, and a clock that tests advance.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use actix_daemon::{ChildId, Pid};
use daemon_core::{
    AbortResult, Claim, ExitCause, FinishResult, Generation, RevokeResult, SlotNumber, StartResult,
    StopMode,
};

use super::super::*;

pub(super) const SLOTS: usize = 4;

/// Claims in memory that is not shared with other processes.
#[derive(Debug, Clone)]
pub(super) struct LocalClaims(Rc<Vec<Claim>>);

impl LocalClaims {
    fn cell(&self, slot: usize, turn: u64) -> &Claim {
        &self.0[slot * IN_FLIGHT_MAX + (turn as usize) % IN_FLIGHT_MAX]
    }
}

impl Claims for LocalClaims {
    fn offer(&self, slot: usize, turn: u64) {
        self.cell(slot, turn).offer(turn);
    }
    fn revoke(&self, slot: usize, turn: u64) -> RevokeResult {
        self.cell(slot, turn).revoke(turn)
    }
    fn abort(&self, slot: usize, turn: u64) -> AbortResult {
        self.cell(slot, turn).abort(turn)
    }
    fn owner(&self, slot: usize, turn: u64) -> Owner {
        self.cell(slot, turn).owner(turn)
    }
}

/// A task that is on the way to a worker, or that a worker runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct SimulatedTask {
    pub(super) turn: u64,
    pub(super) id: u64,
    pub(super) attempt: u32,
    started: MonotonicTime,
}

#[derive(Debug)]
pub(super) struct SimulatedWorker {
    pub(super) child: ChildId,
    pub(super) pid: i32,
    pub(super) inbox: VecDeque<SimulatedTask>,
    pub(super) running: Option<SimulatedTask>,
    /// The worker found that its task was aborted, and does nothing more.
    pub(super) is_stopped: bool,
    /// The worker claims that it has not started its task. The task then counts as not started, so
    /// it may run once more than it has attempts.
    pub(super) denies_task: bool,
}

/// Something that a worker must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misdeed {
    /// The worker does nothing more.
    Stop,
    /// The worker finishes its task, and does not send the answer.
    StopBeforeAnswer,
    /// The worker writes a start time in the future into the claim of a task.
    StartInTheFuture,
    /// The worker writes a start time in the past into the claim of a task.
    StartInThePast,
    /// The worker gives its running task back to the parent.
    OfferAgain,
    /// The worker overwrites a claim.
    DamageClaim,
    /// The worker aborts its own task.
    AbortItself,
    /// The worker announces that it leaves, and stays.
    LeaveAndStay,
    /// The worker closes its link, and stays.
    CloseLink,
    /// The worker sends an invalid message.
    BreakLink,
    /// The worker sends the start of a message.
    BeginMessage,
}

pub(super) const MISDEEDS: [Misdeed; 11] = [
    Misdeed::Stop,
    Misdeed::StopBeforeAnswer,
    Misdeed::StartInTheFuture,
    Misdeed::StartInThePast,
    Misdeed::OfferAgain,
    Misdeed::DamageClaim,
    Misdeed::AbortItself,
    Misdeed::LeaveAndStay,
    Misdeed::CloseLink,
    Misdeed::BreakLink,
    Misdeed::BeginMessage,
];

/// How a request was answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Value,
    Failure(Failure),
}

#[derive(Debug)]
pub(super) struct Simulation {
    pub(super) scheduler: Scheduler<u64, LocalClaims>,
    claims: LocalClaims,
    pub(super) workers: Vec<Option<SimulatedWorker>>,
    generation: u32,
    pub(super) now: MonotonicTime,
    pub(super) admitted: Vec<JobKey>,
    pub(super) answers: HashMap<u64, Outcome>,
    /// The started requests, in the order in which they were started.
    pub(super) started: Vec<u64>,
    /// For each request, the number of workers that exited while they ran it, and did not deny it.
    pub(super) exits_during: HashMap<u64, u32>,
    pub(super) killed: HashSet<i32>,
    next_id: u64,
}

impl Simulation {
    /// Creates a scheduler that chooses the worker that has been idle longest.
    pub(super) fn new(queue_max: usize) -> Simulation {
        Simulation::with_idle_order(queue_max, IdleOrder::LongestIdle)
    }

    pub(super) fn with_idle_order(queue_max: usize, idle_order: IdleOrder) -> Simulation {
        let claims = (0..SLOTS * IN_FLIGHT_MAX).map(|_cell| Claim::new()).collect();
        let claims = LocalClaims(Rc::new(claims));
        let lanes = vec![Lane::new("accounts").max_running(1), Lane::new("mail")];
        Simulation {
            scheduler: Scheduler::new(SLOTS, 3, lanes, queue_max, idle_order, claims.clone()),
            claims,
            workers: (0..SLOTS).map(|_slot| None).collect(),
            generation: 0,
            now: MonotonicTime::from_nanos(1_000_000_000),
            admitted: Vec::new(),
            answers: HashMap::new(),
            started: Vec::new(),
            exits_during: HashMap::new(),
            killed: HashSet::new(),
            next_id: 1,
        }
    }

    pub(super) fn default_options() -> JobOptions {
        JobOptions {
            method: 0,
            priority: 0,
            lane: LaneId::DEFAULT,
            hard: None,
            attempts: 1,
            if_dropped: IfRunning::LetFinish,
        }
    }

    pub(super) fn lane(&self, name: &str) -> LaneId {
        self.scheduler.lane(name).unwrap()
    }

    pub(super) fn admit(&mut self, options: JobOptions) -> JobKey {
        let id = self.next_id;
        self.next_id += 1;
        let key = self.scheduler.admit(id, id, options, self.now);
        self.admitted.push(key);
        self.scheduler.assign(self.now);
        self.run_actions();
        key
    }

    /// Starts a worker in this slot if the slot is free.
    pub(super) fn start_worker(&mut self, slot: usize) {
        if self.workers[slot].is_some() {
            return;
        }
        self.generation += 1;
        let generation = Generation::new(self.generation);
        let child = ChildId { slot: SlotNumber::new(slot as u32), generation };
        let inbox = VecDeque::new();
        let number = 1000 + self.generation as i32;
        self.workers[slot] = Some(SimulatedWorker {
            child,
            pid: number,
            inbox,
            running: None,
            is_stopped: false,
            denies_task: false,
        });
        let pid = Pid::from_raw(number).unwrap();
        let ready_by = self.now + Duration::from_secs(30);
        self.scheduler.worker_forked(child, pid, ready_by, self.now);
        self.scheduler.worker_ready(child, self.now);
        self.run_actions();
    }

    /// Lets the worker start its next task that was not revoked. Returns the task's request.
    pub(super) fn start(&mut self, slot: usize) -> Option<u64> {
        let worker = self.workers[slot].as_mut().filter(|worker| !worker.is_stopped)?;
        if worker.running.is_some() {
            return None;
        }
        while let Some(task) = worker.inbox.pop_front() {
            match self.claims.cell(slot, task.turn).start(task.turn, self.now) {
                StartResult::Started => {
                    worker.running = Some(SimulatedTask { started: self.now, ..task });
                    self.started.push(task.id);
                    return Some(task.id);
                }
                StartResult::Revoked => {}
            }
        }
        None
    }

    /// Lets the worker finish its task and answer. Returns the task if the worker answered.
    pub(super) fn finish(&mut self, slot: usize) -> Option<SimulatedTask> {
        let worker = self.workers[slot].as_mut().filter(|worker| !worker.is_stopped)?;
        let task = worker.running.take()?;
        match self.claims.cell(slot, task.turn).finish(task.turn) {
            FinishResult::Finished => {
                self.deliver(slot, task);
                Some(task)
            }
            FinishResult::Aborted => {
                let worker = self.workers[slot].as_mut()?;
                worker.is_stopped = true;
                worker.running = Some(task);
                None
            }
        }
    }

    /// Lets the worker do something that a worker must not do. It then does nothing more.
    pub(super) fn misbehave(&mut self, slot: usize, misdeed: Misdeed) {
        let now = self.now;
        let Some(worker) = self.workers[slot].as_mut().filter(|worker| !worker.is_stopped) else {
            return;
        };
        let child = worker.child;
        let cells = &self.claims;
        let change = |task: Option<SimulatedTask>, change: &dyn Fn(&Claim, u64)| {
            if let Some(SimulatedTask { turn, .. }) = task {
                change(cells.cell(slot, turn), turn);
            }
        };
        worker.is_stopped = true;
        worker.denies_task = matches!(misdeed, Misdeed::OfferAgain | Misdeed::DamageClaim);
        match misdeed {
            Misdeed::Stop => {}
            Misdeed::StopBeforeAnswer => change(worker.running, &|cell, turn| {
                let _ = cell.finish(turn);
            }),
            Misdeed::StartInTheFuture => change(worker.inbox.front().copied(), &|cell, turn| {
                let _ = cell.start(turn, now + Duration::from_secs(1_000_000));
            }),
            Misdeed::StartInThePast => change(worker.inbox.front().copied(), &|cell, turn| {
                let _ = cell.start(turn, MonotonicTime::ZERO);
            }),
            Misdeed::OfferAgain => change(worker.running, &|cell, turn| cell.offer(turn)),
            Misdeed::DamageClaim => {
                change(worker.running.or(worker.inbox.front().copied()), &|cell, _turn| {
                    cell.offer(u64::MAX);
                });
            }
            Misdeed::AbortItself => change(worker.running, &|cell, turn| {
                let _ = cell.abort(turn);
            }),
            Misdeed::LeaveAndStay => self.scheduler.worker_draining(child, now),
            Misdeed::CloseLink => self.scheduler.link_closed(child, now),
            Misdeed::BreakLink => self.scheduler.link_broken(child, now),
            Misdeed::BeginMessage => self.scheduler.set_in_message(child, true, now),
        }
        self.run_actions();
    }

    /// Ends the workers that the scheduler has killed.
    pub(super) fn reap(&mut self) {
        for slot in 0..SLOTS {
            let pid = self.workers[slot].as_ref().map(|worker| worker.pid);
            if pid.is_some_and(|pid| self.killed.contains(&pid)) {
                self.exit(slot);
            }
        }
    }

    /// Advances the time, and ticks only when the scheduler has asked for it.
    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut ticks = 0;
        while let Some(wake_at) = self.scheduler.wake_at().filter(|wake_at| *wake_at <= end) {
            // The timer fires a little later than it was set for.
            self.now = self.now.max(wake_at) + Duration::from_micros(200);
            self.scheduler.tick(self.now);
            self.run_actions();
            self.reap();
            ticks += 1;
            assert!(ticks < 100 * (1 + time.as_secs()), "the timer fires without a pause");
        }
        self.now = self.now.max(end);
    }

    /// Delivers an answer to the scheduler, whether it is expected or not.
    pub(super) fn deliver(&mut self, slot: usize, task: SimulatedTask) {
        let took = self.now.saturating_since(task.started);
        let SimulatedTask { turn, id, attempt, .. } = task;
        let Some(child) = self.workers[slot].as_ref().map(|worker| worker.child) else { return };
        if let Some((job, _run)) = self.scheduler.answered(child, turn, id, attempt, took, self.now)
        {
            assert_eq!(job, id, "the answer belongs to another request");
            self.answer(id, Outcome::Value);
        }
        self.scheduler.assign(self.now);
        self.run_actions();
    }

    pub(super) fn drain(&mut self, slot: usize) {
        if let Some(child) = self.workers[slot].as_ref().map(|worker| worker.child) {
            self.scheduler.worker_draining(child, self.now);
            self.run_actions();
        }
    }

    /// Simulates the exit of the worker.
    pub(super) fn exit(&mut self, slot: usize) {
        let Some(worker) = self.workers[slot].take() else { return };
        if let Some(task) = worker.running.filter(|_task| !worker.denies_task) {
            *self.exits_during.entry(task.id).or_default() += 1;
        }
        let cause = ExitCause::Killed { signal: 9, core: false };
        self.scheduler.worker_gone(worker.child, cause, self.now);
        self.run_actions();
    }

    pub(super) fn cancel(&mut self, key: JobKey, running: Option<IfRunning>) -> CancelOutcome {
        let cancelled = self.scheduler.cancel(key, running, self.now);
        self.run_actions();
        cancelled
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now = self.now + time;
        self.scheduler.tick(self.now);
        self.run_actions();
    }

    pub(super) fn set_operator_pause(&mut self, pause: OperatorPause) {
        self.scheduler.set_operator_pause(pause, self.now);
        self.run_actions();
    }

    pub(super) fn stop(&mut self, mode: StopMode) {
        self.scheduler.stop(mode, self.now);
        self.run_actions();
    }

    fn answer(&mut self, id: u64, outcome: Outcome) {
        let former = self.answers.insert(id, outcome);
        assert_eq!(former, None, "request {id} is answered twice");
    }

    fn run_actions(&mut self) {
        while let Some(action) = self.scheduler.next_action() {
            match action {
                SchedulerAction::Send { slot, turn, key } => {
                    let (job, attempt) = self.scheduler.job(key).expect("the job exists");
                    let task =
                        SimulatedTask { turn, id: *job, attempt, started: MonotonicTime::ZERO };
                    let worker = self.workers[slot].as_mut().expect("a worker in the slot");
                    worker.inbox.push_back(task);
                }
                SchedulerAction::Fail { job: id, failure, .. } => {
                    self.answer(id, Outcome::Failure(failure));
                }
                SchedulerAction::Kill { pid, .. } => {
                    self.killed.insert(pid.as_raw());
                }
            }
        }
        // The scheduler wakes up no later than the earliest check that any worker needs.
        let due = self.scheduler.next_check(self.now);
        assert!(
            due.is_none_or(|due| self.scheduler.wake_at().is_some_and(|wake_at| wake_at <= due))
        );
        // The scheduler skips a search for tasks or workers if their counter is 0. The counters
        // must be exact, so that a skipped search misses none.
        let [counted, found] = self.scheduler.counts();
        assert_eq!(counted, found, "the numbers of tasks sent ahead and of unresponsive workers");
    }
}
