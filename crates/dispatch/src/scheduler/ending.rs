//! Ends requests early, because of a cancellation, a time limit or a shutdown. Also handles the
//! operator's pause.

use actix_daemon::ChildId;
use daemon_core::{AbortResult, MonotonicTime, OperatorPause, RevokeResult, StopMode};

use super::workers::{InFlight, TaskProgress, WorkerState};
use super::{
    ANSWER_MAX, CLOSED_MAX, CancelOutcome, Claims, IntakeState, JobKey, JobState, STALL_LIMIT,
    Scheduler, SchedulerAction, UNRESPONSIVE_AFTER, UNRESPONSIVE_MAX, WorkerKillReason,
};
use crate::answer::{Failure, LimitKind, Rejection, RequestState};
use crate::request::IfRunning;

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
        match (self.take_back(slot, turn), running) {
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
    pub(crate) fn find(&self, id: u64) -> Option<JobKey> {
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
            self.kill(slot, reason, now);
            self.assign(now);
        }
        aborted
    }

    /// Gives up a worker that does not start its oldest task. Its tasks are returned to the queue.
    fn abandon_worker(&mut self, slot: usize, now: MonotonicTime) {
        self.revoke_all(slot, now);
        // The worker may have started a task in the meantime. In that case the worker is not
        // killed.
        if self.workers.in_flight_count(slot) == 0 {
            self.kill(slot, WorkerKillReason::Unresponsive, now);
        }
    }

    /// Kills a worker, unless it is being killed already. Its tasks that were not started are
    /// returned to the queue. The others fail when it has exited.
    pub(super) fn kill(&mut self, slot: usize, reason: WorkerKillReason, now: MonotonicTime) {
        if let Some(pid) = self.workers.mark_killed(slot) {
            self.actions.push_back(SchedulerAction::Kill { pid, reason });
            self.revoke_all(slot, now);
        }
    }

    /// Kills a worker whose link cannot be used any more.
    pub(crate) fn link_broken(&mut self, child: ChildId, now: MonotonicTime) {
        self.kill_child(child, WorkerKillReason::LinkBroken, now);
    }

    /// Kills a worker because the hook that the parent runs for it has panicked.
    pub(crate) fn worker_refused(&mut self, child: ChildId, now: MonotonicTime) {
        self.kill_child(child, WorkerKillReason::HookPanicked, now);
    }

    fn kill_child(&mut self, child: ChildId, reason: WorkerKillReason, now: MonotonicTime) {
        let slot = child.slot.index();
        if self.workers.child(slot) == Some(child) {
            self.kill(slot, reason, now);
            self.schedule_check(slot, now);
            self.assign(now);
        }
    }

    /// Handles a worker that has closed its link. It gets no further task, and is killed if it does
    /// not exit soon.
    pub(crate) fn link_closed(&mut self, child: ChildId, now: MonotonicTime) {
        let slot = child.slot.index();
        if self.workers.child(slot) != Some(child) {
            return;
        }
        // A worker that has reported that it leaves closes its link before it exits, and may take
        // its time for that if no answer is missing.
        let is_leaving = self.workers.state(slot) == Some(WorkerState::Draining);
        self.workers.drain(slot, now);
        self.revoke_all(slot, now);
        if !is_leaving || self.workers.in_flight_count(slot) > 0 {
            self.workers.require_exit(slot, now + CLOSED_MAX, WorkerKillReason::LinkClosed);
        }
        self.schedule_check(slot, now);
        self.assign(now);
    }

    /// Notes whether a worker has sent only the start of a message. It must complete the message in
    /// time.
    pub(crate) fn set_in_message(
        &mut self,
        child: ChildId,
        is_in_message: bool,
        now: MonotonicTime,
    ) {
        let slot = child.slot.index();
        if self.workers.child(slot) == Some(child) {
            self.workers.set_message_due(slot, is_in_message.then(|| now + ANSWER_MAX));
            self.schedule_check(slot, now);
        }
    }

    /// Notes whether the parent reads an answer that has arrived completely. Meanwhile no answer of
    /// the worker is late.
    pub(crate) fn set_being_read(
        &mut self,
        child: ChildId,
        is_being_read: bool,
        now: MonotonicTime,
    ) {
        let slot = child.slot.index();
        if self.workers.child(slot) == Some(child) {
            self.workers.set_being_read(slot, is_being_read);
            self.schedule_check(slot, now);
        }
    }

    /// Removes a task that cannot be sent, and answers its request with this failure.
    pub(crate) fn not_sendable(
        &mut self,
        slot: usize,
        turn: u64,
        failure: Failure,
        now: MonotonicTime,
    ) {
        // The worker has not received the task, so it cannot start it.
        let _ = self.claims.revoke(slot, turn);
        if let Some(key) = self.take_out(slot, turn, now) {
            self.fail(key, failure, now);
        }
        self.assign(now);
    }

    /// Revokes a task unless the worker has started it. A task that was observed as started stays
    /// with the worker, whatever the worker has written into the claim since then.
    pub(super) fn take_back(&self, slot: usize, turn: u64) -> RevokeResult {
        if self.workers.find(slot, turn).is_some_and(|sent| sent.started.is_some()) {
            RevokeResult::AlreadyStarted
        } else {
            self.claims.revoke(slot, turn)
        }
    }

    pub(super) fn revoke_all(&mut self, slot: usize, now: MonotonicTime) {
        for InFlight { turn, key, .. } in self.workers.in_flight(slot) {
            match self.take_back(slot, turn) {
                RevokeResult::Revoked => {
                    self.take_out(slot, turn, now);
                    self.return_to_queue(key, now);
                }
                RevokeResult::AlreadyStarted => {
                    let owner = self.claims.owner(slot, turn);
                    self.workers.note_started(slot, turn, owner, now);
                }
            }
        }
    }

    /// Returns the workers that the next [`tick`](Scheduler::tick) may kill because a message is
    /// missing. Read their links before the tick, because the message may have arrived.
    pub(crate) fn with_overdue_messages(&self, now: MonotonicTime) -> Vec<ChildId> {
        self.workers.with_overdue_messages(now)
    }

    /// Runs the time-dependent checks: kills workers whose task exceeds its hard limit or that do
    /// not send, in time, what they must send; takes back tasks that wait behind a long task; and
    /// marks workers that do not start their task as unresponsive. Kills an unresponsive worker
    /// when the hard limit of its task or [`UNRESPONSIVE_MAX`] has passed.
    pub(crate) fn tick(&mut self, now: MonotonicTime) {
        for slot in self.workers.slots() {
            if let Some(reason) = self.workers.overdue(slot, now) {
                self.kill(slot, reason, now);
            }
        }
        for slot in self.workers.stalled(now, STALL_LIMIT) {
            self.revoke_all(slot, now);
        }
        for (slot, task) in self.workers.to_check(now, STALL_LIMIT) {
            self.check_task(slot, task.turn, now);
        }
        self.assign(now);
        self.wake_at = self.next_check(now);
    }

    /// Checks a task in flight. Does nothing if an earlier check has removed the task.
    fn check_task(&mut self, slot: usize, turn: u64, now: MonotonicTime) {
        let owner = self.claims.owner(slot, turn);
        let Some(progress) = self.workers.observe(slot, turn, owner, now) else { return };
        let Some(&task) = self.workers.find(slot, turn) else { return };
        let limit = self.records.get(task.key).and_then(|record| record.options.hard);
        let is_over_limit = limit.is_some_and(|limit| task.limit_at(owner, limit, now) <= now);
        let failure = |limit| Failure::TimedOut { kind: LimitKind::Hard, limit };
        match (progress, limit) {
            (TaskProgress::NotStarted, limit) => {
                let waited = self.workers.oldest_for(slot, now);
                if waited >= UNRESPONSIVE_AFTER && self.workers.is_oldest(slot, turn) {
                    self.workers.mark_unresponsive(slot);
                    if waited >= limit.unwrap_or(UNRESPONSIVE_MAX).min(UNRESPONSIVE_MAX) {
                        self.abandon_worker(slot, now);
                    }
                }
            }
            (TaskProgress::Started(_), Some(limit)) if is_over_limit => {
                // If the worker finishes the task at this moment, its answer is awaited.
                let _ = self.abort(slot, turn, WorkerKillReason::HardLimit, failure(limit), now);
            }
            // A worker finishes a task before it starts the next one.
            (TaskProgress::Started(_), _) if self.workers.has_started_later(slot, turn) => {
                self.kill(slot, WorkerKillReason::DamagedClaim, now);
            }
            (TaskProgress::Started(_), _) => {}
            (TaskProgress::Finished(_), _) if self.workers.is_being_read(slot) => {}
            (TaskProgress::Finished(since), limit) => {
                if now.saturating_since(since) >= ANSWER_MAX {
                    self.give_up(slot, turn, limit.filter(|_| is_over_limit).map(failure), now);
                    self.kill(slot, WorkerKillReason::AnswerMissing, now);
                }
            }
            (TaskProgress::Damaged, limit) => {
                self.give_up(slot, turn, limit.filter(|_| is_over_limit).map(failure), now);
                self.kill(slot, WorkerKillReason::DamagedClaim, now);
            }
        }
    }

    /// Answers the request of a task whose answer cannot come any more with this failure. Without a
    /// failure, the request is answered or retried when the worker has exited.
    fn give_up(&mut self, slot: usize, turn: u64, failure: Option<Failure>, now: MonotonicTime) {
        if let Some(failure) = failure
            && let Some(key) = self.take_out(slot, turn, now)
        {
            self.fail(key, failure, now);
        }
    }

    /// Returns when `tick` must be called if no other event occurs earlier. The time may be earlier
    /// than necessary.
    pub(crate) fn wake_at(&self) -> Option<MonotonicTime> {
        self.wake_at
    }

    /// Schedules the next check of a worker whose tasks in flight have changed.
    pub(super) fn schedule_check(&mut self, slot: usize, now: MonotonicTime) {
        // The time at which `tick` checks what the worker has done with its oldest task.
        let progress = self.workers.oldest(slot).map(|_oldest| now + UNRESPONSIVE_AFTER);
        self.wake_at =
            self.wake_at.into_iter().chain(self.check_at(slot, now)).chain(progress).min();
    }

    /// Returns when this worker must be checked for a stall, a hard limit, or a missing message.
    fn check_at(&self, slot: usize, now: MonotonicTime) -> Option<MonotonicTime> {
        let stall = self.workers.stalled_at(slot, STALL_LIMIT);
        let due = self.workers.due(slot);
        if self.hard_limited == 0 || self.workers.is_being_read(slot) {
            return stall.into_iter().chain(due).min();
        }
        let overtime = self.workers.oldest(slot).and_then(|oldest| {
            let limit = self.records.get(oldest.key)?.options.hard?;
            let at = oldest.limit_at(self.claims.owner(slot, oldest.turn), limit, now);
            // A finished task is given up when its answer is overdue, too.
            Some(at.max(oldest.answer_due().unwrap_or(at)))
        });
        overtime.into_iter().chain(stall).chain(due).min()
    }

    /// Returns when the progress of this worker's oldest task must be checked: when the worker
    /// becomes unresponsive, and then once in the same time. No event reports that a worker has
    /// been stopped.
    fn progress_at(&self, slot: usize, now: MonotonicTime) -> Option<MonotonicTime> {
        let _oldest = self.workers.oldest(slot)?;
        let left = UNRESPONSIVE_AFTER.saturating_sub(self.workers.oldest_for(slot, now));
        Some(now + if left.is_zero() { UNRESPONSIVE_AFTER } else { left })
    }

    /// Returns the time of the earliest check of all workers. After each tick,
    /// [`wake_at`](Scheduler::wake_at) returns this time.
    pub(super) fn next_check(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        let slots = self.workers.slots().into_iter();
        slots
            .flat_map(|slot| [self.check_at(slot, now), self.progress_at(slot, now)])
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
        let key = self.workers.take_out(slot, turn, now)?;
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
                self.reject_queued(&Rejection::ShuttingDown, now);
            }
        }
    }

    /// Rejects all queued requests for this reason, in the order of their admission.
    pub(crate) fn reject_queued(&mut self, rejection: &Rejection, now: MonotonicTime) {
        let waiting = self.records.iter().filter(|(_key, record)| record.state == JobState::Queued);
        let mut keys: Vec<(u64, JobKey)> =
            waiting.map(|(key, record)| (record.sequence, key)).collect();
        keys.sort_by_key(|(sequence, _key)| *sequence);
        for (_sequence, key) in keys {
            self.fail(key, rejection.clone().into(), now);
        }
    }
}
