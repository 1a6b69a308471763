//! A supervisor's socket: it takes down what it is told.

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

/// The supervisor's end.
pub(super) struct Supervisor {
    socket: UnixDatagram,
    address: OsString,
    told: Vec<Told>,
}

/// One datagram.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// In the order in which they were told.
    pub(super) names: Vec<String>,
    values: BTreeMap<String, String>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Told {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn status(&self) -> &str {
        self.get("STATUS").unwrap_or_default()
    }
}

impl Supervisor {
    pub(super) fn at(path: &Path) -> Self {
        Supervisor::with(UnixDatagram::bind(path).unwrap(), path.into())
    }

    pub(super) fn named(name: &str) -> Self {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        Supervisor::with(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into())
    }

    fn with(socket: UnixDatagram, address: OsString) -> Self {
        socket.set_nonblocking(true).unwrap();
        Supervisor { socket, address, told: Vec::new() }
    }

    /// What `NOTIFY_SOCKET` is to be.
    pub(super) fn address(&self) -> OsString {
        self.address.clone()
    }

    /// Takes down what has come, and shows all of it.
    pub(super) fn told(&mut self) -> &[Told] {
        while let Some(told) = self.take() {
            self.told.push(told);
        }
        &self.told
    }

    fn take(&self) -> Option<Told> {
        let mut bytes = [0; 4096];
        let mut room = nix::cmsg_space!([RawFd; 8]);
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let own = self.socket.as_raw_fd();
        let received = match recvmsg::<()>(own, &mut buffers, Some(&mut room), MsgFlags::empty()) {
            Ok(received) => received,
            Err(error) if std::io::Error::from(error).kind() == ErrorKind::WouldBlock => {
                return None;
            }
            Err(error) => panic!("the socket is broken: {error}"),
        };
        let mut told = Told::default();
        for message in received.cmsgs().unwrap() {
            if let ControlMessageOwned::ScmRights(descriptors) = message {
                // They are this process's, and are not close-on-exec: as if they were inherited.
                for descriptor in descriptors {
                    told.descriptors.extend(take_inherited(descriptor, 1).unwrap());
                }
            }
        }
        let length = received.bytes;
        for line in String::from_utf8(bytes[..length].to_vec()).unwrap().lines() {
            let (name, value) = line.split_once('=').expect("a variable a line");
            told.names.push(name.to_owned());
            told.values.insert(name.to_owned(), value.to_owned());
        }
        Some(told)
    }

    /// Waits until it was told this much, and returns which one it was.
    #[track_caller]
    pub(super) fn until(&mut self, what: &str, mut is_it: impl FnMut(&Told) -> bool) -> usize {
        until(what, || {
            self.told();
            self.told.iter().position(&mut is_it)
        })
    }

    /// Waits until a variable was told after the first so many datagrams.
    #[track_caller]
    pub(super) fn until_after(&mut self, after: usize, name: &str, value: Option<&str>) -> usize {
        until(&format!("{name} {value:?} is told after {after}"), || {
            let told = self.told().iter().enumerate().skip(after);
            let mut fitting = told.filter(|(_place, told)| match value {
                None => told.get(name).is_some(),
                Some(value) => told.get(name).is_some_and(|said| said.starts_with(value)),
            });
            fitting.next().map(|(place, _told)| place)
        })
    }

    /// How often a variable was told.
    pub(super) fn count(&mut self, name: &str) -> usize {
        self.told().iter().filter(|told| told.get(name).is_some()).count()
    }
}
