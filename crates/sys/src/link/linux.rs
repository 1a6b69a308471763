//! Flags of sendmsg(2) and recvmsg(2) that Linux has: no signal, and closed by an exec from birth.

use std::io;
use std::os::fd::OwnedFd;

use libc::c_int;

pub(super) const SEND: c_int = libc::MSG_NOSIGNAL;
pub(super) const RECEIVE: c_int = libc::MSG_CMSG_CLOEXEC;

#[expect(clippy::unnecessary_wraps, reason = "the same signature as elsewhere")]
pub(super) fn close_on_exec(_: &OwnedFd) -> io::Result<()> {
    Ok(())
}
