//! The scheduler: a pure state machine, without I/O or a clock. It tracks each request from its
//! admission to the queue until it is answered, exactly once.
//!
//! ```text
//!             admit                     assign                     answered
//!   sender ----------->  Queued  ------------------->  Sent  ------------------->  (answered)
//!                          ^   |                        |  |
//!                          |   | cancel                 |  | hard limit, cancel: (answered)
//!                          |   +--> (answered)          |  | worker exited during the task:
//!                          +----------------------------+  +-> Queued if attempts are left,
//!                            not started: revoked              else (answered)
//! ```
//!
//! The record of a request is removed when the request is answered, so a request cannot be answered
//! twice. A worker's answer is matched to a record by slot, turn (the number of the task among the
//! tasks sent to the slot), id and attempt. Therefore, if a request has failed or was cancelled, a
//! later answer to it matches no record.

mod ending;
mod queue;
mod records;
mod workers;

use std::collections::VecDeque;
use std::time::Duration;

use actix_daemon::{ChildId, Pid};
use daemon_core::{AbortResult, ExitCause, MonotonicTime, OperatorPause, Owner, RevokeResult};

use crate::answer::{Failure, Rejection};
use crate::request::{IfRunning, RunInfo};
pub use queue::Lane;
pub(crate) use queue::LaneId;
use queue::{JobQueue, QueueEntry};
pub(crate) use records::JobKey;
use records::{JobRecord, JobRecords, JobState};
pub use workers::IdleOrder;
use workers::{InFlight, WorkerState, WorkerTable};

/// The maximum number of tasks that a worker has in flight.
pub(crate) const IN_FLIGHT_MAX: usize = 64;

/// A task is sent ahead to a busy worker only if the expected run time of the worker's tasks in
/// flight and the expected run time of the task itself are both shorter than this limit. Another
/// worker may start a task that was queued later before the task that was sent ahead. The task that
/// was sent ahead is then expected to start at most this much later.
const SEND_AHEAD_MAX: Duration = Duration::from_millis(1);

/// If a worker's oldest task has been its oldest for this long, the tasks that wait behind it are
/// revoked.
const STALL_LIMIT: Duration = Duration::from_millis(2);

/// The time within which an idle worker is expected to start a task. After that time, the task can
/// be given to another worker. A worker that is suspended, or whose event loop is blocked, does not
/// start its task.
const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(1);

/// The time after which a worker that does not start a task, and runs no other task, is killed.
const UNRESPONSIVE_MAX: Duration = Duration::from_secs(30);

/// The time within which a worker must send the answer to a task that it has finished, and must
/// complete a message that it has begun to send.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The time within which a worker must exit after it has reported that it leaves, or after its last
/// answer if that is later.
const LEAVE_MAX: Duration = Duration::from_secs(30);

/// The time within which a worker must exit after it has closed its link. A worker that exits
/// closes its link, too.
const CLOSED_MAX: Duration = Duration::from_secs(1);

/// The claims that decide who owns a task that has been sent to a worker: the parent or the worker.
pub(crate) trait Claims {
    fn offer(&self, slot: usize, turn: u64);
    fn revoke(&self, slot: usize, turn: u64) -> RevokeResult;
    fn abort(&self, slot: usize, turn: u64) -> AbortResult;
    fn owner(&self, slot: usize, turn: u64) -> Owner;
}

/// Options of a validated request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobOptions {
    pub(crate) method: u16,
    pub(crate) priority: i8,
    pub(crate) lane: LaneId,
    pub(crate) hard: Option<Duration>,
    pub(crate) attempts: u32,
    pub(crate) if_dropped: IfRunning,
}

/// An action for the caller to carry out.
#[derive(Debug)]
pub(crate) enum SchedulerAction<T> {
    /// Send this job to a worker.
    Send { slot: usize, turn: u64, key: JobKey },
    /// Answer a request with this failure.
    Fail { job: T, failure: Failure, run: RunInfo },
    /// Kill a worker.
    Kill { pid: Pid, reason: WorkerKillReason },
}

