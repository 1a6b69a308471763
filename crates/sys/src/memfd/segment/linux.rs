//! An area as a mapping of a sealed memory file.

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
    /// Up to here its pages are there.
    touched: usize,
}

// SAFETY: the mapping is this value's alone; it is written only by who has it exclusively.
unsafe impl Send for SegmentMemory {}
// SAFETY: as above; who shares it only reads.
unsafe impl Sync for SegmentMemory {}

impl SegmentMemory {
    pub(super) fn new(name: &str, capacity: usize) -> io::Result<SegmentMemory> {
        let fd = platform::empty(name)?;
        let length = libc::off_t::try_from(capacity).map_err(|_| io::ErrorKind::InvalidInput)?;
        ftruncate(&fd, length)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let (null, number) = (std::ptr::null_mut(), fd.as_raw_fd());
        // SAFETY: with no address asked for, mmap lays the mapping where nothing is.
        let start = unsafe { libc::mmap(null, capacity, access, libc::MAP_SHARED, number, 0) };
        let start = match NonNull::new(start) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED => start.cast(),
            _ => return Err(io::Error::last_os_error()),
        };
        let memory = SegmentMemory { fd, start, capacity, touched: 0 };
        // From now on this mapping alone writes, and nobody can shorten the file under it.
        let seals = SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_FUTURE_WRITE
            | SealFlag::F_SEAL_SEAL;
        fcntl(&memory.fd, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(memory)
    }

    /// Writes within the capacity, as the caller has seen to.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        let end = at + bytes.len();
        if end > self.touched {
            self.provide(end)?;
            self.touched = end;
        }
        self.all().get_mut(at..end).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Has the memory allotted that is written for the first time: for want of it a touch would be a
    /// SIGBUS. Then has its pages mapped: all at once is cheaper than one by one. Where the system does
    /// not know how (before Linux 5.14), it maps them as they are touched.
    fn provide(&mut self, end: usize) -> io::Result<()> {
        let page = 4096;
        let begin = self.touched / page * page;
        let range = (libc::off_t::try_from(begin), libc::off_t::try_from(end - begin));
        let (Ok(at), Ok(length)) = range else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        fallocate(&self.fd, FallocateFlags::empty(), at, length)?;
        if end - begin > page
            && let Some(first) = self.all().get_mut(begin..end)
        {
            let first: *mut c_void = first.as_mut_ptr().cast();
            // SAFETY: the range is of this mapping, from a page's begin on; its contents stay.
            let _ = unsafe { libc::madvise(first, end - begin, libc::MADV_POPULATE_WRITE) };
        }
        Ok(())
    }

    fn all(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is that long and lives as long as this value, which is borrowed
        // exclusively; nobody else writes to it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.capacity) }
    }

    /// Its first bytes, within the capacity, as the caller has seen to.
    pub(super) fn bytes(&self, length: usize) -> &[u8] {
        let length = length.min(self.capacity);
        // SAFETY: the mapping is longer and lives as long as this value; nobody writes to it while
        // it is borrowed, since only this value can.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), length) }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SegmentMemory {
    fn drop(&mut self) {
        // SAFETY: it is a mapping of that length, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.capacity) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_can_write_to_it_or_shorten_it() {
        let mut memory = SegmentMemory::new("test", 8192).expect("room");
        memory.write(0, b"said").expect("room");
        let refused = nix::unistd::write(memory.fd(), b"unsaid").expect_err("refused");
        assert_eq!(refused, nix::errno::Errno::EPERM);
        assert!(ftruncate(memory.fd(), 0).is_err());
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let (null, number) = (std::ptr::null_mut(), memory.fd.as_raw_fd());
        // SAFETY: with no address asked for, mmap lays the mapping where nothing is.
        let again = unsafe { libc::mmap(null, 8192, access, libc::MAP_SHARED, number, 0) };
        assert_eq!(again, libc::MAP_FAILED);
        memory.write(4, b" again").expect("its own mapping writes on");
        assert_eq!(memory.bytes(10), b"said again");
    }
}
