//! The clock that never jumps, and that all processes of a machine read alike.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Returns the time since some moment before this process began, `CLOCK_MONOTONIC` of
/// clock_gettime(2): on Linux since boot, without the time spent suspended.
///
/// Two processes get comparable times, which `std::time::Instant` can't be made to give: it may be
/// written to shared memory. A reading makes no system call and costs about 25 ns.
///
/// # Panics
///
/// If the system has no such clock, which POSIX demands of every one.
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
