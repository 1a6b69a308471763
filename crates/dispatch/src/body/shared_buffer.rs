//! Buffers in memory files. After another process has read a buffer, the memory file of the buffer
//! can be reused for another buffer.

use std::os::fd::{AsFd, BorrowedFd};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use super::buffer_pool::{self, Segment};

/// Bytes in a memory file whose descriptor can be sent. The bytes do not change while the buffer
/// exists.
///
/// On drop, the memory file goes back to the buffer pool of this process, unless
/// [`prevent_reuse`](SharedBuffer::prevent_reuse) was called or the file is too large for the pool.
#[derive(Debug)]
pub(crate) struct SharedBuffer {
    /// The memory file and its mapping; `None` only during drop.
    segment: Option<Segment>,
    length: usize,
    /// The id of the process that wrote the buffer. A forked child inherits the buffer, but must
    /// not reuse the memory file.
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

    /// Returns whether the memory file can go back to the pool. Files larger than the pool cannot.
    pub(super) fn is_pooled(&self) -> bool {
        self.segment
            .as_ref()
            .is_some_and(|segment| segment.capacity() <= buffer_pool::POOL_BYTES_MAX)
    }

    /// Prevents the reuse of the memory file. Called if another process may still read the file.
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

/// A buffer that is being written.
#[derive(Debug)]
pub(super) struct SharedBufferWriter {
    segment: Segment,
    length: usize,
}

impl SharedBufferWriter {
    /// Creates a buffer that contains `bytes` and has space for `more` further bytes. Returns
    /// `None` if no segment is available.
    pub(super) fn start(
        bytes: &[u8],
        more: usize,
    ) -> Result<Option<SharedBufferWriter>, daemon_sys::Error> {
        let Some(mut segment) = buffer_pool::take(bytes.len() + more)? else { return Ok(None) };
        segment.write(0, bytes)?;
        Ok(Some(SharedBufferWriter { segment, length: bytes.len() }))
    }

    /// Returns the bytes written so far.
    pub(super) fn bytes(&self) -> &[u8] {
        self.segment.bytes(self.length)
    }

    /// Adds bytes. If they do not fit, all bytes move to a larger segment. Returns `false` if no
    /// larger segment is available; then nothing is added.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<bool, daemon_sys::Error> {
        let end = self.length.saturating_add(bytes.len());
        if end > self.segment.capacity() {
            let size = end.max(self.segment.capacity().saturating_mul(2));
            let Some(mut larger) = buffer_pool::take(size)? else {
                return Ok(false);
            };
            larger.write(0, self.segment.bytes(self.length))?;
            buffer_pool::put(std::mem::replace(&mut self.segment, larger));
        }
        self.segment.write(self.length, bytes)?;
        self.length = end;
        Ok(true)
    }

    pub(super) fn finish(self) -> SharedBuffer {
        let SharedBufferWriter { segment, length } = self;
        let (writer, no_reuse) = (process::id(), AtomicBool::new(false));
        SharedBuffer { segment: Some(segment), length, writer, no_reuse }
    }
}
