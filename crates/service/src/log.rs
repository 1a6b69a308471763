//! The default logger and its destination, standard error.

use std::io::stderr;
use std::sync::LazyLock;

use daemon_log::Sink;
use slog::{Level, Logger};

#[cfg(unix)]
type Output = daemon_sys::output::NonblockingOutput<std::io::Stderr>;

/// No write waits for its reader. What it has not accepted is written with the next record, or
/// before the service ends.
#[cfg(unix)]
static SINK: LazyLock<Sink<Output>> = LazyLock::new(|| Sink::new(Output::new(stderr())));

/// A service of Windows has no standard error, and a write to it does not wait.
#[cfg(windows)]
static SINK: LazyLock<Sink<std::io::Stderr>> = LazyLock::new(|| Sink::new(stderr()));

/// Tries for a short time to write the records that wait. Called before a service ends.
#[cfg(unix)]
pub(crate) fn flush_before_exit() {
    // If the wait fails, the attempts end at the deadline.
    SINK.flush_before_exit(|output, left| drop(output.wait_writable(left)));
}

/// Does nothing, because nothing waits.
#[cfg(windows)]
pub(crate) fn flush_before_exit() {}

/// Returns the default logger, which logs the level `info` and above.
pub(crate) fn default_logger() -> Logger {
    daemon_log::logger(&*SINK, Level::Info)
}
