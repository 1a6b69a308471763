//! Points in time of the monotonic clock. This module does not read the clock.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time of the system's monotonic clock, in nanoseconds. All processes of a system share
/// this clock. On Linux, it counts from boot, without the time for which the system was suspended.
///
/// 64 bits last for 584 years. A [`std::time::Instant`] cannot be used instead, because it can
/// neither be written to shared memory nor be read by another process.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_core::MonotonicTime;
///
/// let started_at = MonotonicTime::from_since_boot(Duration::from_secs(100));
/// let now = started_at + Duration::from_millis(1500);
/// assert_eq!(now.saturating_since(started_at), Duration::from_millis(1500));
/// assert_eq!(started_at.saturating_since(now), Duration::ZERO);
/// ```
#[derive(
    Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MonotonicTime(u64);

impl MonotonicTime {
    /// The time 0. Where a slot stores a time, this value means "never".
    pub const ZERO: MonotonicTime = MonotonicTime(0);

    /// Creates a point in time from a time that `clock_gettime(CLOCK_MONOTONIC)` has returned. On
    /// Linux, this is the time since boot.
    ///
    /// A time that does not fit into 64 bits of nanoseconds is capped.
    #[must_use]
    pub fn from_since_boot(since_boot: Duration) -> MonotonicTime {
        MonotonicTime(nanos(since_boot))
    }

    /// Creates a point in time from the nanoseconds of the monotonic clock.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> MonotonicTime {
        MonotonicTime(nanos)
    }

    /// Returns the nanoseconds of the monotonic clock.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time since `earlier`, or zero if `earlier` is later than `self`.
    ///
    /// Two processes that read the clock within nanoseconds of each other may see their times in
    /// the opposite order. This must not cause a panic.
    #[must_use]
    pub const fn saturating_since(self, earlier: MonotonicTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonotonicTime {
    type Output = MonotonicTime;

    /// Adds a duration. A sum that is too large is capped.
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
    fn additions_saturate() {
        let last = MonotonicTime::from_nanos(u64::MAX);
        assert_eq!(last + Duration::from_nanos(1), last);
        assert_eq!(MonotonicTime::ZERO + Duration::MAX, last);
        assert_eq!(MonotonicTime::from_since_boot(Duration::MAX), last);
    }

    #[test]
    fn the_time_since_a_future_time_is_zero() {
        let (early, late) = (MonotonicTime::from_nanos(3), MonotonicTime::from_nanos(10));
        assert_eq!(late.saturating_since(early), Duration::from_nanos(7));
        assert_eq!(early.saturating_since(late), Duration::ZERO);
    }
}
