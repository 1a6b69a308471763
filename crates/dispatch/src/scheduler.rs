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
mod latency_estimates;
mod queue;
mod records;
mod returning;
mod stats;
mod workers;

use std::collections::VecDeque;
use std::time::Duration;

use actix_daemon::{ChildId, Pid};
use daemon_core::{AbortResult, MonotonicTime, OperatorPause, Owner, RevokeResult};

use crate::answer::Failure;
use crate::request::{IfRunning, RequestId, RunInfo};
use latency_estimates::LatencyEstimates;
pub use queue::Lane;
pub(crate) use queue::LaneId;
use queue::{JobQueue, QueueEntry};
pub(crate) use records::JobKey;
use records::{JobRecord, JobRecords, JobState};
pub use stats::{CancelOutcome, Stats};
use workers::WorkerTable;

/// How many tasks a worker may have in hand.
pub(crate) const IN_FLIGHT_MAX: usize = 64;

/// How much work may be sent ahead to a worker that is busy: so much is the most by which a task can
/// be overtaken.
const SEND_AHEAD_MAX: Duration = Duration::from_millis(1);

/// How long a task may run before what was sent behind it is taken back.
const STALL_LIMIT: Duration = Duration::from_millis(2);

/// How long a worker that does nothing else has to begin what it is sent, before others are given it.
/// One that is stopped, or whose event loop is blocked, does not.
const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(1);

/// The cells in which it is settled whose a task is.
pub(crate) trait Claims {
    fn offer(&self, slot: usize, turn: u64);
    fn revoke(&self, slot: usize, turn: u64) -> RevokeResult;
    fn condemn(&self, slot: usize, turn: u64) -> AbortResult;
    fn owner(&self, slot: usize, turn: u64) -> Owner;
}

/// How a request is to be treated, when its words are checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobTerms {
    pub(crate) method: u16,
    pub(crate) priority: i8,
    pub(crate) lane: LaneId,
    pub(crate) hard: Option<Duration>,
    pub(crate) attempts: u32,
    pub(crate) if_dropped: IfRunning,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum SchedulerAction<T> {
    /// A worker is to be sent this.
    Send { slot: usize, turn: u64, key: JobKey },
    /// This is the answer.
    Fail { job: T, failure: Failure, run: RunInfo },
    /// A worker is to be killed.
    Kill { pid: Pid, reason: WorkerKillReason },
}

/// Why a worker is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerKillReason {
    /// Its task exceeded the hard limit.
    HardLimit,
    /// Its task was cancelled.
    Cancelled,
    /// It did not start its task in time.
    Unresponsive,
}

impl WorkerKillReason {
    pub(crate) fn word(self) -> &'static str {
        match self {
            WorkerKillReason::HardLimit => "its task exceeded the hard limit",
            WorkerKillReason::Cancelled => "its task was cancelled",
            WorkerKillReason::Unresponsive => "did not start its task within 1s",
        }
    }
}

/// Whether requests are taken and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IntakeState {
    Accepting,
    /// What was taken is done, no more is taken.
    Draining,
    /// Nothing is sent any more.
    Closed,
}

/// All requests that are not answered, and the workers that they are with.
#[derive(Debug)]
pub(crate) struct Scheduler<T, C> {
    records: JobRecords<T>,
    next_turn: u64,
    queue: JobQueue,
    /// How many wait; places of those who were cancelled are not counted.
    queued: usize,
    queue_max: usize,
    workers: WorkerTable,
    latency_estimates: LatencyEstimates,
    claims: C,
    stance: IntakeState,
    operator_pause: OperatorPause,
    /// How many tasks that are sent have a hard limit.
    hard_limited: usize,
    /// When it is to be looked again though nothing has come. Before that there is nothing to see.
    wake_at: Option<MonotonicTime>,
    stats: Stats,
    actions: VecDeque<SchedulerAction<T>>,
}

