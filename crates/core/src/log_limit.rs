//! A limit on the rate of log records, which several processes can share.

use std::time::Duration;

use crate::atomics::{AtomicU64, Ordering};
use crate::monotonic::MonotonicTime;

/// The number of records in a burst.
const BURST: u32 = 10;

/// The time after a burst in which one more record may be written.
const INTERVAL: Duration = Duration::from_secs(10);

/// Limits the rate of log records: ten in a burst, then one every ten seconds. Counts the records
/// that were suppressed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_core::{LogLimit, MonotonicTime};
///
/// let limit = LogLimit::default();
/// let start = MonotonicTime::from_since_boot(Duration::from_secs(60));
/// assert!((0..10).all(|_| limit.admit(start) == Some(0)));
/// assert_eq!(limit.admit(start), None);
/// assert_eq!(limit.admit(start + Duration::from_secs(10)), Some(1));
/// ```
#[derive(Debug, Default)]
pub struct LogLimit {
    full_at: AtomicU64,
    suppressed: AtomicU64,
}

impl LogLimit {
    /// Returns whether to write a record now, and if so, the number of records that were suppressed
    /// since the last one that was written.
    #[must_use]
    pub fn admit(&self, now: MonotonicTime) -> Option<u64> {
        admit(&self.full_at, &self.suppressed, now)
    }
}

/// A record whose rate all children of a daemon limit together. The state of the limit is in the
/// scoreboard's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedRecord {
    /// A handler has returned an error.
    HandlerFailed,
    /// A status was refused.
    StatusRefused,
}

impl LimitedRecord {
    /// Returns the index of the record's first word in its line. The second word follows.
    pub(crate) const fn word(self) -> usize {
        match self {
            LimitedRecord::HandlerFailed => 1,
            LimitedRecord::StatusRefused => 3,
        }
    }
}

/// Decides about one record. `full_at` is the time at which a full burst will be allowed again. The
/// words may be in memory that other processes damage: at worst, records are written or suppressed
/// for one burst.
pub(crate) fn admit(
    full_at: &AtomicU64,
    suppressed: &AtomicU64,
    now: MonotonicTime,
) -> Option<u64> {
    let before = full_at.load(Ordering::Relaxed);
    let longest = now + INTERVAL * BURST;
    // A later time cannot have been written here.
    let start = if before > longest.as_nanos() { MonotonicTime::ZERO } else { time(before) };
    let after = start.max(now) + INTERVAL;
    let is_admitted = after <= longest
        // If another process writes a record at the same time, this one is suppressed.
        && full_at
            .compare_exchange(before, after.as_nanos(), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
    if is_admitted {
        Some(suppressed.swap(0, Ordering::Relaxed))
    } else {
        let _count = suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

fn time(nanos: u64) -> MonotonicTime {
    MonotonicTime::from_nanos(nanos)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_since_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn a_burst_is_written_and_then_one_record_in_each_interval() {
        let limit = LogLimit::default();
        // time in seconds, what is admitted
        let table = [(100, None), (109, None), (110, Some(2)), (110, None), (131, Some(1))];
        for _nth in 0..BURST {
            assert_eq!(limit.admit(at(100)), Some(0));
        }
        for (seconds, expected) in table {
            assert_eq!(limit.admit(at(seconds)), expected, "after {seconds} s");
        }
        // After a quiet time a whole burst is allowed, and no more.
        let admitted = (0..50).filter(|_| limit.admit(at(10_000)).is_some()).count();
        assert_eq!(admitted, BURST as usize);
    }

    proptest! {
        #[test]
        fn a_damaged_word_suppresses_records_for_one_burst_at_most(
            damage in any::<u64>(),
            count in any::<u64>(),
            seconds in 1_u64..1_000_000,
        ) {
            let limit = LogLimit::default();
            limit.full_at.store(damage, Ordering::Relaxed);
            limit.suppressed.store(count, Ordering::Relaxed);
            let _any = limit.admit(at(seconds));
            prop_assert!(limit.admit(at(seconds) + INTERVAL * BURST).is_some());
        }
    }
}
