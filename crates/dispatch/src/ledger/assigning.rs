//! Who gets what: the next that waits, to who has waited longest; and some ahead.

use daemon_core::{MonotonicTime, OperatorPause, TakenBack};

use super::workers::Sent;
use super::{AHEAD_MAX, Act, Claims, IN_HAND_MAX, Key, Ledger, Stance, State};

impl<T, C: Claims> Ledger<T, C> {
    /// Sends what waits to who waits.
    pub(crate) fn assign(&mut self, now: MonotonicTime) {
        if self.hold == OperatorPause::On || self.stance == Stance::Closed {
            return;
        }
        while let Some(slot) = self.workers.longest_idle() {
            if !self.workers.is_deaf(slot) && self.take_back(&self.workers.with_the_deaf(), now) {
                continue;
            }
            let Some(key) = self.queue_next() else {
                if self.take_back(&self.workers.sent_ahead(), now) { continue } else { break }
            };
            self.send(slot, key, now);
        }
        self.send_ahead(now);
    }

    /// The next that waits and was not cancelled.
    fn queue_next(&mut self) -> Option<Key> {
        loop {
            let place = self.queue.pop()?;
            let waits =
                self.records.get(place.key).is_some_and(|record| record.state == State::Queued);
            if waits {
                return Some(place.key);
            }
        }
    }

    fn send(&mut self, slot: usize, key: Key, now: MonotonicTime) {
        let pace = self.records.get(key).map(|record| self.paces.of(record.order.method));
        let Some((turn, pid)) = self.workers.take(slot, key, pace.flatten(), now) else {
            return;
        };
        let Some(record) = self.records.get_mut(key) else { return };
        record.state = State::Sent { slot, turn };
        record.attempts += 1;
        record.pid = Some(pid);
        let order = record.order;
        self.queued -= 1;
        self.queue.begun(order.lane);
        self.limited += usize::from(order.hard.is_some());
        self.claims.offer(slot, turn);
        self.expect(slot, now);
        self.acts.push_back(Act::Send { slot, turn, key });
    }

    /// Workers that have just answered, and have little left, are sent some of what is known to be
    /// short.
    fn send_ahead(&mut self, now: MonotonicTime) {
        let mut turns = self.workers.answered_lately();
        while let Some(slot) = turns.pop() {
            let share = self.queued / self.workers.count().max(1);
            let mut left = share.min(IN_HAND_MAX.saturating_sub(self.workers.in_hand(slot)));
            while left > 0 && self.workers.load(slot).is_some_and(|load| load < AHEAD_MAX) {
                let Some(place) = self.queue.peek() else { break };
                let is_short = match self.records.get(place.key) {
                    // A void place: whoever takes the next one throws it away.
                    None => true,
                    Some(record) => {
                        self.paces.of(record.order.method).is_some_and(|pace| pace < AHEAD_MAX)
                    }
                };
                if !is_short {
                    break;
                }
                let Some(key) = self.queue_next() else { break };
                self.send(slot, key, now);
                left -= 1;
            }
        }
        self.workers.give_back(turns);
    }

    /// A worker is idle: the first of these tasks that was not begun waits again.
    fn take_back(&mut self, sent: &[(usize, Sent)], now: MonotonicTime) -> bool {
        for &(slot, Sent { turn, key, .. }) in sent {
            if self.records.get(key).is_none() {
                continue;
            }
            if self.claims.take_back(slot, turn) == TakenBack::Yes {
                self.take_out(slot, turn, now);
                self.back_to_queue(key, now);
                return true;
            }
        }
        false
    }
}
