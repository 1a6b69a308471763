//! Who gets what: the next that waits, to who has waited longest; and some ahead.

use daemon_core::{MonotonicTime, OperatorPause, RevokeResult};

use super::workers::InFlight;
use super::{
    Claims, IN_FLIGHT_MAX, IntakeState, JobKey, JobState, SEND_AHEAD_MAX, Scheduler,
    SchedulerAction,
};

impl<T, C: Claims> Scheduler<T, C> {
    /// Sends what waits to who waits.
    pub(crate) fn assign(&mut self, now: MonotonicTime) {
        if self.operator_pause == OperatorPause::On || self.stance == IntakeState::Closed {
            return;
        }
        while let Some(slot) = self.workers.longest_idle() {
            if !self.workers.is_unresponsive(slot)
                && self.revoke(&self.workers.sent_to_unresponsive(), now)
            {
                continue;
            }
            let Some(key) = self.queue_next() else {
                if self.revoke(&self.workers.sent_ahead(), now) { continue } else { break }
            };
            self.send(slot, key, now);
        }
        self.send_ahead(now);
    }

    /// The next that waits and was not cancelled.
    fn queue_next(&mut self) -> Option<JobKey> {
        loop {
            let entry = self.queue.pop()?;
            let waits =
                self.records.get(entry.key).is_some_and(|record| record.state == JobState::Queued);
            if waits {
                return Some(entry.key);
            }
        }
    }

    fn send(&mut self, slot: usize, key: JobKey, now: MonotonicTime) {
        let estimate =
            self.records.get(key).map(|record| self.latency_estimates.of(record.terms.method));
        let Some((turn, pid)) = self.workers.take(slot, key, estimate.flatten(), now) else {
            return;
        };
        let Some(record) = self.records.get_mut(key) else { return };
        record.state = JobState::Sent { slot, turn };
        record.attempts += 1;
        record.pid = Some(pid);
        let terms = record.terms;
        self.queued -= 1;
        self.queue.note_sent(terms.lane);
        self.hard_limited += usize::from(terms.hard.is_some());
        self.claims.offer(slot, turn);
        self.schedule_check(slot, now);
        self.actions.push_back(SchedulerAction::Send { slot, turn, key });
    }

    /// Workers that have just answered, and have little left, are sent some of what is known to be
    /// short.
    fn send_ahead(&mut self, now: MonotonicTime) {
        let mut turns = self.workers.take_recently_answered();
        while let Some(slot) = turns.pop() {
            let share = self.queued / self.workers.count().max(1);
            let mut left =
                share.min(IN_FLIGHT_MAX.saturating_sub(self.workers.in_flight_count(slot)));
            while left > 0
                && self.workers.expected_load(slot).is_some_and(|load| load < SEND_AHEAD_MAX)
            {
                let Some(entry) = self.queue.peek() else { break };
                let is_short = match self.records.get(entry.key) {
                    // A void place: whoever takes the next one throws it away.
                    None => true,
                    Some(record) => self
                        .latency_estimates
                        .of(record.terms.method)
                        .is_some_and(|estimate| estimate < SEND_AHEAD_MAX),
                };
                if !is_short {
                    break;
                }
                let Some(key) = self.queue_next() else { break };
                self.send(slot, key, now);
                left -= 1;
            }
        }
        self.workers.return_buffer(turns);
    }

    /// A worker is idle: the first of these tasks that was not begun waits again.
    fn revoke(&mut self, sent: &[(usize, InFlight)], now: MonotonicTime) -> bool {
        for &(slot, InFlight { turn, key, .. }) in sent {
            if self.records.get(key).is_none() {
                continue;
            }
            if self.claims.revoke(slot, turn) == RevokeResult::Revoked {
                self.take_out(slot, turn, now);
                self.return_to_queue(key, now);
                return true;
            }
        }
        false
    }
}
