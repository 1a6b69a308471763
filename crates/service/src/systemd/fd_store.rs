//! The descriptor store of systemd, which keeps descriptors while the service does not run.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use actix::{Context, Handler, Message};

use crate::actor::ServiceActor;

/// Stores a duplicate of a descriptor in systemd's descriptor store (`FDSTORE=1`).
///
/// systemd passes the stored descriptor to the service at its next start: see
/// [`inherited_fds`](super::inherited_fds). If the descriptor is a listener, connections wait in
/// its queue until the service has started again. systemd stores the descriptor only if
/// `FileDescriptorStoreMax=` allows it.
#[derive(Message, Debug)]
#[rtype(result = "io::Result<FdStoreResult>")]
pub struct StoreFd {
    /// The name of the stored descriptor: 1 to 255 printable ASCII characters, without a colon.
    pub name: String,
    /// The descriptor.
    pub fd: OwnedFd,
}

/// Removes the descriptors with this name from systemd's descriptor store (`FDSTOREREMOVE=1`).
#[derive(Message, Debug)]
#[rtype(result = "io::Result<FdStoreResult>")]
pub struct RemoveFd(pub String);

/// The result of [`StoreFd`] and [`RemoveFd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FdStoreResult {
    /// The request was sent to systemd, which does not confirm such requests.
    Sent,
    /// Nothing was sent, because `NOTIFY_SOCKET` is not set.
    NoServiceManager,
}

/// Checks a name against the rules of sd_notify(3).
fn check_name(name: &str) -> io::Result<&str> {
    let is_valid = |letter: char| letter.is_ascii() && !letter.is_ascii_control() && letter != ':';
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_valid) {
        let message = format!(
            "cannot use {name:?} as the name of a stored descriptor: \
             it must be 1 to 255 printable ASCII characters without a colon"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(name)
}

impl Handler<StoreFd> for ServiceActor {
    type Result = io::Result<FdStoreResult>;

    fn handle(&mut self, store: StoreFd, _ctx: &mut Context<Self>) -> Self::Result {
        let lines = format!("FDSTORE=1\nFDNAME={}\n", check_name(&store.name)?);
        let Some(socket) = self.service_manager.socket() else {
            return Ok(FdStoreResult::NoServiceManager);
        };
        socket.send_with_fds(&lines, &[store.fd.as_fd()]).map(|()| FdStoreResult::Sent)
    }
}

impl Handler<RemoveFd> for ServiceActor {
    type Result = io::Result<FdStoreResult>;

    fn handle(&mut self, RemoveFd(name): RemoveFd, _ctx: &mut Context<Self>) -> Self::Result {
        let lines = format!("FDSTOREREMOVE=1\nFDNAME={}\n", check_name(&name)?);
        let Some(socket) = self.service_manager.socket() else {
            return Ok(FdStoreResult::NoServiceManager);
        };
        socket.send(&lines).map(|()| FdStoreResult::Sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_systemd_rejects_are_refused() {
        assert!(check_name("http").is_ok());
        for invalid in ["", "a:b", "a\nb", "ä", &"a".repeat(256)] {
            assert!(check_name(invalid).is_err(), "{invalid:?}");
        }
    }
}
