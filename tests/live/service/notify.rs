//! The service manager's end of the notify socket, which records the notifications that it
//! receives.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{ErrorKind, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use daemon_sys::fds::take_inherited;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::harness::until;

/// The receiving end of a notify socket.
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    address: OsString,
    received: Vec<Notification>,
}

/// One datagram.
#[derive(Debug, Default)]
pub(super) struct Notification {
    /// The names of the variables, in the order of the datagram.
    pub(super) names: Vec<String>,
    values: BTreeMap<String, String>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Notification {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn status(&self) -> &str {
        self.get("STATUS").unwrap_or_default()
    }
}

impl NotifySocket {
    pub(super) fn bind(path: &Path) -> Self {
        NotifySocket::new(UnixDatagram::bind(path).unwrap(), path.into())
    }

    pub(super) fn bind_abstract(name: &str) -> Self {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        NotifySocket::new(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into())
    }

    fn new(socket: UnixDatagram, address: OsString) -> Self {
        socket.set_nonblocking(true).unwrap();
        NotifySocket { socket, address, received: Vec::new() }
    }

    /// Returns the value for `NOTIFY_SOCKET`.
    pub(super) fn address(&self) -> OsString {
        self.address.clone()
    }

    /// Fills the receive queue, so that the daemon cannot send.
    pub(super) fn fill(&self) {
        let stranger = UnixDatagram::unbound().unwrap();
        stranger.set_nonblocking(true).unwrap();
        while stranger.send_to(b"X_FILL=1\n", &self.address).is_ok() {}
    }

    /// Receives all pending notifications and returns all notifications so far.
    pub(super) fn received(&mut self) -> &[Notification] {
        while let Some(notification) = self.receive() {
            self.received.push(notification);
        }
        &self.received
    }

    fn receive(&self) -> Option<Notification> {
        let mut bytes = [0; 4096];
        let mut room = nix::cmsg_space!([RawFd; 8]);
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let own = self.socket.as_raw_fd();
        let datagram = match recvmsg::<()>(own, &mut buffers, Some(&mut room), MsgFlags::empty()) {
            Ok(received) => received,
            Err(error) if std::io::Error::from(error).kind() == ErrorKind::WouldBlock => {
                return None;
            }
            Err(error) => panic!("the socket is broken: {error}"),
        };
        let mut notification = Notification::default();
        for message in datagram.cmsgs().unwrap() {
            if let ControlMessageOwned::ScmRights(descriptors) = message {
                // Like inherited descriptors, these belong to this process and are not
                // close-on-exec.
                for descriptor in descriptors {
                    notification.descriptors.extend(take_inherited(descriptor, 1).unwrap());
                }
            }
        }
        let length = datagram.bytes;
        for line in String::from_utf8(bytes[..length].to_vec()).unwrap().lines() {
            let (name, value) = line.split_once('=').expect("one variable per line");
            notification.names.push(name.to_owned());
            notification.values.insert(name.to_owned(), value.to_owned());
        }
        Some(notification)
    }

    /// Waits for a notification that matches and returns its index.
    #[track_caller]
    pub(super) fn wait_for(
        &mut self,
        what: &str,
        mut matches: impl FnMut(&Notification) -> bool,
    ) -> usize {
        until(what, || {
            self.received();
            self.received.iter().position(&mut matches)
        })
    }

    /// Waits for a notification with this variable, at the index `after` or later, and returns its
    /// index. The value of the variable must start with `value`.
    #[track_caller]
    pub(super) fn wait_for_after(
        &mut self,
        after: usize,
        name: &str,
        value: Option<&str>,
    ) -> usize {
        until(&format!("{name} {value:?} is received at index {after} or later"), || {
            let later = self.received().iter().enumerate().skip(after);
            let mut matching = later.filter(|(_index, notification)| match value {
                None => notification.get(name).is_some(),
                Some(value) => notification.get(name).is_some_and(|known| known.starts_with(value)),
            });
            matching.next().map(|(index, _notification)| index)
        })
    }

    /// Returns the number of notifications with this variable.
    pub(super) fn count(&mut self, name: &str) -> usize {
        self.received().iter().filter(|notification| notification.get(name).is_some()).count()
    }
}
