//! Letters: bytes in memory files, which another process reads and this one uses again.

use std::os::fd::{AsFd, BorrowedFd};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use super::shelf::{self, Area};

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

/// Whether bytes were added to a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    Yes,
    No,
}

/// A letter that is being written.
#[derive(Debug)]
pub(super) struct Draft {
    area: Area,
    length: usize,
}

impl Draft {
    /// Begins with these bytes, when as many more will follow; if there may be another file.
    pub(super) fn begin(bytes: &[u8], more: usize) -> Result<Option<Draft>, daemon_sys::Error> {
        let Some(mut area) = shelf::take(bytes.len() + more)? else { return Ok(None) };
        area.write(0, bytes)?;
        Ok(Some(Draft { area, length: bytes.len() }))
    }

    /// What it has.
    pub(super) fn bytes(&self) -> &[u8] {
        self.area.bytes(self.length)
    }

    /// Adds these bytes. Where they do not fit in, all moves to a larger file; if there may be none
    /// nothing is added.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<Added, daemon_sys::Error> {
        let end = self.length.saturating_add(bytes.len());
        if end > self.area.capacity() {
            let room = end.max(self.area.capacity().saturating_mul(2));
            let Some(mut larger) = shelf::take(room)? else { return Ok(Added::No) };
            larger.write(0, self.area.bytes(self.length))?;
            shelf::put(std::mem::replace(&mut self.area, larger));
        }
        self.area.write(self.length, bytes)?;
        self.length = end;
        Ok(Added::Yes)
    }

    pub(super) fn end(self) -> Letter {
        let Draft { area, length } = self;
        let (writer, withdrawn) = (process::id(), AtomicBool::new(false));
        Letter { area: Some(area), length, writer, withdrawn }
    }
}
