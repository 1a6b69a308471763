use std::ffi::OsString;
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use nix::sys::socket::{ControlMessageOwned, recvmsg};

use super::*;

fn received(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let length = socket.recv(&mut bytes).expect("a notification arrives");
    String::from_utf8(bytes[..length].to_vec()).expect("valid UTF-8")
}

#[test]
fn a_notification_is_sent_to_a_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    NotifySocket::open(path.as_os_str()).unwrap().send("READY=1\n").unwrap();
    assert_eq!(received(&manager), "READY=1\n");
}

#[test]
fn a_notification_is_sent_to_an_abstract_address() {
    let name = format!("daemon-service-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    let address = OsString::from(format!("@{name}"));
    NotifySocket::open(&address).unwrap().send("STOPPING=1\n").unwrap();
    assert_eq!(received(&manager), "STOPPING=1\n");
}

#[test]
fn a_descriptor_is_sent_with_a_notification() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let (kept, other) = UnixDatagram::pair().unwrap();
    let socket = NotifySocket::open(path.as_os_str()).unwrap();
    socket.send_with_fds("FDSTORE=1\nFDNAME=pair\n", &[kept.as_fd()]).unwrap();
    let mut bytes = [0; 64];
    let mut room = nix::cmsg_space!([RawFd; 1]);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg::<()>(
        manager.as_raw_fd(),
        &mut buffers,
        Some(&mut room),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )
    .unwrap();
    let descriptors: Vec<RawFd> = received
        .cmsgs()
        .unwrap()
        .flat_map(|message| match message {
            ControlMessageOwned::ScmRights(descriptors) => descriptors,
            _ => Vec::new(),
        })
        .collect();
    let [descriptor] = descriptors[..] else { panic!("not one descriptor: {descriptors:?}") };
    // In /proc, both descriptors must be links to the same socket.
    let link = |fd: RawFd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    assert_eq!(link(descriptor), link(kept.as_raw_fd()));
    drop(OwnedFd::from(other));
}

#[test]
fn an_invalid_address_is_an_error() {
    for address in ["notify", "vsock:1:2"] {
        let error = NotifySocket::open(OsStr::new(address)).unwrap_err().to_string();
        assert!(error.starts_with("invalid environment variable NOTIFY_SOCKET="), "{error}");
    }
    assert!(NotifySocket::open(OsStr::new(&format!("/{}", "a".repeat(200)))).is_err());
}

#[test]
fn a_notification_to_a_missing_socket_is_an_error() {
    let socket = NotifySocket::open(OsStr::new("/nowhere/at/all")).unwrap();
    assert!(socket.send("READY=1\n").is_err());
}
