//! Logs: the default logger, and the files that it and everything else is written to.
//!
//! A record is one line and one write(2): see `daemon_log`.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use daemon_sys::stdio::{LogFile, SavedStderr};
use slog::{FnValue, Level, Logger, o};

/// How much the default logger tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// What an operator wants on an ordinary day.
    Normal,
    /// Births, statuses and the pool's reasons too.
    Verbose,
}

/// The default logger: to standard error, which is the log file once there is one.
pub(crate) fn default_logger(verbosity: Verbosity) -> Logger {
    let level = match verbosity {
        Verbosity::Normal => Level::Info,
        Verbosity::Verbose => Level::Debug,
    };
    daemon_log::logger(write_line, level)
}

/// Writes a whole line to standard error, or to where that led before it was led elsewhere; more
/// than one write only if the system takes a part.
fn write_line(line: &[u8]) -> io::Result<()> {
    match REDIRECTED.get() {
        None => daemon_log::to_stderr(line),
        Some(RedirectedLog::Terminal(file)) => (&*file).write_all(line),
        Some(RedirectedLog::File(file)) => file.append(line),
    }
}

/// Where the log goes in a process whose standard error is not its any more.
enum RedirectedLog {
    Terminal(File),
    File(Arc<LogFile>),
}

static REDIRECTED: OnceLock<RedirectedLog> = OnceLock::new();

/// Has the default logger of this process write where it writes now, whatever becomes of standard
/// error.
pub(crate) fn keep_log_target(log_file: Option<&Arc<LogFile>>) -> Result<(), daemon_sys::Error> {
    let apart = match log_file {
        Some(file) => RedirectedLog::File(Arc::clone(file)),
        None => RedirectedLog::Terminal(SavedStderr::save()?.into()),
    };
    // A second time it is kept apart already.
    let _ = REDIRECTED.set(apart);
    Ok(())
}

/// Whether standard error is not the log's any more.
pub(crate) fn is_redirected() -> bool {
    REDIRECTED.get().is_some()
}

static CURRENT: Mutex<Option<Logger>> = Mutex::new(None);

/// The daemon's logger in this process: its records tell the role, the pid and, in a child, the
/// slot. Before the launch it is the default logger.
pub fn logger() -> Logger {
    let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    current.clone().unwrap_or_else(|| default_logger(Verbosity::Normal))
}

fn make_current(log: Logger) -> Logger {
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(log.clone());
    log
}

/// The parent's logger, from now on this process'.
pub(crate) fn of_parent(log: &Logger) -> Logger {
    make_current(log.new(o!("role" => "parent", "pid" => std::process::id())))
}

/// The slot of the child that this process is.
static SLOT: AtomicU32 = AtomicU32::new(0);

/// The logger of all children, from now on that of this process and its children. It is made once, in the
/// fork server: what tells them apart is looked up when there is something to log.
pub(crate) fn of_children(log: &Logger) -> Logger {
    let slot = FnValue(|_record| SLOT.load(Ordering::Relaxed));
    let pid = FnValue(|_record| std::process::id());
    make_current(log.new(o!("role" => "child", "pid" => pid, "slot" => slot)))
}

/// This process is the child in this slot.
pub(crate) fn become_child(slot: u32) {
    SLOT.store(slot, Ordering::Relaxed);
}
