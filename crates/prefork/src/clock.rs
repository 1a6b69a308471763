//! The time, as the scoreboard counts it.

use daemon_core::Moment;

pub(crate) fn now() -> Moment {
    Moment::from_since_boot(daemon_sys::clock::monotonic())
}
