//! Limits on the output of workers: how fast it is read, how much of it is reported, and what is
//! known about the rest. This module does no I/O and reads no clock.

use std::time::Duration;

use daemon_core::{MonotonicTime, TokenBucket};

/// The default of the limit, in bytes per second.
pub(crate) const DEFAULT_OUTPUT_LIMIT: u64 = 1024 * 1024;

/// The number of seconds for which a worker that printed nothing before can exceed its limit
/// several times over: the burst is what the limit allows in this time.
const BURST_SECONDS: u64 = 4;

/// The least burst in bytes, so that a record of the maximum length fits into each limit.
const BURST_MIN: u64 = 16 * 1024;

/// What a record costs in addition to its length, in bytes. This limits the number of records.
const RECORD_COST: u64 = 128;

/// The limits of all workers together are this many times the limits of one worker.
const ALL_WORKERS: u64 = 4;

/// The number of bytes that are read from a pipe at a time.
pub(crate) const CHUNK: usize = 16 * 1024;

/// The maximum number of reads from the pipes of one worker, per second. A worker that writes
/// faster finds its pipe full, and waits.
const READS_PER_SECOND: u64 = 256;

/// The pipes of all workers together are read this many times as often as those of one worker,
/// which bounds the parent's processor time.
const READS_ALL_WORKERS: u64 = 2;

/// The number of reads that are not delayed.
const READS_BURST: u64 = 256;

/// The delay of the first report on dropped output, so that the report has more than one line to
/// count.
const FIRST_REPORT: Duration = Duration::from_secs(1);

/// The least time between two reports on dropped output.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The limits on the output of one worker, or of all workers together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputBudget {
    reads: TokenBucket,
    bytes: TokenBucket,
}

impl OutputBudget {
    /// Returns the limits of one worker.
    pub(crate) fn of_worker(bytes_per_second: u64) -> OutputBudget {
        OutputBudget::new(bytes_per_second, 1, 1)
    }

    /// Returns the limits of all workers together.
    pub(crate) fn of_all_workers(bytes_per_second: u64) -> OutputBudget {
        OutputBudget::new(bytes_per_second, ALL_WORKERS, READS_ALL_WORKERS)
    }

    fn new(bytes_per_second: u64, workers: u64, readers: u64) -> OutputBudget {
        let rate = bytes_per_second.saturating_mul(workers);
        let burst = rate.saturating_mul(BURST_SECONDS).max(BURST_MIN);
        // A limit that is higher than the default allows faster reading, too: at least four times
        // as many bytes are read as are reported.
        let reads = READS_PER_SECOND.saturating_mul(readers).max(4 * (rate / CHUNK as u64));
        OutputBudget {
            reads: TokenBucket::new(reads, READS_BURST * readers),
            bytes: TokenBucket::new(rate, burst),
        }
    }

    /// Returns the delay before the next read.
    pub(crate) fn read_delay(&self, now: MonotonicTime) -> Duration {
        self.reads.time_until(1, now)
    }

    /// Counts a read.
    pub(crate) fn count_read(&mut self, now: MonotonicTime) {
        self.reads.take(1, now);
    }

    /// Counts a record of this length, and returns whether it may be reported.
    pub(crate) fn admit(&mut self, length: usize, now: MonotonicTime) -> bool {
        self.bytes.try_take(length as u64 + RECORD_COST, now)
    }
}

/// The amount of output that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DroppedOutput {
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
}

impl DroppedOutput {
    pub(crate) fn line(length: usize) -> DroppedOutput {
        DroppedOutput { bytes: length as u64, lines: 1 }
    }

    pub(crate) fn add(&mut self, more: DroppedOutput) {
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.lines = self.lines.saturating_add(more.lines);
    }
}

/// Dropped output that has not been reported yet, and when it is reported.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DropReport {
    dropped: DroppedOutput,
    due: Option<MonotonicTime>,
    last: Option<MonotonicTime>,
}

impl DropReport {
    /// Adds dropped output to the next report.
    pub(crate) fn add(&mut self, dropped: DroppedOutput, now: MonotonicTime) {
        if dropped == DroppedOutput::default() {
            return;
        }
        self.dropped.add(dropped);
        let earliest = self.last.map_or(MonotonicTime::ZERO, |last| last + REPORT_INTERVAL);
        self.due.get_or_insert((now + FIRST_REPORT).max(earliest));
    }