impl<T, C: Claims> Scheduler<T, C> {
    pub(crate) fn new(
        slots: usize,
        methods: usize,
        lanes: Vec<Lane>,
        queue_max: usize,
        claims: C,
    ) -> Self {
        Scheduler {
            records: JobRecords::new(),
            next_turn: 0,
            queue: JobQueue::new(lanes),
            queued: 0,
            queue_max,
            workers: WorkerTable::new(slots),
            latency_estimates: LatencyEstimates::new(methods),
            claims,
            stance: IntakeState::Accepting,
            operator_pause: OperatorPause::Off,
            hard_limited: 0,
            wake_at: None,
            stats: Stats::default(),
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub(crate) fn next_action(&mut self) -> Option<SchedulerAction<T>> {
        self.actions.pop_front()
    }

    /// Whether another request may be admitted.
    pub(crate) fn has_capacity(&self) -> bool {
        self.queued < self.queue_max
    }

    /// Whether requests are taken at all.
    pub(crate) fn is_accepting(&self) -> bool {
        self.stance == IntakeState::Accepting
    }

    pub(crate) fn queue_max(&self) -> usize {
        self.queue_max
    }

    pub(crate) fn lane(&self, name: &str) -> Option<LaneId> {
        self.queue.lane(name)
    }

    pub(crate) fn stats(&self) -> Stats {
        let queued = self.queued;
        let in_flight = self.records.count() - queued;
        Stats { queued, in_flight, ..self.stats }
    }

    /// How many requests have nobody to do them.
    pub(crate) fn unassigned(&self) -> usize {
        match (self.stance, self.operator_pause) {
            (IntakeState::Accepting | IntakeState::Draining, OperatorPause::Off) => self.queued,
            (IntakeState::Closed, _) | (_, OperatorPause::On) => 0,
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
        job: T,
        terms: JobTerms,
        now: MonotonicTime,
    ) -> JobKey {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.stats.admitted += 1;
        let record = JobRecord {
            id,
            job,
            terms,
            turn,
            admitted: now,
            attempts: 0,
            pid: None,
            state: JobState::Queued,
        };
        let key = self.records.insert(record);
        self.queued += 1;
        self.queue.push(terms.priority, terms.lane, QueueEntry { turn, key });
        key
    }

    /// What was admitted with a request.
    pub(crate) fn job(&mut self, key: JobKey) -> Option<(&mut T, u32)> {
        self.records.get_mut(key).map(|record| (&mut record.job, record.attempts))
    }

    /// A worker is there and ready for work.
    pub(crate) fn worker_ready(&mut self, child: ChildId, pid: Pid, now: MonotonicTime) {
        self.workers.ready(child, pid, now);
        self.assign(now);
    }

    fn note_returned(&mut self, terms: JobTerms) {
        self.queue.note_returned(terms.lane);
        self.hard_limited -= usize::from(terms.hard.is_some());
    }

    fn fail(&mut self, key: JobKey, failure: Failure, now: MonotonicTime) {
        let Some(record) = self.records.get(key) else { return };
        match record.state {
            JobState::Queued => self.queued -= 1,
            JobState::Sent { .. } => self.note_returned(record.terms),
        }
        self.fail_unsent(key, failure, now);
    }

    fn fail_unsent(&mut self, key: JobKey, failure: Failure, now: MonotonicTime) {
        if let Some(record) = self.records.remove(key) {
            self.stats.failed += 1;
            let run = record.run(Duration::ZERO, now);
            self.actions.push_back(SchedulerAction::Fail { job: record.job, failure, run });
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
        let Some(key) = self.workers.complete(slot, turn, now) else {
            self.stats.late += 1;
            return None;
        };
        self.schedule_check(slot, now);
        let fits = self.records.get(key).is_some_and(|record| {
            record.id.0 == id
                && record.attempts == attempt
                && record.state == JobState::Sent { slot, turn }
        });
        if !fits {
            self.stats.late += 1;
            return None;
        }
        let record = self.records.remove(key)?;
        self.note_returned(record.terms);
        self.latency_estimates.record(record.terms.method, took);
        self.stats.answered += 1;
        let run = record.run(took, now);
        Some((record.job, run))
    }

    /// The method that a worker does, or did last: what it prints is of that.
    pub(crate) fn method_of(&self, slot: usize) -> Option<&T> {
        let front = self.workers.oldest(slot)?;
        self.records.get(front.key).map(|record| &record.job)
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
    pub(crate) fn state_of(&self, slot: usize) -> Option<workers::WorkerState> {
        self.workers.state(slot)
    }

    #[cfg(test)]
    pub(crate) fn counts(&self) -> [(usize, usize); 2] {
        self.workers.counts()
    }
}

#[cfg(test)]
mod tests;
