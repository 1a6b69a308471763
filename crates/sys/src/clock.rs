//! The monotonic clock, which has the same value in all processes of the system.

use std::time::Duration;

use daemon_core::MonotonicTime;
use nix::time::{ClockId, clock_gettime};

/// Returns the time of `CLOCK_MONOTONIC` (clock_gettime(2)). On Linux this is the time since boot,
/// excluding the time for which the system was suspended.
///
/// Unlike a `std::time::Instant`, this time can be stored in shared memory and compared with the
/// times that other processes have read. Reading the clock takes about 25 ns and needs no system
/// call.
///
/// # Panics
///
/// If the system has no monotonic clock. POSIX requires every system to have one.
///
/// # Examples
///
/// ```
/// use daemon_sys::clock::monotonic;
///
/// let earlier = monotonic();
/// assert!(monotonic() >= earlier);
/// ```
#[must_use]
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the system has a monotonic clock").into()
}

/// Returns the time of [`monotonic`] as the rules and the scoreboard use it.
#[must_use]
pub fn now() -> MonotonicTime {
    MonotonicTime::from_since_boot(monotonic())
}
