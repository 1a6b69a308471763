//! Ends requests early, because of a cancellation, a time limit or a shutdown. Also handles the
//! operator's pause.

use daemon_core::{AbortResult, MonotonicTime, OperatorPause, Owner, RevokeResult, StopMode};

use super::workers::InFlight;
use super::{
    CancelOutcome, Claims, IntakeState, JobKey, JobState, STALL_LIMIT, Scheduler, SchedulerAction,
    UNRESPONSIVE_AFTER, WorkerKillReason,
};
use crate::answer::{Failure, LimitKind, Rejection, RequestState};
use crate::request::{IfRunning, RequestId};

impl<T, C: Claims> Scheduler<T, C> {
    /// Cancels a request. `running` decides what happens if the request is running. If `running` is
    /// `None`, the request's option `if_dropped` decides.
    pub(crate) fn cancel(
        &mut self,
        key: JobKey,
        running: Option<IfRunning>,
        now: MonotonicTime,
    ) -> CancelOutcome {
        let Some(record) = self.records.get(key) else { return CancelOutcome::Unknown };
        let JobState::Sent { slot, turn } = record.state else {
            self.fail(key, Failure::Cancelled { state: RequestState::Queued }, now);
            return CancelOutcome::Dequeued;
        };
        let running = running.unwrap_or(record.options.if_dropped);
        match (self.claims.revoke(slot, turn), running) {
            (RevokeResult::Revoked, _) => {
                self.take_out(slot, turn, now);
                self.fail(key, Failure::Cancelled { state: RequestState::Queued }, now);
                self.assign(now);
                CancelOutcome::Dequeued
            }
            (RevokeResult::AlreadyStarted, IfRunning::LetFinish) => CancelOutcome::StillRunning,
            (RevokeResult::AlreadyStarted, IfRunning::Terminate) => {
                let failure = Failure::Cancelled { state: RequestState::Running };
                match self.abort(slot, turn, WorkerKillReason::Cancelled, failure, now) {
                    AbortResult::Aborted => CancelOutcome::Terminated,
                    AbortResult::NotRunning => CancelOutcome::StillRunning,
                }
            }
        }
    }

    /// Returns the key of the unanswered request with this id. Searches all records.
    pub(crate) fn find(&self, id: RequestId) -> Option<JobKey> {
        self.records.iter().map(|(key, _record)| key).find(|key| key.id == id)
    }

    /// Gives up a worker that runs this task. The task fails, and the worker's other tasks are
    /// returned to the queue.
    fn abort(
        &mut self,
        slot: usize,
        turn: u64,
        reason: WorkerKillReason,
        failure: Failure,
        now: MonotonicTime,
    ) -> AbortResult {
        // A worker whose task is aborted starts no further task. If the task has finished already,
        // its answer is on the way, and `claims.abort` changes nothing.
        let aborted = self.claims.abort(slot, turn);
        if aborted == AbortResult::Aborted {
            if let Some(key) = self.take_out(slot, turn, now) {
                self.fail(key, failure, now);
            }
            self.revoke_all(slot, now);
            if let Some(pid) = self.workers.mark_killed(slot) {
                self.actions.push_back(SchedulerAction::Kill { pid, reason });
            }
            self.assign(now);
        }
        aborted
    }

    /// Gives up a worker that does not start its oldest task. Its tasks are returned to the queue.
    fn abandon_worker(&mut self, slot: usize, now: MonotonicTime) {
        self.revoke_all(slot, now);
        // The worker may have started a task in the meantime. In that case the worker is not
        // killed.
        if self.workers.in_flight_count(slot) == 0
            && let Some(pid) = self.workers.mark_killed(slot)
        {
            self.actions
                .push_back(SchedulerAction::Kill { pid, reason: WorkerKillReason::Unresponsive });
        }
    }

    pub(super) fn revoke_all(&mut self, slot: usize, now: MonotonicTime) {
        for InFlight { turn, key, .. } in self.workers.in_flight(slot) {
            if self.claims.revoke(slot, turn) == RevokeResult::Revoked {
                self.take_out(slot, turn, now);
                self.return_to_queue(key, now);
            }
        }
    }

    /// Runs the time-dependent checks: kills workers whose task exceeds its hard limit, takes back
    /// tasks that wait behind a long task, and marks workers that do not start their task as
    /// unresponsive. Kills an unresponsive worker when the hard limit of its task has passed.
    pub(crate) fn tick(&mut self, now: MonotonicTime) {
        for slot in self.workers.stalled(now, STALL_LIMIT) {
            self.revoke_all(slot, now);
        }
        for (slot, oldest) in self.workers.oldest_in_flight() {
            let limit = self.records.get(oldest.key).and_then(|record| record.options.hard);
            let waited = self.workers.oldest_for(slot, now);
            match (self.claims.owner(slot, oldest.turn), limit) {
                (Owner::Worker(started_at), Some(limit))
                    if now.saturating_since(started_at) >= limit =>
                {
                    let failure = Failure::TimedOut { kind: LimitKind::Hard, limit };
                    let _ =
                        self.abort(slot, oldest.turn, WorkerKillReason::HardLimit, failure, now);
                }
                (Owner::Sender, limit) if waited >= UNRESPONSIVE_AFTER => {
                    self.workers.mark_unresponsive(slot);
                    if limit.is_some_and(|limit| waited >= limit) {
                        self.abandon_worker(slot, now);
                    }
                }
                (Owner::Worker(_) | Owner::Sender, _) => {}
            }
        }
        self.assign(now);
        self.wake_at = self.next_check(now);
    }

