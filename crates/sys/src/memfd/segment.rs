//! A memory file of a fixed size that this process fills, time and again, for others to read.

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
#[cfg(all(target_os = "linux", not(fallback)))]
use linux::SegmentMemory;

/// Memory that is written here and read elsewhere by its descriptor, with
/// [`read_exactly`](super::read_exactly).
///
/// Nobody else changes what is in it: on Linux (from 5.1 on) its file is sealed so that only this
/// mapping can write, and never shrinks; elsewhere what [`bytes`](Area::bytes) shows is a copy of what
/// went into the file. A process that is forked has the mapping too, and is not to write.
///
/// # Examples
///
/// ```
/// use daemon_sys::memfd::{Area, read_exactly};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let mut area = Area::make("letter", 4096)?;
/// area.write(0, b"a request")?;
/// assert_eq!(read_exactly(&area, 9)?, b"a request");
/// area.write(0, b"another!!")?;
/// assert_eq!(area.bytes(9), b"another!!");
/// # Ok(())
/// # }
/// ```
pub struct MemorySegment {
    memory: SegmentMemory,
    capacity: usize,
}

impl MemorySegment {
    /// Makes one of so many bytes, all zero. `name` is for people who look at `/proc`. It takes
    /// memory only where it is written.
    ///
    /// # Errors
    ///
    /// If no descriptor or address space is left, or the name is too long (249 bytes on Linux) or
    /// holds a zero byte.
    pub fn new(name: &str, capacity: usize) -> Result<MemorySegment> {
        let action =
            |error| Error::os(format!("make memory file {name} of {capacity} bytes"), error);
        Ok(MemorySegment { memory: SegmentMemory::new(name, capacity).map_err(action)?, capacity })
    }

    /// Tells how many bytes it has.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Writes these bytes, from this place on.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if they do not fit in, or there is no memory left.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let action =
            |error| Error::os(format!("write {} bytes to memory file", bytes.len()), error);
        match at.checked_add(bytes.len()) {
            Some(end) if end <= self.capacity => self.memory.write(at, bytes).map_err(action),
            Some(_) | None => Err(action(io::ErrorKind::FileTooLarge.into())),
        }
    }

    /// Shows its first bytes, so many or all.
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
        f.debug_struct("Area").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_exactly;
    use super::*;

    #[test]
    fn what_is_written_is_read_by_the_descriptor_and_may_be_written_over() {
        let mut area = MemorySegment::new("test", 200_000).expect("room");
        area.write(0, &[1; 150_000]).expect("room");
        area.write(100_000, &[2; 100_000]).expect("room");
        let read = read_exactly(&area, 200_000).expect("readable");
        assert!(read[..100_000].iter().all(|byte| *byte == 1));
        assert!(read[100_000..].iter().all(|byte| *byte == 2));
        assert!(area.bytes(200_000) == read);
        area.write(0, b"again").expect("room");
        assert_eq!(read_exactly(&area, 6).expect("readable"), b"again\x01");
        assert_eq!(area.bytes(usize::MAX).len(), 200_000);
    }

    #[test]
    fn what_does_not_fit_in_is_refused() {
        let mut area = MemorySegment::new("test", 4096).expect("room");
        area.write(4090, b"sixsix").expect("room");
        for (at, length) in [(4091, 6), (0, 4097), (usize::MAX, 2), (5000, 1)] {
            let refused = area.write(at, &vec![7; length]).expect_err("refused").to_string();
            assert_eq!(
                refused,
                format!("cannot write {length} bytes to memory file: file too large")
            );
        }
    }
}