/// Why a worker is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerKillReason {
    /// The worker's task exceeded the hard limit.
    HardLimit,
    /// The worker's task was cancelled.
    Cancelled,
    /// The worker did not start its task in time.
    Unresponsive,
    /// The worker did not report in time that it is ready.
    NotReady,
    /// The worker finished its task, but did not send the answer in time.
    AnswerMissing,
    /// The worker sent the start of a message, but did not complete it in time.
    UnfinishedMessage,
    /// The claim of the worker's task is damaged.
    DamagedClaim,
    /// The worker reported that it leaves, but did not exit in time.
    NotLeft,
    /// The worker closed its link, but did not exit in time.
    LinkClosed,
    /// The link to the worker cannot be used any more, because of an invalid message or an error.
    LinkBroken,
    /// A hook that the parent runs for this worker has panicked.
    HookPanicked,
}

impl WorkerKillReason {
    pub(crate) fn word(self) -> &'static str {
        match self {
            WorkerKillReason::HardLimit => "its task exceeded the hard limit",
            WorkerKillReason::Cancelled => "its task was cancelled",
            WorkerKillReason::Unresponsive => "did not start its task in time",
            WorkerKillReason::NotReady => "was not ready in time",
            WorkerKillReason::AnswerMissing => "did not send the answer of its task in time",
            WorkerKillReason::UnfinishedMessage => "did not complete a message in time",
            WorkerKillReason::DamagedClaim => "the claim of its task is damaged",
            WorkerKillReason::NotLeft => {
                "did not exit in time after it had announced that it leaves"
            }
            WorkerKillReason::LinkClosed => "closed its link",
            WorkerKillReason::LinkBroken => "its link is broken",
            WorkerKillReason::HookPanicked => "its fork_postinit hook panicked",
        }
    }
}

/// Whether an answer of a worker can be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerCheck {
    /// The answer belongs to a task that the worker has in flight.
    Expected,
    /// The answer belongs to no such task. The worker is being killed, so the task may have failed
    /// before.
    Late,
    /// The answer belongs to no task that the worker was sent and has not answered yet. A worker
    /// that works correctly sends no such answer.
    Unexpected,
}

/// The result of a [`Cancel`](crate::Cancel) message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The request had not started, and will not start.
    Dequeued,
    /// The request was running. Its worker is being killed.
    Terminated,
    /// The request is running and continues to run.
    StillRunning,
    /// The request has been answered already, does not exist, or has not arrived yet. A request
    /// that has not arrived yet is answered as cancelled when it arrives. Requests that are not run
    /// by workers at all (those of the fallback, or run in the parent process) are also unknown.
    Unknown,
}

/// Counts of the requests since the start of the dispatcher, and of the current requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that were accepted: queued, run in the parent process, or passed to the
    /// [fallback](crate::DispatcherBuilder::fallback).
    pub admitted: u64,
    /// Requests that a method or the fallback answered with a value, an error or a panic.
    pub answered: u64,
    /// Requests that failed without such an answer: lost, dead-lettered, stopped at the hard limit,
    /// cancelled, or rejected while they were queued.
    pub failed: u64,
    /// Retries because a worker died.
    pub retried: u64,
    /// Tasks that were sent to a worker and revoked before it started them.
    pub reclaimed: u64,
    /// Answers of workers that arrived after their request had already failed, for example because
    /// it was cancelled or reached its hard limit.
    pub late: u64,
    /// The number of requests in the queue at present.
    pub queued: usize,
    /// The number of requests at workers at present.
    pub in_flight: usize,
    /// Bytes that workers printed and that were dropped, because they exceeded the
    /// [limit](crate::DispatcherBuilder::output_limit) or because the talkback recipient was too
    /// slow. Ends of lines between dropped lines are included.
    pub dropped_output_bytes: u64,
    /// Lines that workers printed and that were dropped for these reasons.
    pub dropped_output_lines: u64,
    /// Events of the dispatcher that were not sent to the talkback recipient, because it was too
    /// slow.
    pub dropped_events: u64,
}

