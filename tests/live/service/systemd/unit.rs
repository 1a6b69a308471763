//! A systemd unit that the tests query and control with systemctl(1).

use std::process::{Command, Output};

use crate::harness::{Process, until};

/// A systemd instance: that of the system or that of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SystemdInstance {
    System,
    User,
}

impl SystemdInstance {
    /// Returns the instances that answer and accept transient units.
    pub(super) fn all() -> Vec<SystemdInstance> {
        [SystemdInstance::System, SystemdInstance::User]
            .into_iter()
            .filter(|manager| manager.takes_units())
            .collect()
    }

    fn takes_units(self) -> bool {
        let mut trial = self.command("systemd-run");
        trial.args(["--quiet", "--collect", "systemctl", "--version"]);
        let may = |output: std::io::Result<Output>| output.is_ok_and(|it| it.status.success());
        may(self.command("systemctl").args(["show", "--property=Version"]).output())
            && may(trial.output())
    }

    fn option(self) -> &'static str {
        match self {
            SystemdInstance::System => "--system",
            SystemdInstance::User => "--user",
        }
    }

    pub(super) fn command(self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg(self.option());
        command
    }

    /// Returns whether systemd waits for the end of a reload, as version 253 and later versions do.
    pub(super) fn knows_notify_reload(self) -> bool {
        let version = self.command("systemctl").arg("--version").output().unwrap();
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let version = version.split_whitespace().nth(1).and_then(|number| number.parse().ok());
        version.is_some_and(|version: u32| version >= 253)
    }
}

/// A unit that is stopped at the end of its test.
pub(super) struct SystemdUnit {
    manager: SystemdInstance,
    name: String,
    /// The journal's cursor at the start of the test.
    start_cursor: String,
}

impl SystemdUnit {
    pub(super) fn new(manager: SystemdInstance, name: String) -> SystemdUnit {
        let mut journal = manager.command("journalctl");
        let output = journal.args(["--quiet", "--no-pager", "--lines=0", "--show-cursor"]).output();
        let output = output.map(|output| output.stdout).unwrap_or_default();
        let output = String::from_utf8_lossy(&output).into_owned();
        let cursor = output.trim().strip_prefix("-- cursor: ").unwrap_or_default();
        SystemdUnit { manager, name, start_cursor: cursor.to_owned() }
    }

    /// Returns a property of the unit.
    pub(super) fn show(&self, property: &str) -> String {
        let mut command = self.manager.command("systemctl");
        let output = command.args(["show", "--value", "--property", property, &self.name]).output();
        String::from_utf8_lossy(&output.unwrap().stdout).trim().to_owned()
    }

    /// Waits until a property begins with this value.
    #[track_caller]
    pub(super) fn until(&self, property: &str, value: &str) {
        until(&format!("{property} of {} begins with {value:?}", self.name), || {
            self.show(property).starts_with(value).then_some(())
        });
    }

    /// Runs a systemctl command on this unit.
    #[track_caller]
    pub(super) fn command(&self, words: &[&str]) {
        let output =
            self.manager.command("systemctl").args(words).arg(&self.name).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {error}{}", self.journal());
    }

    /// Sends a signal, given by its name, to the unit's main process.
    #[track_caller]
    pub(super) fn kill(&self, signal: &str) {
        self.command(&["kill", "--kill-whom=main", "--signal", signal]);
    }

    /// Returns the main process: the daemon's parent.
    #[track_caller]
    pub(super) fn parent(&self) -> Process {
        let pid = self.show("MainPID").parse().unwrap();
        assert_ne!(pid, 0, "{} has no main process", self.name);
        Process(pid)
    }

    /// Returns the fork server: the parent's only child.
    #[track_caller]
    pub(super) fn fork_server(&self) -> Process {
        let fork_server = self.parent().children();
        assert_eq!(fork_server.len(), 1, "{fork_server:?}");
        fork_server[0]
    }

    /// Returns the unit's journal since the start of the test.
    pub(super) fn journal(&self) -> String {
        let mut journal = self.manager.command("journalctl");
        journal.args(["--quiet", "--no-pager", "--output=cat", "--unit", &self.name]);
        if !self.start_cursor.is_empty() {
            journal.args(["--after-cursor", &self.start_cursor]);
        }
        let output = journal.output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).into_owned()
    }
}

impl Drop for SystemdUnit {
    #[expect(
        clippy::print_stdout,
        reason = "prints the journal of a failed test, because the test container does not \
                  outlive the run"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.journal());
        }
        let _ = self.manager.command("systemctl").args(["stop", &self.name]).output();
    }
}
