//! Wakes an event loop from other threads or processes.

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

/// A descriptor that [`wake`](Self::wake) makes readable and [`clear`](Self::clear) resets.
///
/// Both processes of a fork share a wakeup that was created before the fork. A wakeup is an
/// eventfd(2) on Linux and a pipe on other systems.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use daemon_sys::{wakeup::Wakeup, poll::{Interest, wait}};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let wakeup = Wakeup::new()?;
/// wakeup.wake();
/// wakeup.wake();
/// assert!(wait(&[(wakeup.as_fd(), Interest::Read)], None)?[0].is_readable());
/// wakeup.clear();
/// let ready = wait(&[(wakeup.as_fd(), Interest::Read)], Some(Duration::ZERO))?;
/// assert!(!ready[0].is_readable());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Wakeup {
    fd: platform::WakeupFd,
}

impl Wakeup {
    /// Creates a wakeup.
    ///
    /// # Errors
    ///
    /// If the system is out of descriptors.
    #[inline]
    pub fn new() -> Result<Wakeup> {
        match platform::WakeupFd::new() {
            Ok(fd) => Ok(Wakeup { fd }),
            Err(error) => Err(Error::os("create a wakeup descriptor", error)),
        }
    }

    /// Makes the descriptor readable. Never blocks.
    ///
    /// Errors are ignored. The write fails only if the counter or the pipe is full, and then the
    /// descriptor is readable already.
    pub fn wake(&self) {
        self.fd.wake();
    }

    /// Returns the descriptor to write to. A signal handler writes eight bytes to it, which makes
    /// the wakeup readable.
    pub(crate) fn writer(&self) -> RawFd {
        self.fd.writer()
    }

    /// Makes the descriptor unreadable again, however often [`wake`](Self::wake) was called. Check
    /// for pending work after `clear`. If you check before `clear`, a wakeup between the check and
    /// `clear` is lost.
    pub fn clear(&self) {
        self.fd.clear();
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Wakeup {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
