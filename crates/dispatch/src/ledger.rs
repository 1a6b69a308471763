//! The life of requests, from the queue to the one answer, as a pure state machine: no I/O, no clock.
//!
//! ```text
//!             admit                     assign                     answered
//!   sender ----------->  Queued  ------------------->  Sent  ------------------->  (one answer)
//!                          ^   |                        |  |
//!                          |   | cancel, abandon        |  | its worker is gone and had begun it,
//!                          |   +--> (one answer)        |  | it is overdue, cancelled: (one answer)
//!                          +----------------------------+  +-> or Queued again: attempts are left
//!                            not begun: taken back
//! ```
//!
//! A record leaves the ledger in the moment of its answer, so there is no second one. Who answers
//! goes by turn, number and attempt: an answer that comes late fits nothing.

mod assigning;
mod ending;
mod paces;
mod queue;
mod records;
mod returning;
mod tally;
mod workers;

use std::collections::VecDeque;
use std::time::Duration;

use actix_daemon::{ChildId, Pid};
use daemon_core::{Condemned, MonotonicTime, OperatorPause, Owner, TakenBack};

use crate::answer::Failure;
use crate::request::{IfRunning, RequestId, RunInfo};
use paces::Paces;
pub use queue::Lane;
pub(crate) use queue::LaneId;
use queue::{Place, Queue};
pub(crate) use records::Key;
use records::{Record, Records, State};
pub use tally::{CancelOutcome, Stats};
use workers::Workers;

/// How many tasks a worker may have in hand.
pub(crate) const IN_HAND_MAX: usize = 64;

/// How much work may be sent ahead to a worker that is busy: so much is the most by which a task can
/// be overtaken.
const AHEAD_MAX: Duration = Duration::from_millis(1);

/// How long a task may run before what was sent behind it is taken back.
const STALL: Duration = Duration::from_millis(2);

/// How long a worker that does nothing else has to begin what it is sent, before others are given it.
/// One that is stopped, or whose event loop is blocked, does not.
const DEAF: Duration = Duration::from_secs(1);

/// The cells in which it is settled whose a task is.
pub(crate) trait Claims {
    fn offer(&self, slot: usize, turn: u64);
    fn take_back(&self, slot: usize, turn: u64) -> TakenBack;
    fn condemn(&self, slot: usize, turn: u64) -> Condemned;
    fn owner(&self, slot: usize, turn: u64) -> Owner;
}

/// How a request is to be treated, when its words are checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) method: u16,
    pub(crate) priority: i8,
    pub(crate) lane: LaneId,
    pub(crate) hard: Option<Duration>,
    pub(crate) attempts: u32,
    pub(crate) if_dropped: IfRunning,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Act<T> {
    /// A worker is to be sent this.
    Send { slot: usize, turn: u64, key: Key },
    /// This is the answer.
    Answer { cargo: T, failure: Failure, run: RunInfo },
    /// A worker is to be killed.
    Kill { pid: Pid, why: KillReason },
}

/// Why a worker is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KillReason {
    /// Its task has passed the hard limit.
    Overtime,
    /// Its task was cancelled.
    Cancelled,
    /// It does not begin what it is sent.
    Deaf,
}

/// Whether requests are taken and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stance {
    Open,
    /// What was taken is done, no more is taken.
    Draining,
    /// Nothing is sent any more.
    Closed,
}

/// All requests that are not answered, and the workers that they are with.
#[derive(Debug)]
pub(crate) struct Ledger<T, C> {
    records: Records<T>,
    next_turn: u64,
    queue: Queue,
    /// How many wait; places of those who were cancelled are not counted.
    queued: usize,
    queue_max: usize,
    workers: Workers,
    paces: Paces,
    claims: C,
    stance: Stance,
    hold: OperatorPause,
    /// How many tasks that are sent have a hard limit.
    limited: usize,
    /// When it is to be looked again though nothing has come. Before that there is nothing to see.
    wake: Option<MonotonicTime>,
    tally: Stats,
    acts: VecDeque<Act<T>>,
}

