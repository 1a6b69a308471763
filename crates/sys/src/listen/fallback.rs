//! Accepts a connection with accept(2), and makes it close-on-exec and nonblocking afterwards.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket;

pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let raw = socket::accept(listener.as_raw_fd())?;
    // SAFETY: accept has just made this descriptor, and no other code owns it.
    let connection = unsafe { OwnedFd::from_raw_fd(raw) };
    fcntl(connection.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    let flags = OFlag::from_bits_retain(fcntl(connection.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(connection.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(connection)
}
