//! A moment on the machine's monotonic clock. Reading that clock is not done here.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment: nanoseconds of the monotonic clock since boot, the same in all processes of one
/// machine.
///
/// 64 bits last 584 years. It is not [`std::time::Instant`], which cannot be written to shared
/// memory nor read by another process.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_core::MonotonicTime;
///
/// let born = MonotonicTime::from_since_boot(Duration::from_secs(100));
/// let now = born + Duration::from_millis(1500);
/// assert_eq!(now.saturating_since(born), Duration::from_millis(1500));
/// assert_eq!(born.saturating_since(now), Duration::ZERO);
/// ```
#[derive(
    Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MonotonicTime(u64);

impl MonotonicTime {
    /// The moment of boot, and the one that stands for "never" in an empty slot.
    pub const ZERO: MonotonicTime = MonotonicTime(0);

    /// Makes it from the time since boot, as `clock_gettime(CLOCK_MONOTONIC)` tells it.
    ///
    /// What is more than 64 bits of nanoseconds becomes the last moment there is.
    #[must_use]
    pub fn from_since_boot(since_boot: Duration) -> MonotonicTime {
        MonotonicTime(nanos(since_boot))
    }

    /// Makes it from nanoseconds since boot.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> MonotonicTime {
        MonotonicTime(nanos)
    }

    /// Tells the nanoseconds since boot.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Tells how long ago `earlier` was, or zero if it is yet to come.
    ///
    /// Two processes that read the clock within nanoseconds of each other may see their moments in
    /// the other order; that is no reason to panic.
    #[must_use]
    pub const fn saturating_since(self, earlier: MonotonicTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonotonicTime {
    type Output = MonotonicTime;

    /// Adds, and stops at the last moment there is.
    fn add(self, later: Duration) -> MonotonicTime {
        MonotonicTime(self.0.saturating_add(nanos(later)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_past_the_end_of_the_clock_is_its_last() {
        let last = MonotonicTime::from_nanos(u64::MAX);
        assert_eq!(last + Duration::from_nanos(1), last);
        assert_eq!(MonotonicTime::ZERO + Duration::MAX, last);
        assert_eq!(MonotonicTime::from_since_boot(Duration::MAX), last);
    }

    #[test]
    fn what_is_yet_to_come_was_no_time_ago() {
        let (early, late) = (MonotonicTime::from_nanos(3), MonotonicTime::from_nanos(10));
        assert_eq!(late.saturating_since(early), Duration::from_nanos(7));
        assert_eq!(early.saturating_since(late), Duration::ZERO);
    }
}