impl<T, C: Claims> Ledger<T, C> {
    pub(crate) fn new(
        slots: usize,
        methods: usize,
        lanes: Vec<Lane>,
        queue_max: usize,
        claims: C,
    ) -> Self {
        Ledger {
            records: Records::new(),
            next_turn: 0,
            queue: Queue::new(lanes),
            queued: 0,
            queue_max,
            workers: Workers::new(slots),
            paces: Paces::new(methods),
            claims,
            stance: Stance::Open,
            hold: OperatorPause::Off,
            limited: 0,
            wake: None,
            tally: Stats::default(),
            acts: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub(crate) fn next_act(&mut self) -> Option<Act<T>> {
        self.acts.pop_front()
    }

    /// Whether another request may be admitted.
    pub(crate) fn has_room(&self) -> bool {
        self.queued < self.queue_max
    }

    /// Whether requests are taken at all.
    pub(crate) fn is_open(&self) -> bool {
        self.stance == Stance::Open
    }

    pub(crate) fn queue_max(&self) -> usize {
        self.queue_max
    }

    pub(crate) fn lane(&self, name: &str) -> Option<LaneId> {
        self.queue.lane(name)
    }

    pub(crate) fn tally(&self) -> Stats {
        let queued = self.queued;
        let in_flight = self.records.count() - queued;
        Stats { queued, in_flight, ..self.tally }
    }

    /// How many requests have nobody to do them.
    pub(crate) fn waiting(&self) -> usize {
        match (self.stance, self.hold) {
            (Stance::Open | Stance::Draining, OperatorPause::Off) => self.queued,
            (Stance::Closed, _) | (_, OperatorPause::On) => 0,
        }
    }

    /// Whether nothing is left that was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.count() == 0
    }

    /// Takes a request into the queue.
    pub(crate) fn admit(
        &mut self,
        id: RequestId,
        cargo: T,
        order: Order,
        now: MonotonicTime,
    ) -> Key {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.tally.admitted += 1;
        let record = Record {
            id,
            cargo,
            order,
            turn,
            admitted: now,
            attempts: 0,
            pid: None,
            state: State::Queued,
        };
        let key = self.records.insert(record);
        self.queued += 1;
        self.queue.push(order.priority, order.lane, Place { turn, key });
        key
    }

    /// What was admitted with a request.
    pub(crate) fn cargo(&mut self, key: Key) -> Option<(&mut T, u32)> {
        self.records.get_mut(key).map(|record| (&mut record.cargo, record.attempts))
    }

    /// A worker is there and ready for work.
    pub(crate) fn worker_ready(&mut self, child: ChildId, pid: Pid, now: MonotonicTime) {
        self.workers.ready(child, pid, now);
        self.assign(now);
    }

    fn unsent(&mut self, order: Order) {
        self.queue.ended(order.lane);
        self.limited -= usize::from(order.hard.is_some());
    }

    fn fail(&mut self, key: Key, failure: Failure, now: MonotonicTime) {
        let Some(record) = self.records.get(key) else { return };
        match record.state {
            State::Queued => self.queued -= 1,
            State::Sent { .. } => self.unsent(record.order),
        }
        self.fail_unsent(key, failure, now);
    }

    fn fail_unsent(&mut self, key: Key, failure: Failure, now: MonotonicTime) {
        if let Some(record) = self.records.remove(key) {
            self.tally.failed += 1;
            let run = record.run(Duration::ZERO, now);
            self.acts.push_back(Act::Answer { cargo: record.cargo, failure, run });
        }
    }

    /// A worker has answered. Nothing comes of an answer that fits no task it has.
    pub(crate) fn answered(
        &mut self,
        slot: usize,
        turn: u64,
        id: u64,
        attempt: u32,
        took: Duration,
        now: MonotonicTime,
    ) -> Option<(T, RunInfo)> {
        let Some(key) = self.workers.done(slot, turn, now) else {
            self.tally.late += 1;
            return None;
        };
        self.expect(slot, now);
        let fits = self.records.get(key).is_some_and(|record| {
            record.id.0 == id
                && record.attempts == attempt
                && record.state == State::Sent { slot, turn }
        });
        if !fits {
            self.tally.late += 1;
            return None;
        }
        let record = self.records.remove(key)?;
        self.unsent(record.order);
        self.paces.note(record.order.method, took);
        self.tally.answered += 1;
        let run = record.run(took, now);
        Some((record.cargo, run))
    }

    /// The method that a worker does, or did last: what it prints is of that.
    pub(crate) fn method_of(&self, slot: usize) -> Option<&T> {
        let front = self.workers.front(slot)?;
        self.records.get(front.key).map(|record| &record.cargo)
    }

    /// Which child works in a slot.
    pub(crate) fn child_of(&self, slot: usize) -> Option<ChildId> {
        self.workers.child(slot)
    }

    /// Which process has a slot, if it is there to work.
    pub(crate) fn pid_of(&self, slot: usize) -> Option<Pid> {
        self.workers.pid(slot)
    }

    #[cfg(test)]
    pub(crate) fn stage_of(&self, slot: usize) -> Option<workers::Stage> {
        self.workers.stage(slot)
    }

    #[cfg(test)]
    pub(crate) fn counts(&self) -> [(usize, usize); 2] {
        self.workers.counts()
    }
}

#[cfg(test)]
mod tests;
