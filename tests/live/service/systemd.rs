//! Under a real systemd, where the machine runs one.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Client, example, until};

/// A systemd that answers: that of the machine, or the user's own.
fn systemd() -> Option<&'static str> {
    ["--system", "--user"].into_iter().find(|which| {
        let alive = Command::new("systemctl").args([which, "show", "--property=Version"]).output();
        let may = Command::new("systemd-run")
            .args([which, "--quiet", "--wait", "--collect", "true"])
            .output();
        let is_good = |output: std::io::Result<Output>| output.is_ok_and(|it| it.status.success());
        is_good(alive) && is_good(may)
    })
}

/// systemd waits for the end of a reload from 253 on.
fn kind(which: &str) -> &'static str {
    let version = Command::new("systemctl").args([which, "--version"]).output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let version = version.split_whitespace().nth(1).and_then(|version| version.parse::<u32>().ok());
    if version.is_some_and(|version| version >= 253) { "notify-reload" } else { "notify" }
}

struct Unit {
    which: &'static str,
    name: String,
}

impl Unit {
    fn run(which: &'static str, log: &Path) -> Unit {
        let name = format!("daemon-service-test-{}.service", std::process::id());
        let standard_error = format!("StandardError=file:{}", log.display());
        let standard_output = format!("StandardOutput=file:{}.out", log.display());
        let status = Command::new("systemd-run")
            .args([which, "--quiet", "--collect", "--unit", &name])
            .args([format!("--property=Type={}", kind(which)).as_str(), "--property=WatchdogSec=2"])
            .args(["--property=FileDescriptorStoreMax=4", "--property=TimeoutStopSec=20"])
            .args([format!("--property={standard_error}"), format!("--property={standard_output}")])
            .arg(example("service"))
            .arg("0")
            .status()
            .unwrap();
        // It comes back when the service is ready.
        assert!(status.success(), "{}", std::fs::read_to_string(log).unwrap_or_default());
        Unit { which, name }
    }

    fn show(&self, property: &str) -> String {
        let output = Command::new("systemctl")
            .args([self.which, "show", "--value", "--property", property, &self.name])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn command(&self, words: &[&str]) {
        let status = Command::new("systemctl").arg(self.which).args(words).arg(&self.name).status();
        assert!(status.unwrap().success(), "{words:?}");
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = Command::new("systemctl").args([self.which, "stop", &self.name]).status();
    }
}

#[test]
fn a_service_of_systemd_starts_pauses_reloads_and_stops() {
    let Some(which) = systemd() else {
        eprintln!("skipped: no systemd runs here that takes a unit");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let unit = Unit::run(which, &log);
    assert_eq!(unit.show("ActiveState"), "active");
    assert!(unit.show("StatusText").starts_with("running: 2 children"));
    assert_eq!(unit.show("NFileDescriptorStore"), "1");
    let port = until("it tells its port", || {
        let said = std::fs::read_to_string(format!("{}.out", log.display())).ok()?;
        said.trim().strip_prefix("PORT=")?.parse().ok()
    });
    assert_eq!(Client::of(port).ask("hello"), "hello");
    if kind(which) == "notify-reload" {
        // The reload's end is waited for.
        unit.command(&["reload"]);
        assert_eq!(unit.show("ActiveState"), "active");
    }
    unit.command(&["kill", "--kill-whom=main", "--signal=TSTP"]);
    until("it is paused", || unit.show("StatusText").starts_with("paused").then_some(()));
    unit.command(&["kill", "--kill-whom=main", "--signal=CONT"]);
    until("it runs", || unit.show("StatusText").starts_with("running").then_some(()));
    unit.command(&["stop"]);
    until("it has stopped", || (unit.show("ActiveState") != "active").then_some(()));
    assert_ne!(unit.show("Result"), "watchdog");
}
