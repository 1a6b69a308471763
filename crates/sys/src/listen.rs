//! Operations on listening sockets that std does not provide.

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

/// Reduces the backlog of a listening socket to the system's minimum, so that new connections are
/// refused, or retried by the client, instead of waiting in the backlog.
///
/// Connections that are in the backlog already can still be accepted. To stop without dropping a
/// client, call this function first, then accept the remaining connections, and then close the
/// listener.
///
/// # Errors
///
/// If the descriptor is not a listening socket.
pub fn shrink_backlog(listener: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: listen accepts any number as a descriptor and touches no memory of ours; the borrow
    // keeps the descriptor open.
    match unsafe { libc::listen(listener.as_raw_fd(), 0) } {
        0 => Ok(()),
        _ => Err(Error::last(format!("reduce the backlog of descriptor {}", listener.as_raw_fd()))),
    }
}

/// Sets the descriptor nonblocking (`true`) or blocking (`false`).
///
/// The setting belongs to the open file description, so it changes for every process that inherited
/// the descriptor.
///
/// # Errors
///
/// fcntl(2) documents no error for an open descriptor.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    let mode = if on { "nonblocking" } else { "blocking" };
    let action = || format!("set descriptor {} {mode}", fd.as_raw_fd());
    let flags = fcntl(fd, FcntlArg::F_GETFL).map_err(|errno| Error::os(action(), errno))?;
    let mut flags = OFlag::from_bits_retain(flags);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags))
        .map_err(|errno| Error::os(action(), io::Error::from(errno)))?;
    Ok(())
}

/// Accepts one pending connection. Returns `None` if no connection is pending.
///
/// The listener must be nonblocking; otherwise the call waits for a connection. The new descriptor
/// is nonblocking and close-on-exec.
///
/// # Errors
///
/// The errors of accept4(2), such as `EMFILE`. An error of a single connection, such as
/// `ECONNABORTED` if the client has aborted it, is not returned; the next connection is accepted
/// instead.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    loop {
        match platform::accept(listener) {
            Ok(connection) => return Ok(Some(connection)),
            Err(Errno::EAGAIN) => return Ok(None),
            // Interruptions, and errors of the connection rather than the listener (accept(2),
            // "Error handling").
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
