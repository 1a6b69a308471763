//! What comes back from workers without an answer: to be sent to others, tried again, or lost.

use actix_daemon::ChildId;
use daemon_core::{ExitCause, MonotonicTime, Owner};

use super::queue::Place;
use super::workers::Sent;
use super::{Claims, Key, Ledger, Stance, State};
use crate::answer::{Failure, Rejection};

impl<T, C: Claims> Ledger<T, C> {
    /// A worker begins nothing more: what was sent ahead to it is others'.
    pub(crate) fn worker_leaves(&mut self, slot: usize, now: MonotonicTime) {
        self.workers.leaves(slot);
        self.take_back_all(slot, now);
        self.assign(now);
    }

    /// A worker is gone. What it had begun is lost with it, or tried again; the rest is sent to
    /// others.
    pub(crate) fn worker_gone(&mut self, child: ChildId, cause: ExitCause, now: MonotonicTime) {
        let slot = child.slot.index();
        let Some(hand) = self.workers.gone(child) else { return };
        for Sent { turn, key, .. } in hand {
            match self.claims.owner(slot, turn) {
                Owner::Sender => {
                    // Nobody is left who could begin it, and nobody shall.
                    let _ = self.claims.take_back(slot, turn);
                    self.back_to_queue(key, now);
                }
                Owner::Worker(_since) => self.lost(key, cause, now),
            }
        }
        self.assign(now);
    }

    fn lost(&mut self, key: Key, cause: ExitCause, now: MonotonicTime) {
        let Some(record) = self.records.get(key) else { return };
        let attempts = record.attempts;
        if attempts < record.order.attempts && self.stance != Stance::Closed {
            self.tally.retried += 1;
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
    pub(super) fn back_to_queue(&mut self, key: Key, now: MonotonicTime) {
        self.tally.reclaimed += 1;
        if let Some(record) = self.records.get_mut(key) {
            // It was nobody's attempt.
            record.attempts = record.attempts.saturating_sub(1);
        }
        self.requeue(key, now);
    }

    fn requeue(&mut self, key: Key, now: MonotonicTime) {
        let Some(record) = self.records.get_mut(key) else { return };
        record.state = State::Queued;
        let (order, turn) = (record.order, record.turn);
        self.unsent(order);
        if self.stance == Stance::Closed {
            self.fail_unsent(key, Rejection::ShuttingDown.into(), now);
        } else {
            self.queued += 1;
            self.queue.put_back(order.priority, order.lane, Place { turn, key });
        }
    }
}
