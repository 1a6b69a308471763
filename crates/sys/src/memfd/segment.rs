//! A memory file of fixed size that this process writes repeatedly and other processes read.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::error::{Error, Result};

#[cfg(any(not(target_os = "linux"), fallback))]
mod fallback;
#[cfg(all(target_os = "linux", not(fallback)))]
mod linux;
#[cfg(any(not(target_os = "linux"), fallback))]
use fallback::SegmentMemory;
#[cfg(any(not(target_os = "linux"), fallback))]
pub(super) use fallback::check_received;
#[cfg(all(target_os = "linux", not(fallback)))]
use linux::SegmentMemory;
#[cfg(all(target_os = "linux", not(fallback)))]
pub(super) use linux::check_received;

/// Memory that this process writes and other processes read through its descriptor, with
/// [`read_exactly`](super::read_exactly).
///
/// No other process can change the data that [`bytes`](MemorySegment::bytes) returns. On Linux,
/// which must be version 5.1 or later, the file is sealed: only this mapping can write to the file,
/// and no process can shrink it. On other systems `bytes` returns this process's own copy of the
/// written data. A forked process inherits the mapping and must not write to it.
///
/// # Examples
///
/// ```
/// use daemon_sys::memfd::{MemorySegment, read_exactly};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let mut segment = MemorySegment::new("request", 4096)?;
/// segment.write(0, b"a request")?;
/// assert_eq!(read_exactly(&segment, 9)?, b"a request");
/// segment.write(0, b"another!!")?;
/// assert_eq!(segment.bytes(9), b"another!!");
/// # Ok(())
/// # }
/// ```
pub struct MemorySegment {
    memory: SegmentMemory,
    capacity: usize,
}

impl MemorySegment {
    /// Creates a zeroed segment of this size in bytes. `name` is shown in `/proc`. The segment uses
    /// memory only up to the highest offset that has been written.
    ///
    /// # Errors
    ///
    /// If the system is out of descriptors or address space, or the name is too long (more than 249
    /// bytes on Linux) or contains a zero byte.
    pub fn new(name: &str, capacity: usize) -> Result<MemorySegment> {
        let action =
            |error| Error::os(format!("create memory file {name} of {capacity} bytes"), error);
        Ok(MemorySegment { memory: SegmentMemory::new(name, capacity).map_err(action)?, capacity })
    }

    /// Returns the size of the segment in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Writes these bytes at this offset.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the bytes do not fit, or the system is out of memory.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        let action =
            |error| Error::os(format!("write {} bytes to memory file", bytes.len()), error);
        match offset.checked_add(bytes.len()) {
            Some(end) if end <= self.capacity => self.memory.write(offset, bytes).map_err(action),
            Some(_) | None => Err(action(io::ErrorKind::FileTooLarge.into())),
        }
    }

    /// Returns the first `length` bytes, or all bytes if the segment is shorter.
    #[must_use]
    pub fn bytes(&self, length: usize) -> &[u8] {
        self.memory.bytes(length.min(self.capacity))
    }
}

impl AsFd for MemorySegment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }
}

impl fmt::Debug for MemorySegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySegment").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_exactly;
    use super::*;

    #[test]
    fn written_data_is_read_through_the_descriptor_and_can_be_overwritten() {
        let mut segment = MemorySegment::new("test", 200_000).expect("created");
        segment.write(0, &[1; 150_000]).expect("written");
        segment.write(100_000, &[2; 100_000]).expect("written");
        let read = read_exactly(&segment, 200_000).expect("read");
        assert!(read[..100_000].iter().all(|byte| *byte == 1));
        assert!(read[100_000..].iter().all(|byte| *byte == 2));
        assert!(segment.bytes(200_000) == read);
        segment.write(0, b"again").expect("written");
        assert_eq!(read_exactly(&segment, 6).expect("read"), b"again\x01");
        assert_eq!(segment.bytes(usize::MAX).len(), 200_000);
    }

    #[test]
    fn data_that_does_not_fit_is_refused() {
        let mut segment = MemorySegment::new("test", 4096).expect("created");
        segment.write(4090, b"sixsix").expect("written");
        for (at, length) in [(4091, 6), (0, 4097), (usize::MAX, 2), (5000, 1)] {
            let refused = segment.write(at, &vec![7; length]).expect_err("refused").to_string();
            assert_eq!(
                refused,
                format!("cannot write {length} bytes to memory file: file too large")
            );
        }
    }
}
