//! Waiting for a condition, within a bound. A condition that does not become true is a result and
//! not a panic, so that the test can report it and go on with the next attack.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// The bound within which a daemon must have recovered from an attack, on a busy machine.
pub(super) const BOUND: Duration = Duration::from_secs(10);

/// The polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(4);

/// Waits until `look` returns `Ok`, and returns its value.
///
/// # Errors
///
/// The last error of `look`, if it returns no value within [`BOUND`].
pub(super) fn within_bound<T>(
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let deadline = Instant::now() + BOUND;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() > deadline => {
                return Err(format!("{what}: not within {BOUND:?}: {reason}"));
            }
            Err(_not_yet) => park_timeout(POLL_INTERVAL),
        }
    }
}
