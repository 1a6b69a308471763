//! Waiting for a condition to become true. Test programs include this file by its path.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// The polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(4);
/// The longest time to wait on a busy machine before the wait fails.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until `look` returns a value, and returns it.
///
/// # Panics
///
/// If `look` returns no value within a minute. The panic message ends with "waiting until" and
/// `what`.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "timed out after {TIMEOUT:?} while waiting until {what}"
        );
        park_timeout(POLL_INTERVAL);
    }
}