    /// Returns when the next report is due. Returns `None` if there is nothing to report.
    pub(crate) fn due(&self) -> Option<MonotonicTime> {
        self.due
    }

    /// Returns and removes what is to be reported if the report is due.
    pub(crate) fn take_due(&mut self, now: MonotonicTime) -> Option<DroppedOutput> {
        if self.due? > now {
            return None;
        }
        self.last = Some(now);
        self.take()
    }

    /// Returns and removes what is to be reported, even if the report is not due.
    pub(crate) fn take(&mut self) -> Option<DroppedOutput> {
        self.due.take()?;
        Some(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_since_boot(Duration::from_secs(5) + Duration::from_millis(millis))
    }

    #[test]
    fn a_record_of_the_maximum_length_fits_into_each_limit() {
        for limit in [1, 100, DEFAULT_OUTPUT_LIMIT, u64::MAX] {
            assert!(OutputBudget::of_worker(limit).admit(8 * 1024, at(0)), "{limit}");
            assert!(OutputBudget::of_all_workers(limit).admit(8 * 1024, at(0)), "{limit}");
        }
    }

    #[test]
    fn bytes_and_lines_are_limited() {
        let admitted = |length: usize, seconds: u64| {
            let mut budget = OutputBudget::of_worker(DEFAULT_OUTPUT_LIMIT);
            let attempts = (0..seconds * 1000).flat_map(|millis| (0..50).map(move |_nth| millis));
            attempts.filter(|millis| budget.admit(length, at(*millis))).count()
        };
        // A burst of 4 seconds, and the limit of 9.999 seconds.
        assert_eq!(admitted(896, 10), 13_999 * 1024 / 1000);
        assert_eq!(admitted(0, 10), 13_999 * 8192 / 1000);
    }

    #[test]
    fn reads_are_delayed_after_a_burst() {
        let mut budget = OutputBudget::of_worker(DEFAULT_OUTPUT_LIMIT);
        // Each read is rounded up to nanoseconds, so the burst has a read less.
        for _ in 1..READS_BURST {
            assert!(budget.read_delay(at(0)).is_zero());
            budget.count_read(at(0));
        }
        let delay = budget.read_delay(at(0));
        assert!(delay < Duration::from_millis(1), "{delay:?}");
        budget.count_read(at(0));
        assert!(budget.read_delay(at(0)) > Duration::from_micros(900));
        assert!(budget.read_delay(at(4)).is_zero());
    }

    #[test]
    fn dropped_output_is_reported_after_a_second_and_then_every_ten_seconds() {
        let line = DroppedOutput::line(7);
        let mut report = DropReport::default();
        report.add(DroppedOutput::default(), at(0));
        assert_eq!(report.due(), None);
        report.add(line, at(0));
        report.add(line, at(900));
        assert_eq!((report.due(), report.take_due(at(999))), (Some(at(1000)), None));
        assert_eq!(report.take_due(at(1000)), Some(DroppedOutput { bytes: 14, lines: 2 }));
        assert_eq!((report.due(), report.take_due(at(5000)), report.take()), (None, None, None));
        report.add(line, at(5000));
        assert_eq!(report.due(), Some(at(11_000)));
        report.add(line, at(11_000));
        assert_eq!(report.take_due(at(11_000)), Some(DroppedOutput { bytes: 14, lines: 2 }));
        report.add(line, at(60_000));
        assert_eq!(report.due(), Some(at(61_000)));
        assert_eq!(report.take(), Some(line));
    }

    proptest! {
        #[test]
        fn all_dropped_output_is_reported_once_in_at_most_one_report_per_interval(
            drops in prop::collection::vec((0_u64..3_000, 0_usize..100), 1..100),
        ) {
            let mut report = DropReport::default();
            let (mut millis, mut dropped, mut reported) = (0, 0, DroppedOutput::default());
            let mut last: Option<u64> = None;
            for (pause, length) in drops {
                millis += pause;
                report.add(DroppedOutput::line(length), at(millis));
                dropped += length as u64;
                if let Some(part) = report.take_due(at(millis)) {
                    reported.add(part);
                    prop_assert!(last.is_none_or(|last| millis >= last + 10_000));
                    last = Some(millis);
                }
            }
            reported.add(report.take().unwrap_or_default());
            prop_assert_eq!(reported.bytes, dropped);
        }
    }
}
