//! Watching that something stays true.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// How often is looked.
const POLL_INTERVAL: Duration = Duration::from_millis(4);

/// Looks again and again for so long: for what must not happen meanwhile.
pub(crate) fn during(window: Duration, mut look: impl FnMut()) {
    let end = Instant::now() + window;
    while Instant::now() < end {
        look();
        park_timeout(POLL_INTERVAL);
    }
}
