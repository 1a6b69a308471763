//! A doorbell between processes: many may ring, one hears it in its loop.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::error::{Error, Result};

#[cfg(any(not(target_os = "linux"), fallback))]
mod fallback;
#[cfg(all(target_os = "linux", not(fallback)))]
mod linux;
#[cfg(any(not(target_os = "linux"), fallback))]
use fallback as platform;
#[cfg(all(target_os = "linux", not(fallback)))]
use linux as platform;

/// A bell: its descriptor is readable from the first ring until it is hushed.
///
/// Made before a fork it is shared by both processes. On Linux it is an eventfd(2), elsewhere a
/// pipe.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use daemon_sys::{wakeup::Wakeup, poll::{Interest, wait}};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let bell = WakeParent::new()?;
/// bell.ring();
/// bell.ring();
/// assert!(wait(&[(bell.as_fd(), Interest::Read)], None)?[0].can_read());
/// bell.hush();
/// let quiet = wait(&[(bell.as_fd(), Interest::Read)], Some(Duration::ZERO))?;
/// assert!(!quiet[0].can_read());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Wakeup {
    wire: platform::WakeupFd,
}

impl Wakeup {
    /// Hangs up a bell that is silent.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    #[inline]
    pub fn new() -> Result<Wakeup> {
        match platform::WakeupFd::new() {
            Ok(wire) => Ok(Wakeup { wire }),
            Err(error) => Err(Error::os("hang up a bell", error)),
        }
    }

    /// Rings. It never waits.
    ///
    /// It can't fail in a way that matters: the one error of such a write is that the bell has been
    /// rung so often that no more fits, and then it is ringing.
    pub fn wake(&self) {
        self.wire.wake();
    }

    /// The descriptor that rings it when eight bytes are written, for a signal handler.
    pub(crate) fn mouth(&self) -> RawFd {
        self.wire.mouth()
    }

    /// Silences the bell, however often it was rung. Look for work after it, not before: what is
    /// rung in between would be lost.
    pub fn clear(&self) {
        self.wire.clear();
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

impl AsRawFd for Wakeup {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
