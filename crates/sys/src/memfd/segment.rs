//! A memory file of fixed size that this process writes repeatedly and other processes read.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::error::{Error, Result};

use platform::SegmentMemory;
pub(super) use platform::check_received;

/// Memory that this process writes and other processes read through its descriptor, with
/// [`ReceivedFile`](super::ReceivedFile).
///
/// No other process can change the data that [`bytes`](MemorySegment::bytes) returns. On Linux,
/// which must be version 5.1 or later, the file is sealed: only this mapping can write to the file,
/// and no process can shrink it. On other systems `bytes` returns this process's own copy of the
/// written data. A forked process inherits the mapping and must not write to it.
///
/// # Examples
///
/// ```
/// use daemon_sys::memfd::{MemorySegment, read_all};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let mut segment = MemorySegment::new("request", 4096)?;
/// segment.write(0, b"a request")?;
/// assert!(read_all(&segment, 4096)?.starts_with(b"a request"));
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

/// A memory segment that consists of a file and a copy of its contents. The copy is needed because
/// other processes can change the file.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    use nix::errno::Errno;
    use nix::sys::uio::pwrite;

    use super::super::platform::empty;

    /// Checks that a received descriptor is a regular file. This system cannot seal the size of a
    /// file, so a file that another process shortens is found when it is read.
    pub(in super::super) fn check_received(fd: BorrowedFd<'_>) -> io::Result<()> {
        let mode = nix::sys::stat::fstat(fd)?.st_mode;
        if mode & libc::S_IFMT == libc::S_IFREG {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
        }
    }

    pub(super) struct SegmentMemory {
        fd: OwnedFd,
        copy: Vec<u8>,
    }

    impl SegmentMemory {
        pub(super) fn new(name: &str, capacity: usize) -> io::Result<SegmentMemory> {
            Ok(SegmentMemory { fd: empty(name)?, copy: vec![0; capacity] })
        }

        /// Writes the bytes at the offset. The caller has checked that the bytes fit.
        pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
            let end = offset + bytes.len();
            self.copy
                .get_mut(offset..end)
                .ok_or(io::ErrorKind::InvalidInput)?
                .copy_from_slice(bytes);
            let mut written = offset;
            while let Some(rest) = self.copy.get(written..end).filter(|rest| !rest.is_empty()) {
                match pwrite(&self.fd, rest, written as libc::off_t) {
                    Ok(more) => written += more,
                    Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Ok(())
        }

        /// Returns the first `length` bytes. The caller has checked that `length` is within the
        /// capacity.
        pub(super) fn bytes(&self, length: usize) -> &[u8] {
            self.copy.get(..length).unwrap_or(&self.copy)
        }

        pub(super) fn fd(&self) -> BorrowedFd<'_> {
            self.fd.as_fd()
        }
    }
}

