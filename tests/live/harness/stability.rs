//! Checks that a condition stays true.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// The polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(4);

/// Calls `look` repeatedly until `window` has passed. `look` must panic if the condition is false.
pub(crate) fn during(window: Duration, mut look: impl FnMut()) {
    let end = Instant::now() + window;
    while Instant::now() < end {
        look();
        park_timeout(POLL_INTERVAL);
    }
}
