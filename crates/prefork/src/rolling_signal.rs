//! A signal that is sent to one worker after another.

use std::collections::VecDeque;
use std::time::Duration;

use daemon_core::{ChildId, MonotonicTime, Signal};

/// A signal that the manager is sending to its workers, one after another at an interval, because
/// it has received a trapped signal. Workers that were forked after the trapped signal was received
/// are not included.
#[derive(Debug, Clone)]
pub(crate) struct RollingSignal {
    signal: Signal,
    interval: Duration,
    left: VecDeque<ChildId>,
    due: MonotonicTime,
}

impl RollingSignal {
    /// Creates a rolling signal. The signal is due for the first worker at once.
    pub(crate) fn new(
        signal: Signal,
        interval: Duration,
        workers: impl IntoIterator<Item = ChildId>,
        now: MonotonicTime,
    ) -> RollingSignal {
        RollingSignal { signal, interval, left: workers.into_iter().collect(), due: now }
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// Changes the interval, and appends those of the workers that are not waiting for the signal
    /// yet.
    pub(crate) fn extend(
        &mut self,
        interval: Duration,
        workers: impl IntoIterator<Item = ChildId>,
    ) {
        self.interval = interval;
        for worker in workers {
            if !self.left.contains(&worker) {
                self.left.push_back(worker);
            }
        }
    }

    /// Returns the time at which the signal is due for the next worker; `None` if no worker is
    /// left.
    pub(crate) fn due(&self) -> Option<MonotonicTime> {
        (!self.left.is_empty()).then_some(self.due)
    }

    /// Removes and returns the next worker if the signal is due for it. Workers that have exited
    /// are skipped without waiting for the interval.
    pub(crate) fn take(
        &mut self,
        now: MonotonicTime,
        is_alive: impl Fn(ChildId) -> bool,
    ) -> Option<ChildId> {
        if now < self.due {
            return None;
        }
        while let Some(worker) = self.left.pop_front() {
            if is_alive(worker) {
                self.due = now + self.interval;
                return Some(worker);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use daemon_core::{Generation, SlotNumber};

    use super::*;

    fn worker(slot: u32) -> ChildId {
        ChildId { slot: SlotNumber::new(slot), generation: Generation::new(1) }
    }

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_since_boot(Duration::from_secs(seconds))
    }

    fn rolling_signal() -> RollingSignal {
        RollingSignal::new(Signal::Term, Duration::from_secs(2), (0..3).map(worker), at(10))
    }

    #[test]
    fn a_rolling_signal_is_due_for_the_first_worker_at_once_and_for_another_after_each_interval() {
        let mut rolling = rolling_signal();
        let mut received = Vec::new();
        for second in 10..16 {
            if let Some(next) = rolling.take(at(second), |_| true) {
                received.push((second, next));
            }
        }
        assert_eq!(received, [(10, worker(0)), (12, worker(1)), (14, worker(2))]);
        assert_eq!(rolling.due(), None);
    }

    #[test]
    fn a_repeated_signal_is_sent_to_the_waiting_workers_before_the_added_workers() {
        let mut rolling = rolling_signal();
        assert_eq!(rolling.take(at(10), |_| true), Some(worker(0)));
        rolling.extend(Duration::from_secs(1), [worker(1), worker(2), worker(5)]);
        let received: Vec<_> =
            (12..20).filter_map(|second| rolling.take(at(second), |_| true)).collect();
        assert_eq!(received, [worker(1), worker(2), worker(5)]);
    }

    #[test]
    fn an_exited_worker_is_skipped_without_waiting_for_the_interval() {
        let mut rolling = rolling_signal();
        assert_eq!(rolling.take(at(10), |id| id != worker(0)), Some(worker(1)));
        assert_eq!(rolling.due(), Some(at(12)));
        assert_eq!(rolling.take(at(12), |_| false), None);
        assert_eq!(rolling.due(), None);
    }
}
