//! Open descriptors by `/dev/fd`. On FreeBSD it shows the first three only, unless fdescfs is
//! mounted.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};

pub(super) fn list() -> io::Result<Vec<(RawFd, String)>> {
    let entries: Vec<_> = fs::read_dir("/dev/fd")?.collect::<io::Result<_>>()?;
    let fds = entries.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(fds.filter(|fd| is_open(*fd)).map(|fd| (fd, String::new())).collect())
}

/// Leaves out the descriptor that the directory was read by, which is closed now.
fn is_open(fd: RawFd) -> bool {
    if fd < 0 {
        return false;
    }
    // SAFETY: the number is not -1, and is only asked about: F_GETFD of a closed one is an error.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(fd, FcntlArg::F_GETFD).is_ok()
}
