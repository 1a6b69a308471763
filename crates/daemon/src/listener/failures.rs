//! What a process does while accept(2) fails.

use std::io;
use std::time::Duration;

use daemon_core::MonotonicTime;
use daemon_sys::listen;

/// The delay before the first new attempt. Each further delay is twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(10);
/// The longest delay between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// A child that could not accept for this long is replaced.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);
/// A process that fails again and again logs it at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The failed attempts of a process to accept a connection. A process that does not fail needs no
/// clock.
#[derive(Debug, Default)]
pub(super) struct AcceptFailures {
    /// The failures since the last success.
    streak: Option<Streak>,
    logged: Option<MonotonicTime>,
}

#[derive(Debug)]
struct Streak {
    since: MonotonicTime,
    delay: Duration,
    is_logged: bool,
}

/// What to do after a failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AfterFailure {
    /// Whether this is the first failure after a success, or after the start.
    pub(super) is_first: bool,
    /// Whether to log the failure.
    pub(super) should_log: bool,
    pub(super) next: Next,
}

/// What follows a failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again after this time.
    Retry(Duration),
    /// A new process may be able to accept. A process that cannot be replaced tries again after
    /// this time.
    Replace(Duration),
}

impl AcceptFailures {
    /// Records a failed attempt.
    pub(super) fn failed(&mut self, error: &io::Error, now: MonotonicTime) -> AfterFailure {
        let is_first = self.streak.is_none();
        let is_quiet = self.logged.is_some_and(|logged| now < logged + LOG_INTERVAL);
        let streak = self.streak.get_or_insert(Streak {
            since: now,
            delay: FIRST_DELAY,
            is_logged: !is_quiet,
        });
        let should_log = is_first && streak.is_logged;
        if should_log {
            self.logged = Some(now);
        }
        let delay = streak.delay;
        streak.delay = (delay * 2).min(MAX_DELAY);
        // Another process would have the same difficulty with a shortage of the whole system.
        let is_replaceable = !listen::is_system_shortage(error);
        let next = if is_replaceable && now >= streak.since + GIVE_UP_AFTER {
            Next::Replace(delay)
        } else {
            Next::Retry(delay)
        };
        AfterFailure { is_first, should_log, next }
    }

    /// Records that the process can accept. Returns whether to log that it can again.
    pub(super) fn succeeded(&mut self) -> bool {
        self.streak.take().is_some_and(|streak| streak.is_logged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;

    fn failed(failures: &mut AcceptFailures, errno: i32, millis: u64) -> AfterFailure {
        let error = io::Error::from_raw_os_error(errno);
        failures.failed(&error, MonotonicTime::from_nanos(millis * 1_000_000))
    }

    fn millis(millis: u64) -> Next {
        Next::Retry(Duration::from_millis(millis))
    }

    #[test]
    fn the_delay_grows_and_the_process_is_replaced_if_the_failure_lasts() {
        let mut failures = AcceptFailures::default();
        for (time, expected) in [
            (1000, millis(10)),
            (1010, millis(20)),
            (1030, millis(40)),
            (1070, millis(80)),
            (1150, millis(160)),
            (1310, millis(320)),
            (1630, millis(640)),
            (2270, millis(1000)),
            (3270, millis(1000)),
            (6000, Next::Replace(Duration::from_secs(1))),
        ] {
            let after = failed(&mut failures, EMFILE, time);
            assert_eq!(after.next, expected, "{time}");
            assert_eq!(after.is_first, time == 1000, "{time}");
        }
        assert!(failures.succeeded());
        assert_eq!(failed(&mut failures, EMFILE, 7000).next, millis(10));
    }

    #[test]
    fn a_shortage_of_the_system_does_not_replace_the_process() {
        let mut failures = AcceptFailures::default();
        failed(&mut failures, ENFILE, 0);
        assert_eq!(failed(&mut failures, ENFILE, 60_000).next, millis(20));
    }

    #[test]
    fn failures_in_quick_succession_are_logged_once_a_minute() {
        let mut failures = AcceptFailures::default();
        assert!(!failures.succeeded(), "nothing has failed");
        assert!(failed(&mut failures, EMFILE, 0).should_log);
        assert!(!failed(&mut failures, EMFILE, 10).should_log);
        assert!(failures.succeeded());
        let again = failed(&mut failures, EMFILE, 1000);
        assert!(again.is_first && !again.should_log);
        assert!(!failures.succeeded(), "the success is as quiet as the failure");
        assert!(failed(&mut failures, EMFILE, 60_000).should_log);
    }
}
