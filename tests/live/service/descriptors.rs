//! Listeners that the supervisor hands over, and keeps.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{Client, Process, Signal, example, until};

use super::notify::Supervisor;

/// A service that was handed a listener, as systemd does it.
struct Activated(Child);

impl Activated {
    fn with(listener: OwnedFd, supervisor: &Supervisor, log: &Path) -> Self {
        let handed =
            "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=echo exec \"$0\"";
        let child = Command::new("sh")
            .args(["-c", handed])
            .arg(example("service"))
            .env("NOTIFY_SOCKET", supervisor.address())
            .stdin(Stdio::from(listener))
            .stderr(std::fs::File::create(log).unwrap())
            .spawn();
        Activated(child.unwrap())
    }

    #[track_caller]
    fn stop(&mut self) {
        Process(self.0.id()).signal(Signal::SIGTERM);
        let status = until("it ends", || self.0.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        // Its fork server ends its children.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_listener_is_kept_by_the_supervisor_and_handed_over_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::at(&dir.path().join("notify"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut first = Activated::with(listener.into(), &supervisor, &dir.path().join("first"));
    let ready = supervisor.until_after(0, "READY", None);
    assert_eq!(Client::of(port).ask("one"), "one");
    let stored = supervisor.until_after(0, "FDSTORE", Some("1"));
    assert!(stored < ready);
    let told = &supervisor.told()[stored];
    assert_eq!(told.get("FDNAME"), Some("echo"));
    let [kept] = &told.descriptors[..] else { panic!("one descriptor: {told:?}") };
    let kept = kept.try_clone().unwrap();
    first.stop();
    // Nobody serves, and the port is there all the same.
    let again = supervisor.told().len();
    let mut second = Activated::with(kept, &supervisor, &dir.path().join("second"));
    supervisor.until_after(again, "READY", None);
    assert_eq!(Client::of(port).ask("two"), "two");
    // The queue that the first has shrunk is long again.
    let crowd: Vec<_> = (0..20).map(|_client| Client::of(port)).collect();
    drop(crowd);
    assert_eq!(Client::of(port).ask("three"), "three");
    second.stop();
}

#[test]
fn descriptors_that_are_announced_and_not_there_are_refused() {
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
