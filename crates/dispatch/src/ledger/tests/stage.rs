//! Workers that are made up: real claims, an inbox each, a clock that is moved by hand.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use actix_daemon::{ChildId, Pid};
use daemon_core::{Begun, Claim, Ended, ExitCause, Generation, SlotNumber, StopMode};

use super::super::*;

pub(super) const SLOTS: usize = 4;

/// Claims in this process' own memory.
#[derive(Debug, Clone)]
pub(super) struct Cells(Rc<Vec<Claim>>);

impl Cells {
    fn cell(&self, slot: usize, turn: u64) -> &Claim {
        &self.0[slot * IN_HAND_MAX + (turn as usize) % IN_HAND_MAX]
    }
}

impl Claims for Cells {
    fn offer(&self, slot: usize, turn: u64) {
        self.cell(slot, turn).offer(turn);
    }
    fn take_back(&self, slot: usize, turn: u64) -> TakenBack {
        self.cell(slot, turn).take_back(turn)
    }
    fn condemn(&self, slot: usize, turn: u64) -> Condemned {
        self.cell(slot, turn).condemn(turn)
    }
    fn owner(&self, slot: usize, turn: u64) -> Owner {
        self.cell(slot, turn).owner(turn)
    }
}

/// A frame on its way to a worker, or a task that it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) turn: u64,
    pub(super) id: RequestId,
    pub(super) attempt: u32,
    begun: MonotonicTime,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) child: ChildId,
    pub(super) inbox: VecDeque<Task>,
    pub(super) doing: Option<Task>,
    /// It has been told to die, or found out that it is condemned: it does nothing more.
    pub(super) doomed: bool,
}

/// How a request was answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answered {
    Value,
    Failure(Failure),
}

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) ledger: Ledger<RequestId, Cells>,
    cells: Cells,
    pub(super) workers: Vec<Option<Worker>>,
    generation: u32,
    pub(super) now: MonotonicTime,
    pub(super) admitted: Vec<Key>,
    pub(super) answers: HashMap<RequestId, Answered>,
    /// In the order in which they were begun.
    pub(super) begun: Vec<RequestId>,
    /// Those that were begun by a worker that has died since.
    pub(super) died_over: HashMap<RequestId, u32>,
    pub(super) killed: HashSet<i32>,
    next_id: u64,
}

impl Stage {
    pub(super) fn new(queue_max: usize) -> Stage {
        let cells = (0..SLOTS * IN_HAND_MAX).map(|_cell| Claim::new()).collect();
        let cells = Cells(Rc::new(cells));
        let lanes = vec![Lane::new("books").max_running(1), Lane::new("mail")];
        Stage {
            ledger: Ledger::new(SLOTS, 3, lanes, queue_max, cells.clone()),
            cells,
            workers: (0..SLOTS).map(|_slot| None).collect(),
            generation: 0,
            now: MonotonicTime::from_nanos(1_000_000_000),
            admitted: Vec::new(),
            answers: HashMap::new(),
            begun: Vec::new(),
            died_over: HashMap::new(),
            killed: HashSet::new(),
            next_id: 1,
        }
    }

    pub(super) fn order() -> Order {
        Order {
            method: 0,
            priority: 0,
            lane: LaneId::COMMON,
            hard: None,
            attempts: 1,
            if_dropped: IfRunning::LetFinish,
        }
    }

    pub(super) fn lane(&self, name: &str) -> LaneId {
        self.ledger.lane(name).unwrap()
    }

    pub(super) fn admit(&mut self, order: Order) -> Key {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let key = self.ledger.admit(id, id, order, self.now);
        self.admitted.push(key);
        self.ledger.assign(self.now);
        self.act();
        key
    }

    /// A worker comes to this slot, if nobody is there.
    pub(super) fn join(&mut self, slot: usize) {
        if self.workers[slot].is_some() {
            return;
        }
        self.generation += 1;
        let generation = Generation::new(self.generation);
        let child = ChildId { slot: SlotNumber::new(slot as u32), generation };
        let inbox = VecDeque::new();
        self.workers[slot] = Some(Worker { child, inbox, doing: None, doomed: false });
        let pid = Pid::from_raw(1000 + self.generation as i32).unwrap();
        self.ledger.worker_ready(child, pid, self.now);
        self.act();
    }

