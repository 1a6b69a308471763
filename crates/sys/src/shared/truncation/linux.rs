//! Extends a file and allocates its blocks, so that a full disk does not raise `SIGBUS` again.

use std::os::fd::RawFd;

pub(super) fn identity(found: &libc::stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

pub(super) fn extend(fd: RawFd, length: usize) -> bool {
    let Ok(length) = libc::off_t::try_from(length) else {
        return false;
    };
    // SAFETY: fallocate takes numbers only. It enlarges the file or changes nothing.
    unsafe { libc::fallocate(fd, 0, 0, length) == 0 }
}
