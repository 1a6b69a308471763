//! Operations on listening sockets that std does not provide.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{SockaddrStorage, bind, getsockname};

use crate::error::{Error, Result};

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
    set_backlog(listener, 0, "reduce the backlog of")
}

/// The address of a listener.
#[derive(Debug, Clone)]
pub struct ListenAddress(SockaddrStorage);

impl ListenAddress {
    /// Returns the address that a socket is bound to.
    ///
    /// # Errors
    ///
    /// If the descriptor is not a socket.
    pub fn of(listener: BorrowedFd<'_>) -> Result<ListenAddress> {
        let action = || format!("read the address of descriptor {}", listener.as_raw_fd());
        getsockname(listener.as_raw_fd())
            .map(ListenAddress)
            .map_err(|errno| Error::os(action(), errno))
    }
}

/// Makes a bound socket listen again, for example after another process that shares the socket has
/// called shutdown(2) on it. Then accept(2) fails with `EINVAL` in all processes until the socket
/// listens again.
///
/// The socket listens on `address` again, with the largest backlog that the system permits. A Unix
/// socket that was shut down stays so.
///
/// # Errors
///
/// If the descriptor is not a socket that can listen.
pub fn listen_again(listener: BorrowedFd<'_>, address: &ListenAddress) -> Result<()> {
    // A socket is still bound, unless the system had chosen its port.
    let _ = bind(listener.as_raw_fd(), &address.0);
    set_backlog(listener, libc::c_int::MAX, "listen again on")
}

fn set_backlog(listener: BorrowedFd<'_>, backlog: libc::c_int, action: &str) -> Result<()> {
    // SAFETY: listen accepts any number as a descriptor and touches no memory of ours; the borrow
    // keeps the descriptor open.
    match unsafe { libc::listen(listener.as_raw_fd(), backlog) } {
        0 => Ok(()),
        _ => Err(Error::last(format!("{action} descriptor {}", listener.as_raw_fd()))),
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
/// The listener is made nonblocking first if it is not: all processes that share it share this
/// flag, so another process may have changed it, and the call would then wait for a connection. The
/// new descriptor is nonblocking and close-on-exec.
///
/// # Errors
///
/// The errors of accept4(2), such as `EMFILE`. An error of a single connection, such as
/// `ECONNABORTED` if the client has aborted it, is not returned; the next connection is accepted
/// instead.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let flags = OFlag::from_bits_retain(fcntl(listener, FcntlArg::F_GETFL)?);
    if !flags.contains(OFlag::O_NONBLOCK) {
        fcntl(listener, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    loop {
        match platform::accept(listener) {
            Ok(connection) => return Ok(Some(connection)),
            // Only a blocking accept is interrupted: another process has changed the flags of the
            // listener. Let the caller handle the signal.
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            // Errors of the connection rather than the listener (accept(2), "Error handling").
            Err(
                Errno::ECONNABORTED
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

/// Accepts a connection with accept4(2), which sets the flags `O_NONBLOCK` and `FD_CLOEXEC`
/// atomically.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
mod platform {
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

    use nix::errno::Errno;
    use nix::sys::socket::{SockFlag, accept4};

    pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let raw = accept4(listener.as_raw_fd(), flags)?;
        // SAFETY: accept4 has just made this descriptor, and no other code owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(raw) })
    }
}

/// Accepts a connection with accept(2), and makes it close-on-exec and nonblocking afterwards.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
mod platform {
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
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn accept_does_not_wait_although_the_listener_was_made_blocking() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        set_nonblocking(listener.as_fd(), false).expect("changed");
        assert!(accept(listener.as_fd()).expect("no error").is_none());
    }

    #[test]
    fn a_listener_that_was_shut_down_listens_again_on_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let bound = ListenAddress::of(listener.as_fd()).expect("a socket");
        set_nonblocking(listener.as_fd(), true).expect("changed");
        let copy = listener.as_fd().try_clone_to_owned().expect("a copy");
        let _ = TcpStream::from(copy).shutdown(Shutdown::Both);
        let refused = accept(listener.as_fd()).expect_err("shut down");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        listen_again(listener.as_fd(), &bound).expect("listens");
        let _client = TcpStream::connect(address).expect("connected");
        assert!(accept(listener.as_fd()).expect("accepted").is_some());
    }
}
