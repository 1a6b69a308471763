//! A memory segment that consists of a file and a copy of its contents. The copy is needed because
//! other processes can change the file.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::uio::pwrite;

use super::super::platform;

/// Checks that a received descriptor is a regular file. This system cannot seal the size of a file,
/// so a file that another process shortens is found when it is read.
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
        Ok(SegmentMemory { fd: platform::empty(name)?, copy: vec![0; capacity] })
    }

    /// Writes the bytes at the offset. The caller has checked that the bytes fit.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len();
        self.copy.get_mut(offset..end).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(bytes);
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
