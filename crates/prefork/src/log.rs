//! The default logger and its destination, standard error. No write waits for its reader.

use std::io::{Stderr, stderr};
use std::ops::Deref;
use std::sync::LazyLock;
use std::time::Duration;

use daemon_log::{Flushed, Sink};
use daemon_sys::output::NonblockingOutput;
use slog::{Level, Logger};

/// How long the manager waits before it tries again to write the records that standard error has
/// not accepted.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

static SINK: LazyLock<Sink<NonblockingOutput<Stderr>>> =
    LazyLock::new(|| Sink::new(NonblockingOutput::new(stderr())));

/// Returns the default logger, which logs the level `info` and above.
pub(crate) fn default_logger() -> Logger {
    daemon_log::logger(StderrSink, Level::Info)
}

/// The sink, which is created with the first record: the program may still detach from its
/// terminal, and close descriptors that it does not know.
struct StderrSink;

impl Deref for StderrSink {
    type Target = Sink<NonblockingOutput<Stderr>>;

    fn deref(&self) -> &Self::Target {
        &SINK
    }
}

/// Writes the records that wait, as far as standard error accepts them.
pub(crate) fn flush() -> Flushed {
    SINK.flush()
}

/// Forgets the records that wait in a new worker: the manager writes them.
pub(crate) fn become_worker() {
    SINK.forget_waiting();
}

/// Tries for a short time to write the records that wait.
pub(crate) fn flush_before_exit() {
    // If the wait fails, the attempts end at the deadline.
    SINK.flush_before_exit(|output, left| drop(output.wait_writable(left)));
}
