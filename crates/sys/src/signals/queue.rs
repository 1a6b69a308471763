//! Reads signals from a descriptor, so that an event loop handles them like other events.

use std::os::fd::{AsFd, BorrowedFd};

use crate::error::{Error, Result};
use crate::process::Signal;

#[cfg(any(not(target_os = "linux"), fallback))]
mod fallback;
#[cfg(all(target_os = "linux", not(fallback)))]
mod linux;
#[cfg(any(not(target_os = "linux"), fallback))]
use fallback as platform;
#[cfg(all(target_os = "linux", not(fallback)))]
use linux as platform;

/// A descriptor that is readable when one of its signals has arrived.
///
/// On Linux it is a signalfd(2), on other systems a pipe that a handler writes to. A signal that
/// arrives several times before it is read is reported once, as usual for signals.
///
/// On Linux the signals are blocked in the calling thread. They stay blocked when a
/// [`SignalBlockGuard`](super::SignalBlockGuard) or the queue is dropped, because unblocking a
/// pending signal can kill the process. To stop using the queue, first [ignore](super::ignore) its
/// signals or [restore](super::restore_default) their default action, and then
/// [unblock](super::unblock) them. A forked child that keeps the descriptor reads its own signals
/// from it, not its parent's.
///
/// On other systems the signals are unblocked, so that the handler runs.
#[derive(Debug)]
pub struct SignalQueue {
    source: platform::SignalSource,
}

impl SignalQueue {
    /// Creates a queue of these signals.
    ///
    /// On systems other than Linux a process can have only one queue at a time, and a second queue
    /// replaces the first.
    ///
    /// # Errors
    ///
    /// If the system is out of descriptors.
    pub fn new(signals: &[Signal]) -> Result<SignalQueue> {
        match platform::SignalSource::new(signals) {
            Ok(source) => Ok(SignalQueue { source }),
            Err(error) => Err(Error::os("create a signal queue", error)),
        }
    }

    /// Returns and removes the signals that have arrived; the result is empty if no signal has
    /// arrived. Does not block.
    ///
    /// # Errors
    ///
    /// If read(2) fails with an error other than EAGAIN or EINTR, which is not expected.
    pub fn drain(&self) -> Result<Vec<Signal>> {
        self.source.drain().map_err(|error| Error::os("read the signal queue", error))
    }

    /// Removes the signals that have arrived and does not return them. This is enough for a queue
    /// of one signal.
    ///
    /// # Errors
    ///
    /// As [`drain`](SignalQueue::drain).
    pub fn clear(&self) -> Result<()> {
        self.source.clear().map_err(|error| Error::os("read the signal queue", error))
    }
}

/// Returns whether a queue requires the signal to be blocked. If so, restoring a signal mask must
/// not unblock it.
pub(super) fn is_reserved(signal: Signal) -> bool {
    platform::is_reserved(signal)
}

/// Returns whether a queue requires any signal to be blocked.
pub(super) fn has_reserved() -> bool {
    platform::has_reserved()
}

/// Allows these signals to be unblocked again.
pub(super) fn release(signals: &[Signal]) {
    platform::release(signals);
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}
