//! The default logger and its destination. A record is one line and one write(2): see `daemon_log`.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use daemon_sys::stdio::{LogFile, SavedStderr};
use slog::{FnValue, Level, Logger, o};

/// The level of the default logger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// From `info` on.
    Normal,
    /// From `debug` on: also the start and exit of each child, statuses, and the decisions of the pool.
    Verbose,
}

/// Returns the default logger. It writes to standard error, which is redirected to the log file if there
/// is one.
pub(crate) fn default_logger(verbosity: Verbosity) -> Logger {
    let level = match verbosity {
        Verbosity::Normal => Level::Info,
        Verbosity::Verbose => Level::Debug,
    };
    daemon_log::logger(write_line, level)
}

/// Writes a line to the log: to standard error, or to its former destination if it was redirected. It
/// needs more than one write only if the system accepts just a part of the line.
fn write_line(line: &[u8]) -> io::Result<()> {
    match REDIRECTED.get() {
        None => daemon_log::to_stderr(line),
        Some(RedirectedLog::Terminal(file)) => (&*file).write_all(line),
        Some(RedirectedLog::File(file)) => file.append(line),
    }
}

/// The destination of the log in a process whose standard error has been redirected.
enum RedirectedLog {
    Terminal(File),
    File(Arc<LogFile>),
}

static REDIRECTED: OnceLock<RedirectedLog> = OnceLock::new();

/// Keeps the current destination of the default logger, so that standard error can be redirected.
pub(crate) fn keep_log_target(log_file: Option<&Arc<LogFile>>) -> Result<(), daemon_sys::Error> {
    let apart = match log_file {
        Some(file) => RedirectedLog::File(Arc::clone(file)),
        None => RedirectedLog::Terminal(SavedStderr::save()?.into()),
    };
    // If it was called before, the destination is already set.
    let _ = REDIRECTED.set(apart);
    Ok(())
}

/// Returns whether standard error has been redirected away from the log.
pub(crate) fn is_redirected() -> bool {
    REDIRECTED.get().is_some()
}

static CURRENT: Mutex<Option<Logger>> = Mutex::new(None);

/// Returns the daemon's logger in this process.
///
/// Its records have the keys `role`, `pid` and, in a child, `slot`. Before the launch it is the default
/// logger.
pub fn logger() -> Logger {
    let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    current.clone().unwrap_or_else(|| default_logger(Verbosity::Normal))
}

fn make_current(log: Logger) -> Logger {
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(log.clone());
    log
}

/// Makes the parent's logger the current one of this process.
pub(crate) fn of_parent(log: &Logger) -> Logger {
    make_current(log.new(o!("role" => "parent", "pid" => std::process::id())))
}

/// The slot of this process, if it is a child.
static SLOT: AtomicU32 = AtomicU32::new(0);

/// Makes the children's logger the current one of this process and of its children.
///
/// It is made once, in the fork server. The pid and the slot of a child are looked up for each record.
pub(crate) fn of_children(log: &Logger) -> Logger {
    let slot = FnValue(|_record| SLOT.load(Ordering::Relaxed));
    let pid = FnValue(|_record| std::process::id());
    make_current(log.new(o!("role" => "child", "pid" => pid, "slot" => slot)))
}

/// Sets the slot of this process, which is a child.
pub(crate) fn become_child(slot: u32) {
    SLOT.store(slot, Ordering::Relaxed);
}
