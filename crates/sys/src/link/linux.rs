//! Flags for send(2), sendmsg(2) and recvmsg(2) on Linux: no call waits, sending raises no
//! `SIGPIPE`, and received descriptors are close-on-exec.

use std::io;
use std::os::fd::OwnedFd;

use libc::c_int;

pub(super) const SEND: c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
pub(super) const RECEIVE: c_int = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;

#[expect(clippy::unnecessary_wraps, reason = "the same signature as on other systems")]
pub(super) fn close_on_exec(_: &OwnedFd) -> io::Result<()> {
    Ok(())
}
