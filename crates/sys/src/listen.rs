//! What a listening socket needs besides what std gives it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::{Error, Result};

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
#[path = "listen/flags.rs"]
mod platform;
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
#[path = "listen/fallback.rs"]
mod platform;

/// Shrinks the queue of a listening socket to the least the system has, so that new connections
/// are refused, or tried again by their client, instead of waiting for nobody.
///
/// Those that wait in it already stay and can be accepted. It is the first step of a stop that
/// drops no client: shrink, take what is there, close.
///
/// # Errors
///
/// If the descriptor is no socket that listens.
pub fn shrink_backlog(listener: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: listen takes any number for a descriptor and touches no memory of ours; the borrow
    // keeps the descriptor open.
    match unsafe { libc::listen(listener.as_raw_fd(), 0) } {
        0 => Ok(()),
        _ => Err(Error::last(format!("shrink the backlog of descriptor {}", listener.as_raw_fd()))),
    }
}

/// Makes calls on the descriptor return at once (`true`), or wait (`false`).
///
/// The setting belongs to the open file, not to the descriptor: every process that inherited it
/// sees the change.
///
/// # Errors
///
/// None that fcntl(2) names for an open descriptor.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    let action = || format!("set descriptor {} nonblocking", fd.as_raw_fd());
    let flags = fcntl(fd, FcntlArg::F_GETFL).map_err(|errno| Error::os(action(), errno))?;
    let mut flags = OFlag::from_bits_retain(flags);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags))
        .map_err(|errno| Error::os(action(), io::Error::from(errno)))?;
    Ok(())
}

/// Accepts one connection that waits, without waiting for one: `None` when there is none.
///
/// The new descriptor is nonblocking and closed by an exec.
///
/// # Errors
///
/// accept4(2)'s own, such as `EMFILE`. A connection that its client has given up meanwhile
/// (`ECONNABORTED`) and the like are none: the next one is tried.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    loop {
        match platform::accept(listener) {
            Ok(connection) => return Ok(Some(connection)),
            Err(Errno::EAGAIN) => return Ok(None),
            // Errors of the connection, not of the listener (accept(2), "Error handling").
            Err(
                Errno::EINTR
                | Errno::ECONNABORTED
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::ENETDOWN
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::EOPNOTSUPP,
            ) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
