//! What comes back from workers without an answer: to be sent to others, tried again, or lost.

use actix_daemon::ChildId;
use daemon_core::{ExitCause, MonotonicTime, Owner};

use super::queue::QueueEntry;
use super::workers::InFlight;
use super::{Claims, IntakeState, JobKey, JobState, Scheduler};
use crate::answer::{Failure, Rejection};

impl<T, C: Claims> Scheduler<T, C> {
    /// A worker begins nothing more: what was sent ahead to it is others'.
    pub(crate) fn worker_draining(&mut self, slot: usize, now: MonotonicTime) {
        self.workers.drain(slot);
        self.take_back_all(slot, now);
        self.assign(now);
    }

    /// A worker is gone. What it had begun is lost with it, or tried again; the rest is sent to
    /// others.
    pub(crate) fn worker_gone(&mut self, child: ChildId, cause: ExitCause, now: MonotonicTime) {
        let slot = child.slot.index();
        let Some(in_flight) = self.workers.remove(child) else { return };
        for InFlight { turn, key, .. } in in_flight {
            match self.claims.owner(slot, turn) {
                Owner::Sender => {
                    // Nobody is left who could begin it, and nobody shall.
                    let _ = self.claims.revoke(slot, turn);
                    self.return_to_queue(key, now);
                }
                Owner::Worker(_since) => self.worker_lost(key, cause, now),
            }
        }
        self.assign(now);
    }

    fn worker_lost(&mut self, key: JobKey, cause: ExitCause, now: MonotonicTime) {
        let Some(record) = self.records.get(key) else { return };
        let attempts = record.attempts;
        if attempts < record.terms.attempts && self.stance != IntakeState::Closed {
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

    /// A task that was sent and not begun waits again, where it had waited.
    pub(super) fn return_to_queue(&mut self, key: JobKey, now: MonotonicTime) {
        self.stats.reclaimed += 1;
        if let Some(record) = self.records.get_mut(key) {
            // It was nobody's attempt.
            record.attempts = record.attempts.saturating_sub(1);
        }
        self.requeue(key, now);
    }

    fn requeue(&mut self, key: JobKey, now: MonotonicTime) {
        let Some(record) = self.records.get_mut(key) else { return };
        record.state = JobState::Queued;
        let (terms, turn) = (record.terms, record.turn);
        self.note_returned(terms);
        if self.stance == IntakeState::Closed {
            self.fail_unsent(key, Rejection::ShuttingDown.into(), now);
        } else {
            self.queued += 1;
            self.queue.put_back(terms.priority, terms.lane, QueueEntry { turn, key });
        }
    }
}
