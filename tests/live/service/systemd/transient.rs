//! Tests units that systemd-run(1) creates, under each systemd instance that runs on this machine.

use std::path::Path;

use crate::harness::{LineClient, example, skipped, until};

use super::unit::{SystemdInstance, SystemdUnit};

/// Runs `examples/service` as a unit with these properties, and waits until systemd considers the
/// unit ready.
#[track_caller]
fn run(
    manager: SystemdInstance,
    name: &str,
    log: &Path,
    properties: &[&str],
    options: &[&str],
) -> SystemdUnit {
    let name = format!("daemon-service-{name}-{}.service", std::process::id());
    let kind = if manager.knows_notify_reload() { "notify-reload" } else { "notify" };
    let log = log.display();
    let mut command = manager.command("systemd-run");
    command.args(["--quiet", "--collect", "--unit", &name]);
    command.arg(format!("--property=Type={kind}"));
    command.arg(format!("--property=StandardError=file:{log}"));
    command.arg(format!("--property=StandardOutput=file:{log}.out"));
    command.args(properties.iter().map(|property| format!("--property={property}")));
    let unit = SystemdUnit::new(manager, name);
    let status = command.arg(example("service")).arg("0").args(options).status().unwrap();
    let said = || std::fs::read_to_string(format!("{log}")).unwrap_or_default();
    assert!(status.success(), "{}", said());
    unit
}

/// Returns the available systemd instances. Prints a message if there is none.
fn managers() -> Vec<SystemdInstance> {
    let managers = SystemdInstance::all();
    if std::env::var_os("SYSTEMD_MACHINE").is_some() {
        assert_eq!(
            managers,
            [SystemdInstance::System, SystemdInstance::User],
            "both systemd instances run if SYSTEMD_MACHINE is set"
        );
    }
    if managers.is_empty() {
        skipped("no usable systemd instance");
    }
    managers
}

#[test]
fn a_systemd_service_starts_pauses_reloads_and_stops() {
    for manager in managers() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let properties = ["WatchdogSec=5", "FileDescriptorStoreMax=4", "TimeoutStopSec=20"];
        let unit = run(manager, "states", &log, &properties, &[]);
        assert_eq!(unit.show("ActiveState"), "active");
        let status = unit.show("StatusText");
        assert!(status.starts_with("running: 2 children, 0 busy, 2 idle"), "{status}");
        assert_eq!(unit.show("NFileDescriptorStore"), "1");
        let port = until("the port is printed", || {
            let said = std::fs::read_to_string(format!("{}.out", log.display())).ok()?;
            said.trim().strip_prefix("PORT=")?.parse().ok()
        });
        assert_eq!(LineClient::connect(port).ask("hello"), "hello");
        if manager.knows_notify_reload() {
            // systemd waits for the end of the reload.
            unit.command(&["reload"]);
            assert_eq!(unit.show("ActiveState"), "active");
        }
        unit.kill("TSTP");
        unit.until("StatusText", "paused");
        unit.kill("CONT");
        unit.until("StatusText", "running");
        unit.command(&["stop"]);
        assert_ne!(unit.show("ActiveState"), "failed");
    }
}

#[test]
fn systemd_extends_the_start_timeout_of_a_service_that_starts_slowly() {
    for manager in managers() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let unit = run(manager, "start", &log, &["TimeoutStartSec=1"], &["--step", "2500"]);
        assert_eq!(unit.show("ActiveState"), "active");
        unit.command(&["stop"]);
    }
}
