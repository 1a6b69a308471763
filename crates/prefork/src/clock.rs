//! The monotonic clock that the scoreboard uses.

use daemon_core::MonotonicTime;

pub(crate) fn now() -> MonotonicTime {
    MonotonicTime::from_since_boot(daemon_sys::clock::monotonic())
}
