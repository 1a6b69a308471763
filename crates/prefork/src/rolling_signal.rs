//! A signal that goes to one worker after another.

use std::collections::VecDeque;
use std::time::Duration;

use daemon_core::{Generation, MonotonicTime, SlotNumber};
use daemon_sys::Signal;

/// A worker by its place: a slot, and which of the slot's owners.
pub(crate) type WorkerId = (SlotNumber, Generation);

/// A signal on its way through the workers that lived when it came.
#[derive(Debug, Clone)]
pub(crate) struct RollingSignal {
    signal: Signal,
    interval: Duration,
    left: VecDeque<WorkerId>,
    due: MonotonicTime,
}

impl RollingSignal {
    /// Begins with the first of them at once.
    pub(crate) fn new(
        signal: Signal,
        interval: Duration,
        workers: impl IntoIterator<Item = WorkerId>,
        now: MonotonicTime,
    ) -> RollingSignal {
        RollingSignal { signal, interval, left: workers.into_iter().collect(), due: now }
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// Has it go on to those that have come since; who is still to get it gets it once.
    pub(crate) fn extend(
        &mut self,
        interval: Duration,
        workers: impl IntoIterator<Item = WorkerId>,
    ) {
        self.interval = interval;
        for place in workers {
            if !self.left.contains(&place) {
                self.left.push_back(place);
            }
        }
    }

    /// Tells when the next is due; none if none is left.
    pub(crate) fn due(&self) -> Option<MonotonicTime> {
        (!self.left.is_empty()).then_some(self.due)
    }

    /// Takes the worker that is to get the signal now. One that is gone by now costs no wait: the
    /// next one that is alive gets it.
    pub(crate) fn take(
        &mut self,
        now: MonotonicTime,
        is_alive: impl Fn(WorkerId) -> bool,
    ) -> Option<WorkerId> {
        if now < self.due {
            return None;
        }
        while let Some(place) = self.left.pop_front() {
            if is_alive(place) {
                self.due = now + self.interval;
                return Some(place);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(slot: u32) -> WorkerId {
        (SlotNumber::new(slot), Generation::new(1))
    }

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_since_boot(Duration::from_secs(seconds))
    }

    fn rolling_signals() -> RollingSignal {
        RollingSignal::new(Signal::Term, Duration::from_secs(2), (0..3).map(place), at(10))
    }

    #[test]
    fn the_first_gets_it_at_once_and_the_others_an_interval_apart() {
        let mut rolling_signals = rolling_signals();
        let mut got = Vec::new();
        for second in 10..16 {
            if let Some(place) = rolling_signals.take(at(second), |_| true) {
                got.push((second, place));
            }
        }
        assert_eq!(got, [(10, place(0)), (12, place(1)), (14, place(2))]);
        assert_eq!(rolling_signals.due(), None);
    }

    #[test]
    fn one_that_comes_again_goes_on_to_the_newcomers_after_those_that_wait_for_it() {
        let mut rolling_signals = rolling_signals();
        assert_eq!(rolling_signals.take(at(10), |_| true), Some(place(0)));
        rolling_signals.extend(Duration::from_secs(1), [place(1), place(2), place(5)]);
        let got: Vec<_> =
            (12..20).filter_map(|second| rolling_signals.take(at(second), |_| true)).collect();
        assert_eq!(got, [place(1), place(2), place(5)]);
    }

    #[test]
    fn one_that_is_gone_costs_no_wait() {
        let mut rolling_signals = rolling_signals();
        assert_eq!(rolling_signals.take(at(10), |who| who != place(0)), Some(place(1)));
        assert_eq!(rolling_signals.due(), Some(at(12)));
        assert_eq!(rolling_signals.take(at(12), |_| false), None);
        assert_eq!(rolling_signals.due(), None);
    }
}
