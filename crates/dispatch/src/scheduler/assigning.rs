//! Assignment: the next queued request goes to an idle worker, chosen by the [`IdleOrder`], and
//! short tasks are sent ahead to busy workers.
//!
//! [`IdleOrder`]: super::IdleOrder

use daemon_core::{MonotonicTime, OperatorPause, RevokeResult};

use super::workers::InFlight;
use super::{
    Claims, IN_FLIGHT_MAX, IntakeState, JobKey, JobState, SEND_AHEAD_MAX, Scheduler,
    SchedulerAction,
};

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
}