/// A memory segment that is a mapping of a sealed memory file.
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::ffi::c_void;
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
    use std::ptr::NonNull;

    use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
    use nix::unistd::ftruncate;

    use super::super::platform::empty;

    pub(super) struct SegmentMemory {
        fd: OwnedFd,
        start: NonNull<u8>,
        capacity: usize,
        /// The offset up to which memory has been allocated.
        allocated: usize,
    }

    // SAFETY: the mapping belongs to this value alone; it is written only through an exclusive
    // borrow.
    unsafe impl Send for SegmentMemory {}
    // SAFETY: as above; a shared borrow only reads.
    unsafe impl Sync for SegmentMemory {}

    impl SegmentMemory {
        pub(super) fn new(name: &str, capacity: usize) -> io::Result<SegmentMemory> {
            let fd = empty(name)?;
            let length =
                libc::off_t::try_from(capacity).map_err(|_| io::ErrorKind::InvalidInput)?;
            ftruncate(&fd, length)?;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let (null, number) = (std::ptr::null_mut(), fd.as_raw_fd());
            // SAFETY: without a requested address mmap places the mapping in unused address space.
            let start = unsafe { libc::mmap(null, capacity, access, libc::MAP_SHARED, number, 0) };
            let start = match NonNull::new(start) {
                Some(start) if start.as_ptr() != libc::MAP_FAILED => start.cast(),
                _ => return Err(io::Error::last_os_error()),
            };
            let memory = SegmentMemory { fd, start, capacity, allocated: 0 };
            // From now on only this mapping can write, and no process can truncate the file.
            let seals = SealFlag::F_SEAL_SHRINK
                | SealFlag::F_SEAL_GROW
                | SealFlag::F_SEAL_FUTURE_WRITE
                | SealFlag::F_SEAL_SEAL;
            fcntl(&memory.fd, FcntlArg::F_ADD_SEALS(seals))?;
            Ok(memory)
        }

        /// Writes the bytes at the offset. The caller has checked that the bytes fit.
        pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
            let end = offset + bytes.len();
            if end > self.allocated {
                self.allocate(end)?;
                self.allocated = end;
            }
            self.all()
                .get_mut(offset..end)
                .ok_or(io::ErrorKind::InvalidInput)?
                .copy_from_slice(bytes);
            Ok(())
        }

        /// Allocates the file's memory up to `end`. Without this allocation, an access to the
        /// mapping raises `SIGBUS` if the system is out of memory.
        ///
        /// After the allocation, this method maps all new pages with one call if there are several,
        /// which is cheaper than a page fault for each page. Linux before 5.14 does not support
        /// this call and maps each page on its first access.
        fn allocate(&mut self, end: usize) -> io::Result<()> {
            let page = 4096;
            let begin = self.allocated / page * page;
            let range = (libc::off_t::try_from(begin), libc::off_t::try_from(end - begin));
            let (Ok(at), Ok(length)) = range else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            fallocate(&self.fd, FallocateFlags::empty(), at, length)?;
            if end - begin > page
                && let Some(first) = self.all().get_mut(begin..end)
            {
                let first: *mut c_void = first.as_mut_ptr().cast();
                // SAFETY: the range is within this mapping; its contents are not changed. If pages
                // are larger than 4096 bytes, the range might not start on a page boundary. The
                // call then fails with EINVAL, and the error is ignored.
                let _ = unsafe { libc::madvise(first, end - begin, libc::MADV_POPULATE_WRITE) };
            }
            Ok(())
        }

        fn all(&mut self) -> &mut [u8] {
            // SAFETY: the mapping is `capacity` bytes long and lives as long as this value, which
            // is borrowed exclusively; no other code writes to it.
            unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.capacity) }
        }

        /// Returns the first `length` bytes. The caller has checked that `length` is within the
        /// capacity.
        pub(super) fn bytes(&self, length: usize) -> &[u8] {
            let length = length.min(self.capacity);
            // SAFETY: the mapping has at least this length and lives as long as this value; it is
            // not written while it is borrowed, because only this value can write to it.
            unsafe { std::slice::from_raw_parts(self.start.as_ptr(), length) }
        }

        pub(super) fn fd(&self) -> BorrowedFd<'_> {
            self.fd.as_fd()
        }
    }

    /// Checks that a received descriptor is a memory file whose size no process can change. Does
    /// not access the file system of the descriptor, which could take long.
    pub(in super::super) fn check_received(fd: BorrowedFd<'_>) -> io::Result<()> {
        let seals = SealFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GET_SEALS)?);
        if seals.contains(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW) {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "its size is not sealed"))
        }
    }

    impl Drop for SegmentMemory {
        fn drop(&mut self) {
            // SAFETY: the mapping starts at `start` and is `capacity` bytes long, and no references
            // into it exist any more.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.capacity) };
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_file_whose_size_can_change_is_refused() {
            let open = empty("test").expect("created");
            ftruncate(&open, 100).expect("the size is set");
            assert!(check_received(open.as_fd()).is_err());
            fcntl(&open, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).expect("sealed");
            assert!(check_received(open.as_fd()).is_err());
            fcntl(&open, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW)).expect("sealed");
            assert!(check_received(open.as_fd()).is_ok());
            let disk = std::fs::File::open("/proc/self/exe").expect("opened");
            assert!(check_received(disk.as_fd()).is_err());
        }

        #[test]
        fn no_other_writer_can_change_or_truncate_a_segment() {
            let mut memory = SegmentMemory::new("test", 8192).expect("created");
            memory.write(0, b"data").expect("written");
            let refused = nix::unistd::write(memory.fd(), b"other").expect_err("refused");
            assert_eq!(refused, nix::errno::Errno::EPERM);
            assert!(ftruncate(memory.fd(), 0).is_err());
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let (null, number) = (std::ptr::null_mut(), memory.fd.as_raw_fd());
            // SAFETY: without a requested address mmap places the mapping in unused address space.
            let again = unsafe { libc::mmap(null, 8192, access, libc::MAP_SHARED, number, 0) };
            assert_eq!(again, libc::MAP_FAILED);
            memory.write(4, b" again").expect("the mapping is still writable");
            assert_eq!(memory.bytes(10), b"data again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_all;
    use super::*;

    #[test]
    fn written_data_is_read_through_the_descriptor_and_can_be_overwritten() {
        let mut segment = MemorySegment::new("test", 200_000).expect("created");
        segment.write(0, &[1; 150_000]).expect("written");
        segment.write(100_000, &[2; 100_000]).expect("written");
        let read = read_all(&segment, 200_000).expect("read");
        assert!(read[..100_000].iter().all(|byte| *byte == 1));
        assert!(read[100_000..].iter().all(|byte| *byte == 2));
        assert!(segment.bytes(200_000) == read);
        segment.write(0, b"again").expect("written");
        assert!(read_all(&segment, 200_000).expect("read").starts_with(b"again\x01"));
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
