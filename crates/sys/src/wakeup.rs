//! Wakes an event loop from other threads or processes.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::listen::set_nonblocking;

/// The maximum number of bytes that [`Wakeup::clear`] reads: the usual capacity of a pipe.
const CLEAR_MAX: usize = 64 * 1024;

/// A descriptor that [`wake`](Self::wake) makes readable and [`clear`](Self::clear) resets.
///
/// It is a pipe. The process that waits keeps the wakeup. Another process, which was forked after
/// the wakeup was created, keeps only the writer ([`into_waker`](Wakeup::into_waker)), so it can
/// neither read from the pipe nor change the flags of the end that is read: a read of the waiting
/// process never blocks. A pipe is used instead of an eventfd(2) because the latter has only one
/// end.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use daemon_sys::{wakeup::Wakeup, poll::{Interest, wait}};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let wakeup = Wakeup::new()?;
/// wakeup.wake();
/// wakeup.wake();
/// assert!(wait(&[(wakeup.as_fd(), Interest::Read)], None)?[0].is_readable());
/// wakeup.clear();
/// let ready = wait(&[(wakeup.as_fd(), Interest::Read)], Some(Duration::ZERO))?;
/// assert!(!ready[0].is_readable());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Wakeup {
    reader: PipeReader,
    /// Kept open, because a pipe without a writer is always readable.
    waker: Waker,
}

/// Wakes the process that has the [`Wakeup`].
#[derive(Debug)]
pub struct Waker {
    writer: PipeWriter,
}

impl Wakeup {
    /// Creates a wakeup.
    ///
    /// # Errors
    ///
    /// If the system is out of descriptors.
    #[inline]
    pub fn new() -> Result<Wakeup> {
        let failed = |error: io::Error| Error::os("create a wakeup pipe", error);
        let (reader, writer) = io::pipe().map_err(failed)?;
        set_nonblocking(reader.as_fd(), true)?;
        set_nonblocking(writer.as_fd(), true)?;
        Ok(Wakeup { reader, waker: Waker { writer } })
    }

    /// Makes the descriptor readable. Does not block.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Returns the part that only wakes, and closes the other.
    #[must_use]
    pub fn into_waker(self) -> Waker {
        self.waker
    }

    /// Returns the descriptor to write to. A signal handler writes a byte to it, which makes the
    /// wakeup readable.
    pub(crate) fn writer(&self) -> RawFd {
        self.waker.writer.as_raw_fd()
    }

    /// Makes the descriptor unreadable again, unless other processes write to it all the time.
    /// Check for pending work after `clear`. If you check before `clear`, a wakeup between the
    /// check and `clear` is lost.
    pub fn clear(&self) {
        let mut bytes = [0_u8; 4096];
        for _block in 0..CLEAR_MAX / bytes.len() {
            match nix::unistd::read(&self.reader, &mut bytes) {
                Ok(length) if length == bytes.len() => {}
                Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

impl Waker {
    /// Makes the descriptor of the wakeup readable. Does not block, unless another process has made
    /// the pipe blocking and filled it.
    ///
    /// Errors are ignored. The write fails only if the pipe is full, and then the descriptor is
    /// readable already.
    pub fn wake(&self) {
        while nix::unistd::write(&self.writer, &[1]) == Err(Errno::EINTR) {}
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl AsRawFd for Wakeup {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
