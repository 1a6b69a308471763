//! A descriptor that a tokio runtime watches. The one place that knows of a runtime, and only with
//! the feature `tokio`: to register a descriptor is a promise that it stays open, so it is here.

use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Result};

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
    let number = descriptor.as_raw_fd();
    // SAFETY: an `OwnedFd` is open for as long as it lives and always the same descriptor; the
    // watch owns it and gives out nothing but shared references to it.
    let watch = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    watch.map_err(|error| {
        let (_descriptor, cause) = error.into_parts();
        Error::os(format!("watch descriptor {number}"), cause)
    })
}
