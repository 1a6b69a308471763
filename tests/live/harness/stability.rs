//! Checks that a condition stays true.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// The polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(4);

/// Calls `look`, which fails the test if the condition is false, repeatedly for this long.
pub(crate) fn during(window: Duration, mut look: impl FnMut()) {
    let end = Instant::now() + window;
    while Instant::now() < end {
        look();
        park_timeout(POLL_INTERVAL);
    }
}
