use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use nix::sys::socket::{ControlMessageOwned, recvmsg};

use super::*;

fn told(by: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let length = by.recv(&mut bytes).expect("told");
    String::from_utf8(bytes[..length].to_vec()).expect("a text")
}

#[test]
fn a_supervisor_is_told_at_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    Socket::to(path.as_os_str()).unwrap().tell("READY=1\n").unwrap();
    assert_eq!(told(&supervisor), "READY=1\n");
}

#[test]
fn a_supervisor_is_told_at_its_abstract_name() {
    let name = format!("daemon-service-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let supervisor = UnixDatagram::bind_addr(&address).unwrap();
    let address = OsString::from(format!("@{name}"));
    Socket::to(&address).unwrap().tell("STOPPING=1\n").unwrap();
    assert_eq!(told(&supervisor), "STOPPING=1\n");
}

#[test]
fn a_descriptor_comes_along() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    let (kept, other) = UnixDatagram::pair().unwrap();
    let socket = Socket::to(path.as_os_str()).unwrap();
    socket.tell_with("FDSTORE=1\nFDNAME=pair\n", &[kept.as_fd()]).unwrap();
    let mut bytes = [0; 64];
    let mut room = nix::cmsg_space!([RawFd; 1]);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg::<()>(
        supervisor.as_raw_fd(),
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
    let [descriptor] = descriptors[..] else { panic!("one descriptor: {descriptors:?}") };
    // By its own entry in /proc: it is the very socket that was sent.
    let link = |fd: RawFd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    assert_eq!(link(descriptor), link(kept.as_raw_fd()));
    drop(OwnedFd::from(other));
}

#[test]
fn an_address_that_is_none_is_refused() {
    for address in ["notify", "vsock:1:2"] {
        let refused = Socket::to(OsStr::new(address)).unwrap_err().to_string();
        assert!(refused.starts_with("cannot heed NOTIFY_SOCKET="), "{refused}");
    }
    assert!(Socket::to(OsStr::new(&format!("/{}", "a".repeat(200)))).is_err());
}

#[test]
fn a_supervisor_that_is_gone_is_an_error_and_no_more() {
    let socket = Socket::to(OsStr::new("/nowhere/at/all")).unwrap();
    assert!(socket.tell("READY=1\n").is_err());
}
