//! Signals as bytes to read, so that a loop hears them where it hears all else.

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

/// A descriptor that is readable when one of its signals has come.
///
/// On Linux it is a signalfd(2), elsewhere a pipe that a handler writes to. A signal that comes
/// several times before it is read is told once, as signals are.
///
/// On Linux the signals are blocked in the calling thread and stay so when a
/// [`SignalBlockGuard`](super::Blocked) or the queue is dropped, since an unblocked one that is pending would
/// kill: restore or ignore them, then [`unblock`](super::unblock). Elsewhere they are unblocked, so
/// that the handler runs. A forked child that keeps the descriptor reads its own signals by
/// it, not its parent's.
#[derive(Debug)]
pub struct SignalQueue {
    source: platform::SignalSource,
}

impl SignalQueue {
    /// Makes the queue of these signals.
    ///
    /// Elsewhere than on Linux a process has one queue at a time: a second takes the signals over.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub fn new(signals: &[Signal]) -> Result<SignalQueue> {
        match platform::SignalSource::new(signals) {
            Ok(source) => Ok(SignalQueue { source }),
            Err(error) => Err(Error::os("open a queue of signals", error)),
        }
    }

    /// Takes the signals that have come; empty if none has. It does not wait.
    ///
    /// # Errors
    ///
    /// None that read(2) names for such a descriptor.
    pub fn drain(&self) -> Result<Vec<Signal>> {
        self.source.drain().map_err(|error| Error::os("read the queue of signals", error))
    }

    /// Takes the signals that have come without saying which: enough for a queue of one.
    ///
    /// # Errors
    ///
    /// As [`drain`](SignalQueue::drain).
    pub fn clear(&self) -> Result<()> {
        self.source.clear().map_err(|error| Error::os("read the queue of signals", error))
    }
}

/// Says whether a queue needs the signal blocked, so that no mask that comes back may unblock it.
pub(super) fn is_kept(signal: Signal) -> bool {
    platform::is_kept(signal)
}

/// Says whether any is.
pub(super) fn keeps_any() -> bool {
    platform::keeps_any()
}

/// Lets go of what [`is_kept`]: the program unblocks these signals by will.
pub(super) fn give_up(signals: &[Signal]) {
    platform::give_up(signals);
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}
