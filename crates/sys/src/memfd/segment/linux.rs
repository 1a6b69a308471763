//! A memory segment that is a mapping of a sealed memory file.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::unistd::ftruncate;

use super::super::platform;

pub(super) struct SegmentMemory {
    fd: OwnedFd,
    start: NonNull<u8>,
    capacity: usize,
    /// The offset up to which memory has been allocated.
    allocated: usize,
}

// SAFETY: the mapping belongs to this value alone; it is written only through an exclusive borrow.
unsafe impl Send for SegmentMemory {}
// SAFETY: as above; a shared borrow only reads.
unsafe impl Sync for SegmentMemory {}

impl SegmentMemory {
    pub(super) fn new(name: &str, capacity: usize) -> io::Result<SegmentMemory> {
        let fd = platform::empty(name)?;
        let length = libc::off_t::try_from(capacity).map_err(|_| io::ErrorKind::InvalidInput)?;
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
        self.all().get_mut(offset..end).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Allocates the file's memory up to `end`. Without this allocation, an access to the mapping
    /// raises `SIGBUS` if the system is out of memory.
    ///
    /// After the allocation, this method maps all new pages with one call if there are several,
    /// which is cheaper than a page fault for each page. Linux before 5.14 does not support this
    /// call and maps each page on its first access.
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
            // SAFETY: the range is within this mapping; its contents are not changed. If pages are
            // larger than 4096 bytes, the range might not start on a page boundary. The call then
            // fails with EINVAL, and the error is ignored.
            let _ = unsafe { libc::madvise(first, end - begin, libc::MADV_POPULATE_WRITE) };
        }
        Ok(())
    }

    fn all(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is `capacity` bytes long and lives as long as this value, which is
        // borrowed exclusively; no other code writes to it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.capacity) }
    }

    /// Returns the first `length` bytes. The caller has checked that `length` is within the
    /// capacity.
    pub(super) fn bytes(&self, length: usize) -> &[u8] {
        let length = length.min(self.capacity);
        // SAFETY: the mapping has at least this length and lives as long as this value; it is not
        // written while it is borrowed, because only this value can write to it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), length) }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Checks that a received descriptor is a memory file whose size no process can change. Does not
/// access the file system of the descriptor, which could take long.
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
        let open = platform::empty("test").expect("created");
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
