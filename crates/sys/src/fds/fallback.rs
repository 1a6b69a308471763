//! Lists open descriptors with `/dev/fd`. On FreeBSD this directory contains only the first three
//! descriptors, unless fdescfs is mounted.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};

pub(crate) const LISTS_ALL: bool = false;

pub(super) fn list() -> io::Result<Vec<(RawFd, String)>> {
    // Keep only the names, because each entry keeps the directory open. After the names have been
    // read, the directory's own descriptor is closed.
    let names = fs::read_dir("/dev/fd")?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<io::Result<_>>()?;
    let fds = names.iter().filter_map(|name| name.to_str()?.parse().ok());
    Ok(fds.filter(|fd| is_open(*fd)).map(|fd| (fd, String::new())).collect())
}

/// Returns whether the descriptor is open. The names include the directory's own descriptor, which
/// is closed by now.
fn is_open(fd: RawFd) -> bool {
    if fd < 0 {
        return false;
    }
    // SAFETY: the number is not -1 and is only queried. F_GETFD returns an error for a closed
    // descriptor.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(fd, FcntlArg::F_GETFD).is_ok()
}
