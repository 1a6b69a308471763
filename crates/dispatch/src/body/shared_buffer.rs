//! Letters: bytes in memory files, which another process reads and this one uses again.

use std::os::fd::{AsFd, BorrowedFd};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use super::buffer_pool::{self, Segment};

/// Bytes that can be passed on by their descriptor. Nobody changes them while this is there.
///
/// Dropped, it gives its memory back to be written again, unless it was [withdrawn](Letter::withdraw).
#[derive(Debug)]
pub(crate) struct SharedBuffer {
    /// None when it is being dropped.
    segment: Option<Segment>,
    length: usize,
    /// Which process has written it. A fork's child inherits it, but the memory is not its own.
    writer: u32,
    no_reuse: AtomicBool,
}

impl SharedBuffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.segment.as_ref().map_or(&[], |segment| segment.bytes(self.length))
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.segment.as_ref().map(AsFd::as_fd)
    }

    /// Whether its memory is kept to be written again: a very large file is not.
    pub(super) fn is_pooled(&self) -> bool {
        self.segment
            .as_ref()
            .is_some_and(|segment| segment.capacity() <= buffer_pool::POOL_BYTES_MAX)
    }

    /// Somebody may still read it whom nobody can ask: its memory is not used again.
    pub(crate) fn prevent_reuse(&self) {
        self.no_reuse.store(true, Ordering::Relaxed);
    }
}

impl Drop for SharedBuffer {
    fn drop(&mut self) {
        if *self.no_reuse.get_mut() || !self.is_pooled() {
            return;
        }
        if let Some(segment) = self.segment.take()
            && self.writer == process::id()
        {
            buffer_pool::put(segment);
        }
    }
}

/// Whether bytes were added to a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    Yes,
    NoSegment,
}

/// A letter that is being written.
#[derive(Debug)]
pub(super) struct SharedBufferWriter {
    segment: Segment,
    length: usize,
}

impl SharedBufferWriter {
    /// Begins with these bytes, when as many more will follow; if there may be another file.
    pub(super) fn start(
        bytes: &[u8],
        more: usize,
    ) -> Result<Option<SharedBufferWriter>, daemon_sys::Error> {
        let Some(mut segment) = buffer_pool::take(bytes.len() + more)? else { return Ok(None) };
        segment.write(0, bytes)?;
        Ok(Some(SharedBufferWriter { segment, length: bytes.len() }))
    }

    /// What it has.
    pub(super) fn bytes(&self) -> &[u8] {
        self.segment.bytes(self.length)
    }

    /// Adds these bytes. Where they do not fit in, all moves to a larger file; if there may be none
    /// nothing is added.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<Appended, daemon_sys::Error> {
        let end = self.length.saturating_add(bytes.len());
        if end > self.segment.capacity() {
            let room = end.max(self.segment.capacity().saturating_mul(2));
            let Some(mut larger) = buffer_pool::take(room)? else {
                return Ok(Appended::NoSegment);
            };
            larger.write(0, self.segment.bytes(self.length))?;
            buffer_pool::put(std::mem::replace(&mut self.segment, larger));
        }
        self.segment.write(self.length, bytes)?;
        self.length = end;
        Ok(Appended::Yes)
    }

    pub(super) fn finish(self) -> SharedBuffer {
        let SharedBufferWriter { segment, length } = self;
        let (writer, no_reuse) = (process::id(), AtomicBool::new(false));
        SharedBuffer { segment: Some(segment), length, writer, no_reuse }
    }
}
