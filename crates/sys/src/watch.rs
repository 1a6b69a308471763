//! Registers descriptors with a tokio runtime. Requires the feature `tokio`.
//!
//! This is the only module of the crate that depends on a runtime. It is in this crate because
//! tokio's function for the registration is unsafe: its caller must guarantee that the descriptor
//! stays open.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Result};

#[cfg(not(target_os = "linux"))]
mod fallback;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
use fallback as platform;
#[cfg(target_os = "linux")]
use linux as platform;

/// Registers the descriptor for reading with the runtime of the current thread.
///
/// The returned registration owns the descriptor and closes it when dropped.
///
/// # Errors
///
/// If the system cannot watch the descriptor. For example, epoll_ctl(2) refuses regular files.
///
/// # Panics
///
/// If called outside of a tokio runtime with I/O enabled.
pub fn readable(descriptor: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    watch(descriptor, Interest::READABLE)
}

/// Registers the descriptor for writing with the runtime of the current thread. Keep the
/// registration only while a write is blocked, because a socket becomes writable after each read at
/// its other end and wakes the runtime each time.
///
/// # Errors
///
/// As [`readable`].
///
/// # Panics
///
/// As [`readable`].
pub fn writable(descriptor: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    watch(descriptor, Interest::WRITABLE)
}

fn watch(descriptor: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>> {
    let number = descriptor.as_raw_fd();
    // SAFETY: an `OwnedFd` stays open, with the same number, for as long as it lives. The returned
    // `AsyncFd` owns it and gives out only shared references to it.
    let watch = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    watch.map_err(|error| {
        let (_descriptor, cause) = error.into_parts();
        Error::os(format!("watch descriptor {number}"), cause)
    })
}

/// A listening socket shared by several processes. A new connection wakes only one of the waiting
/// processes, not all of them.
///
/// On Linux this uses `EPOLLEXCLUSIVE` (epoll_ctl(2)) if the runtime's epoll instance can be found
/// in `/proc`. Otherwise all waiting processes are woken, one accepts, and the others wait again.
#[derive(Debug)]
pub struct SharedListener {
    watch: AsyncFd<OwnedFd>,
    registration: platform::EpollRegistration,
}

impl SharedListener {
    /// Registers the listener with the runtime of the current thread.
    ///
    /// # Errors
    ///
    /// As [`readable`].
    ///
    /// # Panics
    ///
    /// As [`readable`].
    pub fn new(listener: OwnedFd) -> Result<SharedListener> {
        let watch = readable(listener)?;
        let registration = platform::EpollRegistration::of(watch.get_ref());
        Ok(SharedListener { watch, registration })
    }

    /// Returns the listening socket.
    #[must_use]
    pub fn listener(&self) -> &OwnedFd {
        self.watch.get_ref()
    }

    /// Waits until this process is woken for a connection. Another process may have accepted the
    /// connection by then, so accept without blocking, and then wait again.
    ///
    /// A process that does not call this method is not woken, so it does not delay connections that
    /// a waiting process could accept. Drop the future to stop waiting.
    ///
    /// # Errors
    ///
    /// If the runtime shuts down.
    pub async fn readable(&self) -> io::Result<()> {
        let _wait = self.registration.wait(self.watch.get_ref());
        self.watch.readable().await?.clear_ready();
        Ok(())
    }
}