    /// Returns when `tick` must be called if no other event occurs earlier. The time may be earlier
    /// than necessary.
    pub(crate) fn wake_at(&self) -> Option<MonotonicTime> {
        self.wake_at
    }

    /// Schedules the next check of a worker whose tasks in flight have changed.
    pub(super) fn schedule_check(&mut self, slot: usize, now: MonotonicTime) {
        // The time at which `tick` checks whether the worker has started its oldest task.
        let unresponsive = self.workers.oldest(slot).map(|_oldest| now + UNRESPONSIVE_AFTER);
        self.wake_at =
            self.wake_at.into_iter().chain(self.check_at(slot, now)).chain(unresponsive).min();
    }

    /// Returns when this worker's task must be checked for a stall or its hard limit.
    fn check_at(&self, slot: usize, now: MonotonicTime) -> Option<MonotonicTime> {
        let stall = self.workers.stalled_at(slot, STALL_LIMIT);
        if self.hard_limited == 0 {
            return stall;
        }
        let overtime = self.workers.oldest(slot).and_then(|oldest| {
            let limit = self.records.get(oldest.key)?.options.hard?;
            let started_at = match self.claims.owner(slot, oldest.turn) {
                Owner::Worker(started_at) => started_at,
                Owner::Sender => now,
            };
            Some(started_at + limit)
        });
        overtime.into_iter().chain(stall).min()
    }

    /// Returns when this worker becomes unresponsive if it has not started its task by then.
    /// Returns `None` for a worker that is unresponsive already, because such a worker is checked
    /// again when another worker is idle.
    fn unresponsive_at(&self, slot: usize, now: MonotonicTime) -> Option<MonotonicTime> {
        let oldest = self.workers.oldest(slot)?;
        let left = UNRESPONSIVE_AFTER.saturating_sub(self.workers.oldest_for(slot, now));
        let is_due = !left.is_zero() && self.claims.owner(slot, oldest.turn) == Owner::Sender;
        is_due.then(|| now + left)
    }

    /// Returns the time of the earliest check of all workers. After each tick,
    /// [`wake_at`](Scheduler::wake_at) returns this time.
    pub(super) fn next_check(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        let slots = self.workers.slots().into_iter();
        slots
            .flat_map(|slot| [self.check_at(slot, now), self.unresponsive_at(slot, now)])
            .flatten()
            .min()
    }

    /// Removes a task from its worker. The worker has not started the task, or will not finish it.
    pub(super) fn take_out(
        &mut self,
        slot: usize,
        turn: u64,
        now: MonotonicTime,
    ) -> Option<JobKey> {
        let key = self.workers.take_out(slot, turn)?;
        self.schedule_check(slot, now);
        Some(key)
    }

    /// Sets the operator's pause. While it is on, no request is sent, and sent tasks that have not
    /// been started are revoked.
    pub(crate) fn set_operator_pause(&mut self, operator_pause: OperatorPause, now: MonotonicTime) {
        self.operator_pause = operator_pause;
        if operator_pause == OperatorPause::On {
            for slot in self.workers.slots() {
                self.revoke_all(slot, now);
            }
        }
        self.assign(now);
    }

    /// Starts the shutdown. A graceful stop still runs all accepted requests; an immediate stop
    /// rejects the queued requests.
    pub(crate) fn stop(&mut self, mode: StopMode, now: MonotonicTime) {
        match mode {
            StopMode::Graceful => {
                if self.intake == IntakeState::Accepting {
                    self.intake = IntakeState::Draining;
                }
                self.operator_pause = OperatorPause::Off;
                self.assign(now);
            }
            StopMode::Immediate => {
                self.intake = IntakeState::Closed;
                for slot in self.workers.slots() {
                    self.revoke_all(slot, now);
                }
                self.reject_queued(now);
            }
        }
    }

    /// Rejects all queued requests, in the order of their admission.
    fn reject_queued(&mut self, now: MonotonicTime) {
        let waiting = self.records.iter().filter(|(_key, record)| record.state == JobState::Queued);
        let mut keys: Vec<(u64, JobKey)> =
            waiting.map(|(key, record)| (record.sequence, key)).collect();
        keys.sort_by_key(|(sequence, _key)| *sequence);
        for (_sequence, key) in keys {
            self.fail(key, Rejection::ShuttingDown.into(), now);
        }
    }
}
