//! Tests the shipped unit files of `docs/systemd`. They are installed as the comments at the top of
//! each service file describe. The tests run only on a dedicated test machine, where
//! `SYSTEMD_MACHINE` is set in the environment. `make test-systemd` creates such a machine.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::scope;
use std::time::Duration;

use crate::harness::{
    ControlClient, LineClient, Process, Signal, during, is_refused, skipped, until,
};

use super::unit::{SystemdInstance, SystemdUnit};

/// The port in the unit files.
const PORT: u16 = 7075;

const FILES: [&str; 3] = ["echo.service", "echo-activated.service", "echo-activated.socket"];

/// Returns whether the tests may start and stop this machine's units.
fn is_test_machine() -> bool {
    let is_test_machine = std::env::var_os("SYSTEMD_MACHINE").is_some();
    if !is_test_machine {
        skipped("not a dedicated test machine, see `make test-systemd`");
    }
    is_test_machine
}

fn file(name: &str) -> String {
    format!("/etc/systemd/system/{name}")
}

fn unit(name: &str) -> SystemdUnit {
    SystemdUnit::new(SystemdInstance::System, name.to_owned())
}

/// A drop-in file with the lines that a test adds to a unit.
struct DropIn(String);

impl DropIn {
    #[track_caller]
    fn to(unit: &str, lines: &str) -> DropIn {
        let dir = format!("/run/systemd/system/{unit}.d");
        fs::create_dir_all(&dir).unwrap();
        fs::write(Path::new(&dir).join("test.conf"), format!("[Service]\n{lines}\n")).unwrap();
        let drop_in = DropIn(dir);
        drop_in.reload();
        drop_in
    }

    fn reload(&self) {
        let status = Command::new("systemctl").arg("daemon-reload").status();
        assert!(status.is_ok_and(|status| status.success()), "{}", self.0);
    }
}

impl Drop for DropIn {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        let _ = Command::new("systemctl").arg("daemon-reload").status();
    }
}

/// Starts the shipped service and waits until it is ready.
#[track_caller]
fn started() -> SystemdUnit {
    let unit = unit("echo.service");
    unit.command(&["start"]);
    unit
}

