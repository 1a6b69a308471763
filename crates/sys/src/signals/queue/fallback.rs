//! The signal queue with signal handlers, for any Unix.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::process::Signal;
use crate::signals::{SignalListener, unblock};

#[derive(Debug)]
pub(super) struct SignalSource {
    listener: SignalListener,
}

impl SignalSource {
    pub(super) fn new(signals: &[Signal]) -> io::Result<SignalSource> {
        let listener = SignalListener::open(signals).map_err(io::Error::other)?;
        unblock(signals).map_err(io::Error::other)?;
        Ok(SignalSource { listener })
    }

    pub(super) fn drain(&self) -> io::Result<Vec<Signal>> {
        Ok(self.listener.drain())
    }

    pub(super) fn clear(&self) -> io::Result<()> {
        self.listener.drain();
        Ok(())
    }
}

impl AsFd for SignalSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Returns `false`: this queue does not require the signal to be blocked. Its handler runs only if
/// the signal is not blocked.
pub(super) fn is_reserved(_: Signal) -> bool {
    false
}

pub(super) fn has_reserved() -> bool {
    false
}

pub(super) fn release(_: &[Signal]) {}
