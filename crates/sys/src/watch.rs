//! Descriptors that a tokio runtime watches. The one place that knows of a runtime, and only with
//! the feature `tokio`: to register a descriptor is a promise that it stays open, so it is here.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Result};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod plain;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(not(target_os = "linux"))]
use plain as platform;

/// Has the runtime of this thread watch the descriptor for something to read.
///
/// The descriptor is owned by the watch, and closed with it.
///
/// # Errors
///
/// If the system cannot watch it: epoll_ctl(2) refuses plain files, for one.
///
/// # Panics
///
/// Outside of a tokio runtime with its I/O enabled.
pub fn readable(descriptor: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    watch(descriptor, Interest::READABLE)
}

/// Has the runtime of this thread watch the descriptor for room to write. Only while somebody waits for
/// it: a socket that is read at its other end has room anew each time, and wakes for that.
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
    // SAFETY: an `OwnedFd` is open for as long as it lives and always the same descriptor; the
    // watch owns it and gives out nothing but shared references to it.
    let watch = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    watch.map_err(|error| {
        let (_descriptor, cause) = error.into_parts();
        Error::os(format!("watch descriptor {number}"), cause)
    })
}

/// A listener that many processes share, and of which each wants to be woken only when it is its
/// turn: a connection wakes one of those that wait, not all of them.
///
/// On Linux that is `EPOLLEXCLUSIVE` (epoll_ctl(2)), where the runtime's own event queue can be
/// found in `/proc`; otherwise all are woken, one accepts, and the others wait again.
#[derive(Debug)]
pub struct Queue {
    watch: AsyncFd<OwnedFd>,
    place: platform::Place,
}

impl Queue {
    /// Has the runtime of this thread watch the listener, while somebody waits for it.
    ///
    /// # Errors
    ///
    /// As [`readable`].
    ///
    /// # Panics
    ///
    /// As [`readable`].
    pub fn at(listener: OwnedFd) -> Result<Queue> {
        let watch = readable(listener)?;
        let place = platform::Place::of(watch.get_ref());
        Ok(Queue { watch, place })
    }

    /// Shows the listener.
    #[must_use]
    pub fn listener(&self) -> &OwnedFd {
        self.watch.get_ref()
    }

    /// Waits until it is this process' turn to accept. The connection may be gone by then: accept
    /// without waiting, and wait again.
    ///
    /// A process that is busy stands in no line, and takes no turn from one that waits. To give up
    /// waiting, drop the future.
    ///
    /// # Errors
    ///
    /// If the runtime shuts down.
    pub async fn turn(&self) -> io::Result<()> {
        let _in_line = self.place.stand(self.watch.get_ref());
        self.watch.readable().await?.clear_ready();
        Ok(())
    }
}
