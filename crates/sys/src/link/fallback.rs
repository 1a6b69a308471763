//! Flags for send(2), sendmsg(2) and recvmsg(2): no call waits. Close-on-exec is set after
//! recvmsg(2), and Rust's runtime already ignores `SIGPIPE`.

use std::io;
use std::os::fd::OwnedFd;

use libc::c_int;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

pub(super) const SEND: c_int = libc::MSG_DONTWAIT;
pub(super) const RECEIVE: c_int = libc::MSG_DONTWAIT;

pub(super) fn close_on_exec(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}
