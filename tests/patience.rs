//! Waiting for a condition to become true. Test programs include this file by its path.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// The polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(4);
/// The longest time to wait on a busy machine before the wait fails.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until the function returns a value, and returns it.
///
/// # Panics
///
/// If the function returns no value within a minute. The message contains `what`.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {TIMEOUT:?}");
        park_timeout(POLL_INTERVAL);
    }
}
