//! The interface to systemd, or to another service manager that understands sd_notify(3): the
//! socket for notifications, inherited descriptors, and the descriptor store.

#[cfg(target_os = "linux")]
#[path = "systemd/abstract_address/linux.rs"]
mod abstract_address;
#[cfg(not(target_os = "linux"))]
#[path = "systemd/abstract_address/other.rs"]
mod abstract_address;
mod fd_store;
mod inherited;

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::error::ServiceError;
use crate::service_manager::ServiceManager;

pub use fd_store::{FdStoreResult, RemoveFd, StoreFd};
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use inherited::fd_names;
pub use inherited::{InheritedFd, inherited_fd_numbers, inherited_fds};

/// Checks the environment variables that systemd sets. Call this function first, so that an invalid
/// variable is detected before the program has started anything. Variables that are not set are not
/// an error.
///
/// # Errors
///
/// [`ServiceError::Environment`] if `NOTIFY_SOCKET`, `WATCHDOG_USEC` or `WATCHDOG_PID` has an
/// invalid value, and [`ServiceError::System`] if no socket can be created.
pub fn check_environment() -> Result<(), ServiceError> {
    ServiceManager::from_env().map(drop)
}

/// The socket for notifications to systemd.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    address: UnixAddr,
}

impl NotifySocket {
    /// Opens a socket for notifications to the address in `NOTIFY_SOCKET`. Returns `None` if the
    /// variable is not set or is empty.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Environment`] if the address is neither a valid absolute path nor a valid
    /// abstract address, and [`ServiceError::System`] if no socket can be created.
    pub fn from_env() -> Result<Option<NotifySocket>, ServiceError> {
        match std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) {
            None => Ok(None),
            Some(address) => NotifySocket::open(&address).map(Some),
        }
    }

    /// Opens a socket for notifications to `address`: an absolute path, or `@` and the name of an
    /// abstract socket.
    ///
    /// # Errors
    ///
    /// As [`from_env`](NotifySocket::from_env).
    pub fn open(address: &OsStr) -> Result<NotifySocket, ServiceError> {
        let invalid = |reason: String| {
            ServiceError::environment("NOTIFY_SOCKET", &address.to_string_lossy(), &reason)
        };
        let unix = match address.as_bytes() {
            [b'@', name @ ..] => abstract_address::new(name),
            [b'/', ..] => UnixAddr::new(address).map_err(|error| error.to_string()),
            _ => Err("neither an absolute path nor an abstract address (@NAME)".to_owned()),
        };
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let failed =
            |source| ServiceError::System { action: "open the notification socket", source };
        Ok(NotifySocket { socket: socket.map_err(failed)?, address: unix.map_err(invalid)? })
    }

    /// Sends lines of `NAME=value`.
    ///
    /// # Errors
    ///
    /// The errors of sendmsg(2); `WouldBlock` if systemd's receive queue is full.
    pub fn send(&self, lines: &str) -> io::Result<()> {
        self.send_with_fds(lines, &[])
    }

    /// Sends lines of `NAME=value` together with descriptors.
    ///
    /// # Errors
    ///
    /// As [`send`](NotifySocket::send).
    pub fn send_with_fds(&self, lines: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let descriptors: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let rights = if descriptors.is_empty() { &[] } else { &rights[..] };
        let bytes = [IoSlice::new(lines.as_bytes())];
        let socket = self.socket.as_fd().as_raw_fd();
        sendmsg(socket, &bytes, rights, MsgFlags::empty(), Some(&self.address))?;
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
