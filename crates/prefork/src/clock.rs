//! The time, as the scoreboard counts it.

use daemon_core::MonotonicTime;

pub(crate) fn now() -> MonotonicTime {
    MonotonicTime::from_since_boot(daemon_sys::clock::monotonic())
}
