//! Shared memory as a sealed memory file, memfd_create(2).

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

use super::map;

/// Maps zeroed memory that can be written to. Its file permits no further writable mapping.
pub(super) fn map_anonymous(length: usize) -> io::Result<(NonNull<c_void>, Option<OwnedFd>)> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = memfd_create(c"shared memory", flags)?;
    ftruncate(&file, libc::off_t::try_from(length).map_err(io::Error::other)?)?;
    let start = map(length, libc::MAP_SHARED, file.as_raw_fd())?;
    let future_write = SealFlag::from_bits_retain(libc::F_SEAL_FUTURE_WRITE);
    let fixed_size = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    // Linux before 5.1 has no F_SEAL_FUTURE_WRITE. The memory can then be made writable again.
    fcntl(&file, FcntlArg::F_ADD_SEALS(future_write | fixed_size))
        .or_else(|_old| fcntl(&file, FcntlArg::F_ADD_SEALS(fixed_size)))?;
    Ok((start, Some(file)))
}
