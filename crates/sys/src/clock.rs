//! The monotonic clock, which has the same value in all processes of a machine.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Returns the time of `CLOCK_MONOTONIC` (clock_gettime(2)): on Linux the time since boot, without
/// the time spent suspended.
///
/// Times of different processes can be compared and stored in shared memory, unlike
/// `std::time::Instant`. A call makes no system call and takes about 25 ns.
///
/// # Panics
///
/// If the system has no such clock, which POSIX requires.
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
