//! A supervisor that speaks sd_notify(3): the socket that it is told by, and the descriptors that it
//! hands over and keeps.

mod descriptors;
#[cfg(target_os = "linux")]
#[path = "supervisor/names/linux.rs"]
mod names;
#[cfg(not(target_os = "linux"))]
#[path = "supervisor/names/plain.rs"]
mod names;
mod store;

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::error::ServiceError;
use crate::master::Master;

pub use descriptors::{Inherited, inherited};
pub use store::{Forget, Kept, Store};

/// Looks whether what a supervisor has set in the environment makes sense, before anything is begun that
/// would have to be ended again. No supervisor is no error.
///
/// # Errors
///
/// [`ServiceError::Environment`] if `NOTIFY_SOCKET` or `WATCHDOG_USEC` make none, and
/// [`ServiceError::System`] if no socket can be made.
pub fn check() -> Result<(), ServiceError> {
    Master::find().map(drop)
}

/// The socket by which a supervisor is told things.
#[derive(Debug)]
pub struct Socket {
    own: UnixDatagram,
    address: UnixAddr,
}

impl Socket {
    /// The one that `NOTIFY_SOCKET` names; none if there is no such variable.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Environment`] if its address is neither a path nor an abstract one, and
    /// [`ServiceError::System`] if no socket can be made.
    pub fn of_the_environment() -> Result<Option<Socket>, ServiceError> {
        match std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) {
            None => Ok(None),
            Some(address) => Socket::to(&address).map(Some),
        }
    }

    /// A socket to this address: a path from the root, or `@` and an abstract name.
    ///
    /// # Errors
    ///
    /// As [`of_the_environment`](Socket::of_the_environment).
    pub fn to(address: &OsStr) -> Result<Socket, ServiceError> {
        let unheeded = |why: String| ServiceError::Environment {
            variable: "NOTIFY_SOCKET",
            value: OsString::from(address).to_string_lossy().into_owned(),
            why,
        };
        let unix = match address.as_bytes() {
            [b'@', name @ ..] => names::address(name),
            [b'/', ..] => UnixAddr::new(address).map_err(|error| error.to_string()),
            _ => Err("it is neither a path from the root nor an abstract name".to_owned()),
        };
        let own = UnixDatagram::unbound().and_then(|own| {
            own.set_nonblocking(true)?;
            Ok(own)
        });
        let failed = |source| ServiceError::System { act: "open a socket to notify", source };
        Ok(Socket { own: own.map_err(failed)?, address: unix.map_err(unheeded)? })
    }

    /// Tells lines of `NAME=value`.
    ///
    /// # Errors
    ///
    /// What sendmsg(2) says; `WouldBlock` if the supervisor's queue is full.
    pub fn tell(&self, lines: &str) -> io::Result<()> {
        self.tell_with(lines, &[])
    }

    /// Tells lines, and sends descriptors with them.
    ///
    /// # Errors
    ///
    /// As [`tell`](Socket::tell).
    pub fn tell_with(&self, lines: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let descriptors: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let rights = if descriptors.is_empty() { &[] } else { &rights[..] };
        let bytes = [IoSlice::new(lines.as_bytes())];
        let own = self.own.as_fd().as_raw_fd();
        sendmsg(own, &bytes, rights, MsgFlags::empty(), Some(&self.address))?;
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