/// The estimated run time of each method, by its index.
#[derive(Debug)]
struct LatencyEstimates(Vec<Option<Duration>>);

impl LatencyEstimates {
    fn new(methods: usize) -> LatencyEstimates {
        LatencyEstimates(vec![None; methods])
    }

    /// Returns the expected run time of a method, or `None` if no call of the method has been
    /// answered yet.
    fn of(&self, method: u16) -> Option<Duration> {
        self.0.get(usize::from(method)).copied().flatten()
    }

    /// Records the run time of a call. A slower call raises the estimate to its run time. A faster
    /// call lowers the estimate by an eighth of the difference.
    fn record(&mut self, method: u16, took: Duration) {
        let Some(estimate) = self.0.get_mut(usize::from(method)) else { return };
        *estimate = Some(match *estimate {
            Some(before) if took < before => before - (before - took) / 8,
            Some(_) | None => took,
        });
    }
}

/// Whether requests are accepted, and whether accepted requests are sent to workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IntakeState {
    Accepting,
    /// No further requests are accepted. The accepted requests are still sent.
    Draining,
    /// No requests are accepted or sent.
    Closed,
}

/// All unanswered requests, and the workers that run them.
#[derive(Debug)]
pub(crate) struct Scheduler<T, C> {
    records: JobRecords<T>,
    next_sequence: u64,
    queue: JobQueue,
    /// The number of queued requests. Queue entries of cancelled requests are not counted.
    queued: usize,
    queue_max: usize,
    workers: WorkerTable,
    latency_estimates: LatencyEstimates,
    claims: C,
    intake: IntakeState,
    operator_pause: OperatorPause,
    /// The number of sent tasks that have a hard limit.
    hard_limited: usize,
    /// When `tick` must be called if no other event occurs earlier. Before this time there is
    /// nothing to check.
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
        idle_order: IdleOrder,
        claims: C,
    ) -> Self {
        Scheduler {
            records: JobRecords::new(),
            next_sequence: 0,
            queue: JobQueue::new(lanes),
            queued: 0,
            queue_max,
            workers: WorkerTable::new(slots, idle_order),
            latency_estimates: LatencyEstimates::new(methods),
            claims,
            intake: IntakeState::Accepting,
            operator_pause: OperatorPause::Off,
            hard_limited: 0,
            wake_at: None,
            stats: Stats::default(),
            actions: VecDeque::new(),
        }
    }

    /// Returns the next action.
    pub(crate) fn next_action(&mut self) -> Option<SchedulerAction<T>> {
        self.actions.pop_front()
    }

    /// Returns whether the queue has space for another request.
    pub(crate) fn has_capacity(&self) -> bool {
        self.queued < self.queue_max
    }

    /// Returns whether the scheduler accepts requests.
    pub(crate) fn is_accepting(&self) -> bool {
        self.intake == IntakeState::Accepting
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

    /// Returns the number of requests that wait for a worker. Returns 0 while the scheduler does
    /// not send requests to workers.
    pub(crate) fn unassigned(&self) -> usize {
        match (self.intake, self.operator_pause) {
            (IntakeState::Accepting | IntakeState::Draining, OperatorPause::Off) => self.queued,
            (IntakeState::Closed, _) | (_, OperatorPause::On) => 0,
        }
    }

    /// Returns whether all accepted requests have been answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.count() == 0
    }

    /// Adds a request to the queue.
    pub(crate) fn admit(
        &mut self,
        id: u64,
        job: T,
        options: JobOptions,
        now: MonotonicTime,
    ) -> JobKey {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.stats.admitted += 1;
        let record = JobRecord {
            id,
            job,
            options,
            sequence,
            admitted: now,
            attempts: 0,
            pid: None,
            state: JobState::Queued,
        };
        let key = self.records.insert(record);
        self.queued += 1;
        self.queue.push(options.priority, options.lane, QueueEntry { sequence, key });
        key
    }

    /// Returns the job of a request and its number of attempts.
    pub(crate) fn job(&mut self, key: JobKey) -> Option<(&mut T, u32)> {
        self.records.get_mut(key).map(|record| (&mut record.job, record.attempts))
    }

    /// Adds a worker that has been forked. It is killed if it is not ready at `ready_by`.
    pub(crate) fn worker_forked(
        &mut self,
        child: ChildId,
        pid: Pid,
        ready_by: MonotonicTime,
        now: MonotonicTime,
    ) {
        self.workers.forked(child, pid, ready_by, now);
        self.schedule_check(child.slot.index(), now);
    }

    /// Handles a worker that is ready for tasks.
    pub(crate) fn worker_ready(&mut self, child: ChildId, now: MonotonicTime) {
        self.workers.ready(child);
        self.assign(now);
    }

    /// Checks whether an answer can be accepted.
    pub(crate) fn check_answer(
        &self,
        child: ChildId,
        turn: u64,
        id: u64,
        attempt: u32,
    ) -> AnswerCheck {
        let slot = child.slot.index();
        if self.workers.child(slot) != Some(child) {
            return AnswerCheck::Unexpected;
        }
        let key = self.workers.find(slot, turn).map(|sent| sent.key);
        let is_match = key.and_then(|key| self.records.get(key)).is_some_and(|record| {
            record.id == id
                && record.attempts == attempt
                && record.state == JobState::Sent { slot, turn }
        });
        match self.workers.state(slot) {
            _any if is_match => AnswerCheck::Expected,
            Some(WorkerState::BeingKilled) => AnswerCheck::Late,
            Some(WorkerState::Starting | WorkerState::Active | WorkerState::Draining) | None => {
                AnswerCheck::Unexpected
            }
        }
    }

    /// Counts an answer that arrived after its request had failed.
    pub(crate) fn note_late_answer(&mut self) {
        self.stats.late += 1;
    }

    fn note_returned(&mut self, options: JobOptions) {
        self.queue.note_returned(options.lane);
        self.hard_limited -= usize::from(options.hard.is_some());
    }

    fn fail(&mut self, key: JobKey, failure: Failure, now: MonotonicTime) {
        let Some(record) = self.records.get(key) else { return };
        match record.state {
            JobState::Queued => self.queued -= 1,
            JobState::Sent { .. } => self.note_returned(record.options),
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

    /// Handles a worker's answer. Returns the job, or `None` if the answer matches no task in
    /// flight.
    pub(crate) fn answered(
        &mut self,
        child: ChildId,
        turn: u64,
        id: u64,
        attempt: u32,
        took: Duration,
        now: MonotonicTime,
    ) -> Option<(T, RunInfo)> {
        let slot = child.slot.index();
        match self.check_answer(child, turn, id, attempt) {
            AnswerCheck::Expected => {}
            AnswerCheck::Late | AnswerCheck::Unexpected => {
                self.stats.late += 1;
                return None;
            }
        }
        // The worker has measured the run time, so it can be any value.
        let sent = self.workers.find(slot, turn).map(|sent| sent.sent);
        let took = took.min(sent.map_or(Duration::ZERO, |sent| now.saturating_since(sent)));
        let key = self.workers.complete(slot, turn, now)?;
        self.schedule_check(slot, now);
        let record = self.records.remove(key)?;
        self.note_returned(record.options);
        self.latency_estimates.record(record.options.method, took);
        self.stats.answered += 1;
        let run = record.run(took, now);
        Some((record.job, run))
    }

    /// Returns the job that a worker runs: its oldest job in flight. The worker's output is
    /// attributed to this job.
    pub(crate) fn running_job(&self, slot: usize) -> Option<&T> {
        let oldest = self.workers.oldest(slot)?;
        self.records.get(oldest.key).map(|record| &record.job)
    }

    /// Returns a job that a worker has in flight.
    pub(crate) fn job_of(&self, slot: usize, turn: u64) -> Option<&T> {
        let sent = self.workers.find(slot, turn)?;
        self.records.get(sent.key).map(|record| &record.job)
    }

    /// Returns the child in a slot.
    pub(crate) fn child_of(&self, slot: usize) -> Option<ChildId> {
        self.workers.child(slot)
    }

    /// Returns whether a worker has this task in flight.
    pub(crate) fn is_in_flight(&self, slot: usize, turn: u64) -> bool {
        self.workers.find(slot, turn).is_some()
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

impl<T, C: Claims> Scheduler<T, C> {
    /// Sends queued requests to idle workers, then sends short tasks ahead to busy workers. Idle
    /// workers also get the tasks of unresponsive workers and, if no request is queued, tasks that
    /// were sent ahead to other workers.
    pub(crate) fn assign(&mut self, now: MonotonicTime) {
        if self.operator_pause == OperatorPause::On || self.intake == IntakeState::Closed {
            return;
        }
        while let Some(slot) = self.workers.next_idle() {
            if !self.workers.is_unresponsive(slot)
                && self.revoke(&self.workers.sent_to_unresponsive(), now)
            {
                continue;
            }
            let Some(key) = self.pop_queued() else {
                if self.revoke(&self.workers.sent_ahead(), now) { continue } else { break }
            };
            self.send(slot, key, now);
        }
        self.send_ahead(now);
    }

    /// Removes the next request from the queue, skipping entries of cancelled requests.
    fn pop_queued(&mut self) -> Option<JobKey> {
        loop {
            let entry = self.queue.pop()?;
            let is_queued =
                self.records.get(entry.key).is_some_and(|record| record.state == JobState::Queued);
            if is_queued {
                return Some(entry.key);
            }
        }
    }

    fn send(&mut self, slot: usize, key: JobKey, now: MonotonicTime) {
        let estimate =
            self.records.get(key).map(|record| self.latency_estimates.of(record.options.method));
        let Some((turn, pid)) = self.workers.add(slot, key, estimate.flatten(), now) else {
            return;
        };
        let Some(record) = self.records.get_mut(key) else { return };
        record.state = JobState::Sent { slot, turn };
        record.attempts += 1;
        record.pid = Some(pid);
        let options = record.options;
        self.queued -= 1;
        self.queue.note_sent(options.lane);
        self.hard_limited += usize::from(options.hard.is_some());
        self.claims.offer(slot, turn);
        self.schedule_check(slot, now);
        self.actions.push_back(SchedulerAction::Send { slot, turn, key });
    }

    /// Sends queued tasks ahead to workers that have just answered and whose remaining tasks are
    /// short. Only tasks that are expected to be short are sent ahead.
    fn send_ahead(&mut self, now: MonotonicTime) {
        let mut slots = self.workers.take_recently_answered();
        while let Some(slot) = slots.pop() {
            let share = self.queued / self.workers.count().max(1);
            let mut left =
                share.min(IN_FLIGHT_MAX.saturating_sub(self.workers.in_flight_count(slot)));
            while left > 0
                && self.workers.expected_load(slot).is_some_and(|load| load < SEND_AHEAD_MAX)
            {
                let Some(entry) = self.queue.peek() else { break };
                let is_short = match self.records.get(entry.key) {
                    // The request was cancelled, so `pop_queued` discards the entry.
                    None => true,
                    Some(record) => self
                        .latency_estimates
                        .of(record.options.method)
                        .is_some_and(|estimate| estimate < SEND_AHEAD_MAX),
                };
                if !is_short {
                    break;
                }
                let Some(key) = self.pop_queued() else { break };
                self.send(slot, key, now);
                left -= 1;
            }
        }
        self.workers.return_buffer(slots);
    }

    /// Revokes the first of these tasks that its worker has not started, and puts the task back
    /// into the queue for an idle worker. Returns whether a task was revoked.
    fn revoke(&mut self, sent: &[(usize, InFlight)], now: MonotonicTime) -> bool {
        for &(slot, InFlight { turn, key, .. }) in sent {
            if self.records.get(key).is_none() {
                continue;
            }
            if self.take_back(slot, turn) == RevokeResult::Revoked {
                self.take_out(slot, turn, now);
                self.return_to_queue(key, now);
                return true;
            }
        }
        false
    }

    /// Handles a worker that starts no further task. The tasks that were sent ahead to it are
    /// returned to the queue.
    pub(crate) fn worker_draining(&mut self, child: ChildId, now: MonotonicTime) {
        let slot = child.slot.index();
        if self.workers.child(slot) == Some(child) {
            self.workers.drain(slot, now);
            self.revoke_all(slot, now);
            self.schedule_check(slot, now);
            self.assign(now);
        }
    }

    /// Handles the exit of a worker. A task that it had started is lost or retried; the other tasks
    /// are returned to the queue.
    pub(crate) fn worker_gone(&mut self, child: ChildId, cause: ExitCause, now: MonotonicTime) {
        let slot = child.slot.index();
        let Some(in_flight) = self.workers.remove(child) else { return };
        for InFlight { turn, key, started, .. } in in_flight {
            match self.claims.owner(slot, turn) {
                Owner::Sender if started.is_none() => {
                    // The worker has exited and cannot start the task any more. The claim is
                    // revoked nevertheless, because its cell is used again for a later task.
                    let _ = self.claims.revoke(slot, turn);
                    self.return_to_queue(key, now);
                }
                Owner::Sender | Owner::Worker(_) | Owner::Finished | Owner::Unknown => {
                    self.worker_lost(key, cause, now);
                }
            }
        }
        self.assign(now);
    }

    fn worker_lost(&mut self, key: JobKey, cause: ExitCause, now: MonotonicTime) {
        let Some(record) = self.records.get(key) else { return };
        let attempts = record.attempts;
        if attempts < record.options.attempts && self.intake != IntakeState::Closed {
            self.stats.retried += 1;
            self.requeue(key, now);
            return;
        }
        let failure = match attempts {
            0 | 1 => Failure::WorkerLost { cause },
            attempts => Failure::DeadLettered { attempts, cause },
        };
        self.fail(key, failure, now);
    }

    /// Puts a task back into the queue, at its former position. The task was sent to a worker but
    /// was not started.
    pub(super) fn return_to_queue(&mut self, key: JobKey, now: MonotonicTime) {
        self.stats.reclaimed += 1;
        if let Some(record) = self.records.get_mut(key) {
            // A task that was not started does not count as an attempt.
            record.attempts = record.attempts.saturating_sub(1);
        }
        self.requeue(key, now);
    }

    fn requeue(&mut self, key: JobKey, now: MonotonicTime) {
        let Some(record) = self.records.get_mut(key) else { return };
        record.state = JobState::Queued;
        let (options, sequence) = (record.options, record.sequence);
        self.note_returned(options);
        if self.intake == IntakeState::Closed {
            self.fail_unsent(key, Rejection::ShuttingDown.into(), now);
        } else {
            self.queued += 1;
            self.queue.put_back(options.priority, options.lane, QueueEntry { sequence, key });
        }
    }
}

/// Tests of the scheduler with simulated workers, in fixed scenarios and with random events.
#[cfg(test)]
mod tests {
    mod random;
    mod scenarios;
    mod simulation;
}
