//! Tests listeners that the service manager passes to the daemon and stores for its next start.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{LineClient, Process, Signal, example, until};

use super::notify::NotifySocket;

/// A service that is started with a listener, as systemd starts it.
struct ActivatedService(Child);

impl ActivatedService {
    fn with(listener: OwnedFd, socket: &NotifySocket, log: &Path) -> Self {
        let handed =
            "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=echo exec \"$0\"";
        let child = Command::new("sh")
            .args(["-c", handed])
            .arg(example("service"))
            .env("NOTIFY_SOCKET", socket.address())
            .stdin(Stdio::from(listener))
            .stderr(std::fs::File::create(log).unwrap())
            .spawn();
        ActivatedService(child.unwrap())
    }

    #[track_caller]
    fn stop(&mut self) {
        Process(self.0.id()).signal(Signal::SIGTERM);
        let status = until("the service exits", || self.0.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for ActivatedService {
    fn drop(&mut self) {
        // When the parent is killed, the fork server ends the children.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_service_stores_its_listener_in_the_service_manager_and_uses_it_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut socket = NotifySocket::bind(&dir.path().join("notify"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut first = ActivatedService::with(listener.into(), &socket, &dir.path().join("first"));
    let ready = socket.wait_for_after(0, "READY", None);
    assert_eq!(LineClient::connect(port).ask("one"), "one");
    let stored = socket.wait_for_after(0, "FDSTORE", Some("1"));
    assert!(stored < ready);
    let sent = &socket.received()[stored];
    assert_eq!(sent.get("FDNAME"), Some("echo"));
    let [kept] = &sent.descriptors[..] else { panic!("one descriptor: {sent:?}") };
    let kept = kept.try_clone().unwrap();
    first.stop();
    // No process accepts connections now, but clients can wait.
    let mut waiting: Vec<_> = (0..20).map(|_client| LineClient::connect(port)).collect();
    for client in &mut waiting {
        client.send("waited\n").unwrap();
    }
    let again = socket.received().len();
    let mut second = ActivatedService::with(kept, &socket, &dir.path().join("second"));
    socket.wait_for_after(again, "READY", None);
    for mut client in waiting {
        assert_eq!(client.read().unwrap(), "waited");
    }
    assert_eq!(LineClient::connect(port).ask("two"), "two");
    assert_eq!(LineClient::connect(port).ask("three"), "three");
    second.stop();
}

#[test]
fn a_service_does_not_start_without_the_descriptors_that_listen_fds_announces() {
    let output = Command::new("sh")
        .args(["-c", "LISTEN_PID=$$ LISTEN_FDS=9 exec \"$0\""])
        .arg(example("service"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("cannot take the inherited descriptors"), "{error}");
}
