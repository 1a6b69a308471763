//! Limits on rates: of tokens, with short bursts, and of log records.

use std::time::Duration;

use crate::monotonic::MonotonicTime;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// How long a recurring condition must be absent before it is logged again.
const QUIET_PERIOD: Duration = Duration::from_secs(60);

/// A token bucket: limits a rate to a number of tokens per second, and allows bursts.
///
/// The bucket is full at first. It only stores the time at which it will be full again, so it needs
/// no timer.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_core::{MonotonicTime, TokenBucket};
///
/// let start = MonotonicTime::from_nanos(1);
/// let mut bucket = TokenBucket::new(100, 300);
/// assert!(bucket.try_take(300, start));
/// assert!(!bucket.try_take(50, start));
/// assert_eq!(bucket.time_until(50, start), Duration::from_millis(500));
/// assert!(bucket.try_take(50, start + Duration::from_millis(500)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    rate: u64,
    burst: u64,
    full_at: MonotonicTime,
}

impl TokenBucket {
    /// Creates a full bucket of `burst` tokens, which gains `rate` tokens per second.
    ///
    /// A rate of 0 is raised to 1.
    #[must_use]
    pub const fn new(rate: u64, burst: u64) -> TokenBucket {
        let rate = if rate == 0 { 1 } else { rate };
        TokenBucket { rate, burst, full_at: MonotonicTime::ZERO }
    }

    /// Takes the tokens if the bucket has them, and returns whether it had them. A number of tokens
    /// that is greater than the burst is never available.
    pub fn try_take(&mut self, tokens: u64, now: MonotonicTime) -> bool {
        let is_available = self.time_until(tokens, now).is_zero() && tokens <= self.burst;
        if is_available {
            self.take(tokens, now);
        }
        is_available
    }

    /// Takes the tokens even if the bucket does not have them. The missing tokens are subtracted
    /// from those that the bucket gains afterwards.
    pub fn take(&mut self, tokens: u64, now: MonotonicTime) {
        self.full_at = self.full_at.max(now) + self.time_for(tokens);
    }

    /// Returns the time until the bucket has this number of tokens, or zero if it has them now. For
    /// a number that is greater than the burst, returns the time until the bucket is full.
    #[must_use]
    pub fn time_until(&self, tokens: u64, now: MonotonicTime) -> Duration {
        // The bucket has `tokens` tokens as soon as it is less than this time away from being full.
        let allowed = self.time_for(self.burst.saturating_sub(tokens));
        self.full_at.saturating_since(now).saturating_sub(allowed)
    }

    /// Returns the time in which the bucket gains this number of tokens, rounded up to nanoseconds.
    fn time_for(&self, tokens: u64) -> Duration {
        let nanos = (u128::from(tokens) * NANOS_PER_SECOND).div_ceil(u128::from(self.rate));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Decides whether a condition that recurs many times a minute is logged. It is logged the first
/// time, and again when it recurs after an absence of one minute.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_core::{LogThrottle, MonotonicTime};
///
/// let (mut throttle, start) = (LogThrottle::default(), MonotonicTime::ZERO);
/// assert!(throttle.should_log(start));
/// assert!(!throttle.should_log(start + Duration::from_secs(1)));
/// assert!(throttle.should_log(start + Duration::from_secs(61)));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogThrottle {
    last: Option<MonotonicTime>,
}

impl LogThrottle {
    /// Records that the condition holds now, and returns whether to log it.
    pub fn should_log(&mut self, now: MonotonicTime) -> bool {
        let last = self.last.replace(now);
        last.is_none_or(|last| now.saturating_since(last) >= QUIET_PERIOD)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_since_boot(Duration::from_secs(50) + Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let mut bucket = TokenBucket::new(1000, 50);
        // time in milliseconds, tokens, whether they are available
        let table = [
            (0, 51, false),
            (0, 50, true),
            (0, 1, false),
            (1, 1, true),
            (1, 1, false),
            (11, 10, true),
            (11, 0, true),
            // The bucket has at most the burst, however long it was unused.
            (10_000, 50, true),
            (10_000, 1, false),
        ];
        for (millis, tokens, is_available) in table {
            assert_eq!(bucket.try_take(tokens, at(millis)), is_available, "{tokens} at {millis}");
        }
    }

    #[test]
    fn tokens_that_were_taken_in_advance_are_gained_first() {
        let mut bucket = TokenBucket::new(10, 10);
        bucket.take(25, at(0));
        assert_eq!(bucket.time_until(0, at(0)), Duration::from_millis(1500));
        assert_eq!(bucket.time_until(1, at(1500)), Duration::from_millis(100));
        assert_eq!(bucket.time_until(99, at(1500)), Duration::from_secs(1));
    }

    #[test]
    fn extreme_rates_and_times_do_not_overflow() {
        for rate in [0, 1, u64::MAX] {
            for burst in [0, 1, u64::MAX] {
                let mut bucket = TokenBucket::new(rate, burst);
                for now in [MonotonicTime::ZERO, at(0), MonotonicTime::from_nanos(u64::MAX)] {
                    bucket.take(u64::MAX, now);
                    let _waited = bucket.time_until(u64::MAX, now);
                    let _taken = bucket.try_take(u64::MAX, now);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn in_any_period_at_most_the_burst_and_the_rate_of_the_period_are_taken(
            rate in 1_u64..100_000,
            burst in 0_u64..100_000,
            requests in prop::collection::vec((0_u64..200, 0_u64..5_000), 1..200),
        ) {
            let mut bucket = TokenBucket::new(rate, burst);
            let (mut millis, mut taken) = (0, 0);
            for (pause, tokens) in requests {
                millis += pause;
                let before = bucket;
                let wait = bucket.time_until(tokens, at(millis));
                if bucket.try_take(tokens, at(millis)) {
                    taken += tokens;
                    prop_assert!(wait.is_zero());
                } else {
                    prop_assert_eq!(bucket, before);
                    // The tokens are available after the announced time, and not before.
                    let mut later = bucket;
                    prop_assert_eq!(
                        later.try_take(tokens, at(millis) + wait), tokens <= burst
                    );
                }
                prop_assert!(taken <= burst + rate * millis / 1000);
            }
        }
    }

    #[test]
    fn a_recurring_condition_is_logged_once_and_again_after_a_quiet_period() {
        let second = Duration::from_secs(1);
        let mut throttle = LogThrottle::default();
        let start = MonotonicTime::from_since_boot(second);
        assert!(throttle.should_log(start));
        // Each recurrence within the period starts the period again.
        assert!(!throttle.should_log(start + (QUIET_PERIOD - second)));
        assert!(!throttle.should_log(start + QUIET_PERIOD));
        assert!(throttle.should_log(start + QUIET_PERIOD + QUIET_PERIOD));
    }
}
