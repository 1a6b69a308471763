//! Running the command, and waiting for things.

use std::ffi::OsStr;
use std::process::{Command, Output};
use std::time::Duration;

/// How long anything may take on a busy machine before it counts as never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The command, with nothing of this environment that could lead it elsewhere.
pub(crate) fn daemonctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daemonctl"));
    command.env_remove("DAEMONCTL_SOCKET").env_remove("DAEMONCTL_BOARD").env("TZ", "UTC");
    command
}

/// What it has said and how it has ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs it to its end.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Said {
    said(&daemonctl().args(arguments).output().expect("it runs"))
}

pub(crate) fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().expect("no signal has ended it"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
