//! Limits how often a recurring condition is logged.

use std::time::Duration;

use crate::monotonic::MonotonicTime;

/// How long a recurring condition must be absent before it is logged again.
const QUIET_PERIOD: Duration = Duration::from_secs(60);

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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

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
