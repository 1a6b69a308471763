//! Runs daemonctl.

use std::ffi::OsStr;
use std::process::{Command, Output};
use std::time::Duration;

/// The time limit of each step of a test, long enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns a command that runs daemonctl without the environment variables that set its options.
pub(crate) fn daemonctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daemonctl"));
    command.env_remove("DAEMONCTL_SOCKET").env_remove("DAEMONCTL_BOARD").env("TZ", "UTC");
    command
}

/// The output and the exit code of daemonctl.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs daemonctl, and returns its output.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> CommandOutput {
    decoded(&daemonctl().args(arguments).output().expect("daemonctl runs"))
}

pub(crate) fn decoded(process: &Output) -> CommandOutput {
    CommandOutput {
        code: process.status.code().expect("an exit code"),
        out: String::from_utf8_lossy(&process.stdout).into_owned(),
        err: String::from_utf8_lossy(&process.stderr).into_owned(),
    }
}