    /// The worker begins the next that nobody has taken back; answers with what it is.
    pub(super) fn begin(&mut self, slot: usize) -> Option<RequestId> {
        let worker = self.workers[slot].as_mut().filter(|worker| !worker.doomed)?;
        if worker.doing.is_some() {
            return None;
        }
        while let Some(task) = worker.inbox.pop_front() {
            match self.cells.cell(slot, task.turn).begin(task.turn, self.now) {
                Begun::Yes => {
                    worker.doing = Some(Task { begun: self.now, ..task });
                    self.begun.push(task.id);
                    return Some(task.id);
                }
                Begun::TakenBack => {}
            }
        }
        None
    }

    /// The worker has done what it does, and tells.
    pub(super) fn end(&mut self, slot: usize) -> Option<Task> {
        let worker = self.workers[slot].as_mut().filter(|worker| !worker.doomed)?;
        let task = worker.doing.take()?;
        match self.cells.cell(slot, task.turn).end(task.turn) {
            Ended::Yes => {
                self.tell(slot, task);
                Some(task)
            }
            Ended::Condemned => {
                let worker = self.workers[slot].as_mut()?;
                worker.doomed = true;
                worker.doing = Some(task);
                None
            }
        }
    }

    /// An answer comes, due or not.
    pub(super) fn tell(&mut self, slot: usize, task: Task) {
        let took = self.now.saturating_since(task.begun);
        let Task { turn, id, attempt, .. } = task;
        if let Some((cargo, _run)) = self.ledger.answered(slot, turn, id.0, attempt, took, self.now)
        {
            assert_eq!(cargo, id, "it is the answer to another");
            self.answer(id, Answered::Value);
        }
        self.ledger.assign(self.now);
        self.act();
    }

    pub(super) fn leaves(&mut self, slot: usize) {
        if self.workers[slot].is_some() {
            self.ledger.worker_leaves(slot, self.now);
            self.act();
        }
    }

    /// The worker's process is gone.
    pub(super) fn dies(&mut self, slot: usize) {
        let Some(worker) = self.workers[slot].take() else { return };
        if let Some(task) = worker.doing {
            *self.died_over.entry(task.id).or_default() += 1;
        }
        let cause = ExitCause::Killed { signal: 9, core: false };
        self.ledger.worker_gone(worker.child, cause, self.now);
        self.act();
    }

    pub(super) fn cancel(&mut self, key: Key, running: Option<IfRunning>) -> CancelOutcome {
        let cancelled = self.ledger.cancel(key, running, self.now);
        self.act();
        cancelled
    }

    pub(super) fn later(&mut self, time: Duration) {
        self.now = self.now + time;
        self.ledger.tick(self.now);
        self.act();
    }

    pub(super) fn hold(&mut self, hold: OperatorPause) {
        self.ledger.hold(hold, self.now);
        self.act();
    }

    pub(super) fn stop(&mut self, manner: StopMode) {
        self.ledger.stop(manner, self.now);
        self.act();
    }

    fn answer(&mut self, id: RequestId, answered: Answered) {
        let former = self.answers.insert(id, answered);
        assert_eq!(former, None, "request {id} is answered twice");
    }

    fn act(&mut self) {
        while let Some(act) = self.ledger.next_act() {
            match act {
                Act::Send { slot, turn, key } => {
                    let (cargo, attempt) = self.ledger.cargo(key).expect("it is there");
                    let task = Task { turn, id: *cargo, attempt, begun: MonotonicTime::ZERO };
                    let worker = self.workers[slot].as_mut().expect("nothing is sent to nobody");
                    worker.inbox.push_back(task);
                }
                Act::Answer { cargo: id, failure, .. } => {
                    self.answer(id, Answered::Failure(failure));
                }
                Act::Kill { pid, .. } => {
                    self.killed.insert(pid.as_raw());
                }
            }
        }
        // Who looks when it is told to misses nothing.
        let due = self.ledger.next_due(self.now);
        assert!(due.is_none_or(|due| self.ledger.wake().is_some_and(|wake| wake <= due)));
        // Who does not look when none is counted misses nothing either.
        let [counted, found] = self.ledger.counts();
        assert_eq!(counted, found, "tasks ahead, and deaf workers");
    }
}
