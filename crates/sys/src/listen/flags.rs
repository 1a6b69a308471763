//! Accepts a connection with accept4(2), which sets the flags `O_NONBLOCK` and `FD_CLOEXEC`
//! atomically.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, accept4};

pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let raw = accept4(listener.as_raw_fd(), flags)?;
    // SAFETY: accept4 has just made this descriptor, and no other code owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
