//! Letters: bytes in memory files, which another process reads and this one uses again.

use std::os::fd::{AsFd, BorrowedFd};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use daemon_sys::memfd::Area;

use super::shelf;

/// Bytes that can be passed on by their descriptor. Nobody changes them while this is there.
///
/// Dropped, it gives its memory back to be written again, unless it was [withdrawn](Letter::withdraw).
#[derive(Debug)]
pub(crate) struct Letter {
    /// None when it is being dropped.
    area: Option<Area>,
    length: usize,
    /// Which process has written it. A fork's child inherits it, but the memory is not its own.
    writer: u32,
    withdrawn: AtomicBool,
}

impl Letter {
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.area.as_ref().map_or(&[], |area| area.bytes(self.length))
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.area.as_ref().map(AsFd::as_fd)
    }

    /// Whether its memory is kept to be written again: a very large file is not.
    pub(super) fn is_used_again(&self) -> bool {
        self.area.as_ref().is_some_and(|area| area.capacity() <= shelf::KEPT_MAX)
    }

    /// Somebody may still read it whom nobody can ask: its memory is not used again.
    pub(crate) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Relaxed);
    }
}

impl Drop for Letter {
    fn drop(&mut self) {
        if *self.withdrawn.get_mut() || !self.is_used_again() {
            return;
        }
        if let Some(area) = self.area.take()
            && self.writer == process::id()
        {
            shelf::put(area);
        }
    }
}

/// A letter that is being written.
#[derive(Debug)]
pub(super) struct Draft {
    area: Area,
    length: usize,
}

impl Draft {
    /// Begins with these bytes, when as many more will follow.
    pub(super) fn begin(bytes: &[u8], more: usize) -> Result<Draft, daemon_sys::Error> {
        let mut area = shelf::take(bytes.len() + more)?;
        area.write(0, bytes)?;
        Ok(Draft { area, length: bytes.len() })
    }

    /// Adds these bytes. Where they do not fit in, all moves to a larger file.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), daemon_sys::Error> {
        let end = self.length.saturating_add(bytes.len());
        if end > self.area.capacity() {
            let mut larger = shelf::take(end.max(self.area.capacity().saturating_mul(2)))?;
            larger.write(0, self.area.bytes(self.length))?;
            shelf::put(std::mem::replace(&mut self.area, larger));
        }
        self.area.write(self.length, bytes)?;
        self.length = end;
        Ok(())
    }

    pub(super) fn end(self) -> Letter {
        let Draft { area, length } = self;
        let (writer, withdrawn) = (process::id(), AtomicBool::new(false));
        Letter { area: Some(area), length, writer, withdrawn }
    }
}
