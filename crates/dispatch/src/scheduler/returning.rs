//! Handles tasks that were sent to a worker and that this worker will not answer. They are returned
//! to the queue, retried, or lost.

use actix_daemon::ChildId;
use daemon_core::{ExitCause, MonotonicTime, Owner};

use super::queue::QueueEntry;
use super::workers::InFlight;
use super::{Claims, IntakeState, JobKey, JobState, Scheduler};
use crate::answer::{Failure, Rejection};

impl<T, C: Claims> Scheduler<T, C> {
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
