//! Shared memory as an anonymous mapping, mmap(2).

use std::ffi::c_void;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use super::map;

/// Maps zeroed memory that can be written to. There is no file.
pub(super) fn map_anonymous(length: usize) -> io::Result<(NonNull<c_void>, Option<OwnedFd>)> {
    Ok((map(length, libc::MAP_SHARED | libc::MAP_ANON, -1)?, None))
}
