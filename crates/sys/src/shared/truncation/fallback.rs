//! Extends a file.

use std::os::fd::RawFd;

#[expect(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "the types differ between systems"
)]
pub(super) fn identity(found: &libc::stat) -> (u64, u64) {
    (u64::try_from(found.st_dev).unwrap_or(0), u64::try_from(found.st_ino).unwrap_or(0))
}

pub(super) fn extend(fd: RawFd, length: usize) -> bool {
    let Ok(length) = libc::off_t::try_from(length) else {
        return false;
    };
    // SAFETY: ftruncate takes numbers only. The caller has checked that the file is shorter.
    unsafe { libc::ftruncate(fd, length) == 0 }
}
