//! A queue of signals by handlers that ring a bell: any Unix.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::process::Signal;
use crate::signals::{SignalListener, unblock};

#[derive(Debug)]
pub(super) struct SignalSource {
    ears: SignalListener,
}

impl SignalSource {
    pub(super) fn new(signals: &[Signal]) -> io::Result<SignalSource> {
        let ears = SignalListener::open(signals).map_err(io::Error::other)?;
        unblock(signals).map_err(io::Error::other)?;
        Ok(SignalSource { ears })
    }

    pub(super) fn drain(&self) -> io::Result<Vec<Signal>> {
        Ok(self.ears.drain())
    }

    pub(super) fn clear(&self) -> io::Result<()> {
        self.ears.drain();
        Ok(())
    }
}

impl AsFd for SignalSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ears.as_fd()
    }
}

/// The handler runs only if the signal is not blocked: none is kept so.
pub(super) fn is_kept(_: Signal) -> bool {
    false
}

pub(super) fn keeps_any() -> bool {
    false
}

pub(super) fn give_up(_: &[Signal]) {}
