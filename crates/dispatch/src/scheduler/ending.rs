//! How requests end before their time: cancelled, overdue, refused at the end of it all; and the
//! operator's hold.

use daemon_core::{AbortResult, MonotonicTime, OperatorPause, Owner, RevokeResult, StopMode};

use super::workers::InFlight;
use super::{
    CancelOutcome, Claims, IntakeState, JobKey, JobState, STALL_LIMIT, Scheduler, SchedulerAction,
    UNRESPONSIVE_AFTER, WorkerKillReason,
};
use crate::answer::{Failure, LimitKind, Rejection, RequestState};
use crate::request::{IfRunning, RequestId};

impl<T, C: Claims> Scheduler<T, C> {
    /// Nobody waits for this request any more, or somebody wants it ended.
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
        let running = running.unwrap_or(record.terms.if_dropped);
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
                match self.condemn(slot, turn, WorkerKillReason::Cancelled, failure, now) {
                    AbortResult::Aborted => CancelOutcome::Terminated,
                    AbortResult::NotRunning => CancelOutcome::StillRunning,
                }
            }
        }
    }

    /// Where the request of this number is, if it is not answered. It looks at all there are.
    pub(crate) fn find(&self, id: RequestId) -> Option<JobKey> {
        self.records.iter().map(|(key, _record)| key).find(|key| key.id == id)
    }

    /// Gives up a worker that does this task: the task is answered, the rest of its hand is others'.
    fn condemn(
        &mut self,
        slot: usize,
        turn: u64,
        reason: WorkerKillReason,
        failure: Failure,
        now: MonotonicTime,
    ) -> AbortResult {
        // Who is condemned begins nothing more, and one that has ended it has its answer under way.
        let condemned = self.claims.condemn(slot, turn);
        if condemned == AbortResult::Aborted {
            if let Some(key) = self.take_out(slot, turn, now) {
                self.fail(key, failure, now);
            }
            self.take_back_all(slot, now);
            if let Some(pid) = self.workers.condemn(slot) {
                self.actions.push_back(SchedulerAction::Kill { pid, reason });
            }
            self.assign(now);
        }
        condemned
    }

    /// Gives up a worker that begins nothing; what it was sent is others'.
    fn abandon_worker(&mut self, slot: usize, now: MonotonicTime) {
        self.take_back_all(slot, now);
        // It may have begun just now.
        if self.workers.in_flight_count(slot) == 0
            && let Some(pid) = self.workers.condemn(slot)
        {
            self.actions
                .push_back(SchedulerAction::Kill { pid, reason: WorkerKillReason::Unresponsive });
        }
    }

    pub(super) fn take_back_all(&mut self, slot: usize, now: MonotonicTime) {
        for InFlight { turn, key, .. } in self.workers.in_flight(slot) {
            if self.claims.revoke(slot, turn) == RevokeResult::Revoked {
                self.take_out(slot, turn, now);
                self.return_to_queue(key, now);
            }
        }
    }

    /// The time is now: who is overdue is given up, and what waits behind a long task is taken back.
    pub(crate) fn tick(&mut self, now: MonotonicTime) {
        for slot in self.workers.stalled(now, STALL_LIMIT) {
            self.take_back_all(slot, now);
        }
        for (slot, front) in self.workers.oldest_in_flight() {
            let limit = self.records.get(front.key).and_then(|record| record.terms.hard);
            let waited = self.workers.oldest_for(slot, now);
            match (self.claims.owner(slot, front.turn), limit) {
                (Owner::Worker(begun), Some(limit)) if now.saturating_since(begun) >= limit => {
                    let failure = Failure::TimedOut { kind: LimitKind::Hard, limit };
                    let _ =
                        self.condemn(slot, front.turn, WorkerKillReason::HardLimit, failure, now);
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

    /// When it is to be looked again though nothing has come; it may turn out to be too early.
    pub(crate) fn wake_at(&self) -> Option<MonotonicTime> {
        self.wake_at
    }

    /// What this worker has in hand has changed: when it is to be looked at if nothing more is heard.
    pub(super) fn schedule_check(&mut self, slot: usize, now: MonotonicTime) {
        // Whether it has begun by then is looked at then.
        let unresponsive = self.workers.oldest(slot).map(|_front| now + UNRESPONSIVE_AFTER);
        self.wake_at =
            self.wake_at.into_iter().chain(self.check_at(slot, now)).chain(unresponsive).min();
    }

    /// When it is to be looked what this worker does.
    fn check_at(&self, slot: usize, now: MonotonicTime) -> Option<MonotonicTime> {
        let stall = self.workers.stalled_at(slot, STALL_LIMIT);
        if self.hard_limited == 0 {
            return stall;
        }
        let overtime = self.workers.oldest(slot).and_then(|front| {
            let limit = self.records.get(front.key)?.terms.hard?;
            let begun = match self.claims.owner(slot, front.turn) {
                Owner::Worker(begun) => begun,
                Owner::Sender => now,
            };
            Some(begun + limit)
        });
        overtime.into_iter().chain(stall).min()
    }

    /// When this worker is deaf, if it has not begun by then. One that is already has been looked at, and
    /// is again when another is idle.
    fn unresponsive(&self, slot: usize, now: MonotonicTime) -> Option<MonotonicTime> {
        let front = self.workers.oldest(slot)?;
        let left = UNRESPONSIVE_AFTER.saturating_sub(self.workers.oldest_for(slot, now));
        let is_due = !left.is_zero() && self.claims.owner(slot, front.turn) == Owner::Sender;
        is_due.then(|| now + left)
    }

    /// The same of all workers, which is what [`wake_at`](Ledger::wake_at) is after each tick.
    pub(super) fn next_check(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        let slots = self.workers.slots().into_iter();
        slots
            .flat_map(|slot| [self.check_at(slot, now), self.unresponsive(slot, now)])
            .flatten()
            .min()
    }

    /// Takes a task out of a worker's hand that it does not do.
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

    /// The operator's word: nothing is sent while it is held.
    pub(crate) fn set_operator_pause(&mut self, operator_pause: OperatorPause, now: MonotonicTime) {
        self.operator_pause = operator_pause;
        if operator_pause == OperatorPause::On {
            for slot in self.workers.slots() {
                self.take_back_all(slot, now);
            }
        }
        self.assign(now);
    }

    /// The end begins: orderly, what was taken is still done; at once, what waits is refused.
    pub(crate) fn stop(&mut self, mode: StopMode, now: MonotonicTime) {
        match mode {
            StopMode::Graceful => {
                if self.stance == IntakeState::Accepting {
                    self.stance = IntakeState::Draining;
                }
                self.operator_pause = OperatorPause::Off;
                self.assign(now);
            }
            StopMode::Immediate => {
                self.stance = IntakeState::Closed;
                for slot in self.workers.slots() {
                    self.take_back_all(slot, now);
                }
                self.reject_queued(now);
            }
        }
    }

    /// All that wait are refused, the first first.
    fn reject_queued(&mut self, now: MonotonicTime) {
        let waiting = self.records.iter().filter(|(_key, record)| record.state == JobState::Queued);
        let mut keys: Vec<(u64, JobKey)> =
            waiting.map(|(key, record)| (record.turn, key)).collect();
        keys.sort_by_key(|(turn, _key)| *turn);
        for (_turn, key) in keys {
            self.fail(key, Rejection::ShuttingDown.into(), now);
        }
    }
}