#[test]
fn shipped_units_are_valid_and_hardened() {
    if !is_test_machine() {
        return;
    }
    for name in FILES {
        let output =
            Command::new("systemd-analyze").args(["verify", &file(name)]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
    }
    for name in &FILES[..2] {
        // The exposure must be at most 2.0 of 10. systemd rates 1.0 to 5.0 as "OK".
        let rating = Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager", "--threshold=20", &file(name)])
            .output()
            .unwrap();
        assert!(rating.status.success(), "{}", String::from_utf8_lossy(&rating.stdout));
    }
}

#[test]
fn the_shipped_service_works_with_its_hardening_options() {
    if !is_test_machine() {
        return;
    }
    let unit = started();
    assert_eq!(unit.show("ActiveState"), "active");
    let status = unit.show("StatusText");
    assert!(status.starts_with("running: 2 children, 0 busy, 2 idle"), "{status}");
    let parent = unit.parent();
    let all = [vec![parent], parent.descendants()].concat();
    assert_eq!(all.len(), 4, "a parent, a fork server and two children run");
    for process in all {
        assert_eq!(process.status("Seccomp"), ["2"]);
        assert_eq!(process.status("NoNewPrivs"), ["1"]);
        assert_eq!(process.status("CapBnd"), ["0000000000000000"]);
        assert_ne!(process.status("Uid")[0], "0");
    }
    assert_eq!(LineClient::connect(PORT).ask("hello"), "hello");
    // A signal pauses the service, and a command on the control socket resumes it.
    unit.kill("TSTP");
    unit.until("StatusText", "paused");
    let mut client = LineClient::connect(PORT);
    client.send("waits\n").unwrap();
    assert!(!client.is_answered_within(Duration::from_millis(100)), "a child answers");
    let mut control = ControlClient::at(Path::new("/run/echo/control"));
    control.expect_done("resume", "");
    assert_eq!(client.read().unwrap(), "waits");
    unit.until("StatusText", "running");
    drop(client);
    // After the stop, the journal shows that systemd did not have to kill a process.
    unit.command(&["stop"]);
    assert_eq!(
        (unit.show("ActiveState"), unit.show("Result")),
        ("inactive".into(), "success".into())
    );
    let journal = unit.journal();
    assert!(!journal.contains("Killing process"), "{journal}");
    assert!(!journal.contains("Failed"), "{journal}");
    assert!(is_refused(PORT));
}

#[test]
fn a_reload_ends_when_only_new_children_accept_requests() {
    if !is_test_machine() {
        return;
    }
    let unit = started();
    let parent = unit.parent();
    let before = unit.fork_server().children();
    let is_old = |child: &Process| before.contains(child);
    let mut client = LineClient::connect(PORT);
    assert_eq!(client.ask("hello"), "hello");
    // The service sends RELOADING, and READY at the end of the reload. systemctl waits for READY.
    unit.command(&["reload"]);
    assert_eq!((unit.show("ActiveState"), unit.parent()), ("active".into(), parent));
    let new = unit.fork_server().children().into_iter().filter(|child| !is_old(child));
    assert_eq!(new.count(), 2);
    assert!(unit.journal().contains("reload finished"));
    // An old child is running a request, and exits when the request is done.
    assert_eq!(client.ask("still there"), "still there");
    assert_eq!(LineClient::connect(PORT).ask("to a new one"), "to a new one");
    drop(client);
    until("no old child is left", || {
        (!unit.fork_server().children().iter().any(is_old)).then_some(())
    });
    unit.until("StatusText", "running: 2 children, 0 busy, 2 idle");
}

#[test]
fn the_watchdog_restarts_a_service_whose_pool_is_broken() {
    if !is_test_machine() {
        return;
    }
    let _drop_in = DropIn::to("echo.service", "WatchdogSec=1");
    let unit = started();
    let first = unit.parent();
    // A healthy pool is not restarted.
    during(Duration::from_millis(2500), || assert!(first.is_alive(), "{}", unit.journal()));
    let fork_server = unit.fork_server();
    assert!(fork_server.signal(Signal::SIGSTOP));
    for child in fork_server.children() {
        assert!(child.signal(Signal::SIGTERM));
    }
    unit.until("NRestarts", "1");
    unit.until("ActiveState", "active");
    assert_ne!(unit.parent(), first);
    let journal = unit.journal();
    assert!(journal.contains("not notifying the watchdog: unhealthy"), "{journal}");
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    assert_eq!(unit.show("NRestarts"), "1", "{journal}");
    assert!(!fork_server.is_alive());
    assert_eq!(LineClient::connect(PORT).ask("hello"), "hello");
}

#[test]
fn connections_wait_while_the_service_is_restarted() {
    if !is_test_machine() {
        return;
    }
    let unit = started();
    for _round in 0..2 {
        let parent = unit.parent();
        let asked = scope(|scope| {
            let restart = scope.spawn(|| unit.command(&["restart"]));
            let mut asked = 0;
            while !restart.is_finished() || asked == 0 {
                // No connection is refused, and each client is answered.
                assert_eq!(LineClient::connect(PORT).ask("hello"), "hello", "after {asked}");
                asked += 1;
            }
            restart.join().unwrap();
            asked
        });
        assert!(asked > 0);
        assert_ne!(unit.parent(), parent);
        assert_eq!(unit.show("NFileDescriptorStore"), "1");
    }
}

#[test]
fn systemd_extends_the_stop_timeout_while_the_service_completes_requests() {
    if !is_test_machine() {
        return;
    }
    let _drop_in = DropIn::to("echo.service", "TimeoutStopSec=1");
    let unit = started();
    let mut client = LineClient::connect(PORT);
    assert_eq!(client.ask("hello"), "hello");
    unit.command(&["stop", "--no-block"]);
    unit.until("ActiveState", "deactivating");
    during(Duration::from_secs(3), || assert_eq!(client.ask("still there"), "still there"));
    assert_eq!(unit.show("ActiveState"), "deactivating");
    drop(client);
    unit.until("ActiveState", "inactive");
    assert_eq!(unit.show("Result"), "success");
}

#[test]
fn a_socket_unit_starts_its_service_and_outlives_it() {
    if !is_test_machine() {
        return;
    }
    let service = unit("echo-activated.service");
    let socket = unit("echo-activated.socket");
    socket.command(&["start"]);
    assert_eq!(service.show("ActiveState"), "inactive");
    assert_eq!(LineClient::connect(PORT).ask("hello"), "hello");
    service.until("ActiveState", "active");
    let first = service.parent();
    scope(|scope| {
        let restart = scope.spawn(|| service.command(&["restart"]));
        while !restart.is_finished() {
            assert_eq!(LineClient::connect(PORT).ask("hello"), "hello");
        }
        restart.join().unwrap();
    });
    assert_ne!(service.parent(), first);
    // Only the service is stopped, so the next connection starts it again.
    service.command(&["stop"]);
    assert_eq!(LineClient::connect(PORT).ask("again"), "again");
    service.until("ActiveState", "active");
    socket.command(&["stop"]);
    service.command(&["stop"]);
    assert!(is_refused(PORT));
}
