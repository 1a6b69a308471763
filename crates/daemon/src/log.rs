//! The default logger and its destination. A record is one line and one write(2): see `daemon_log`.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use daemon_sys::stdio::{LogFile, SavedStderr};
use slog::{FnValue, Level, Logger, o};

/// Returns the default logger, which writes to standard error. If there is a log file, standard
/// error is redirected to it.
///
/// It logs the level `info` and above. With `verbose` it also logs the level `debug`: signals, the
/// start and exit of each child, pauses, status updates that were refused, and failed connections.
pub(crate) fn default_logger(verbose: bool) -> Logger {
    daemon_log::logger(write_line, if verbose { Level::Debug } else { Level::Info })
}

/// Writes a line to standard error. If standard error was redirected away from the log, writes the
/// line to the destination that [`keep_log_target`] kept. Needs more than one write(2) only if the
/// system accepts just a part of the line.
fn write_line(line: &[u8]) -> io::Result<()> {
    match REDIRECTED.get() {
        None => daemon_log::to_stderr(line),
        Some(RedirectedLog::Terminal(file)) => (&*file).write_all(line),
        Some(RedirectedLog::File(file)) => file.append(line),
    }
}

/// The destination of the log in a process whose standard error has been redirected away from the
/// log.
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
    // If this function was called before, the destination is already set.
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
/// Its records have the keys `role`, `pid` and, in a child, `slot`. Before the launch, returns the
/// default logger.
pub fn logger() -> Logger {
    let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    current.clone().unwrap_or_else(|| default_logger(false))
}

fn make_current(log: Logger) -> Logger {
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(log.clone());
    log
}

/// Creates the parent's logger, makes it the current logger of this process, and returns it.
pub(crate) fn of_parent(log: &Logger) -> Logger {
    make_current(log.new(o!("role" => "parent", "pid" => std::process::id())))
}

/// The slot of this process, if it is a child.
static SLOT: AtomicU32 = AtomicU32::new(0);

/// Creates the children's logger, makes it the current logger of this process and of its future
/// children, and returns it.
///
/// Called once, in the fork server. The pid and the slot of a child are looked up for each record.
pub(crate) fn of_children(log: &Logger) -> Logger {
    let slot = FnValue(|_record| SLOT.load(Ordering::Relaxed));
    let pid = FnValue(|_record| std::process::id());
    make_current(log.new(o!("role" => "child", "pid" => pid, "slot" => slot)))
}

/// Records that this process is the child in this slot.
pub(crate) fn become_child(slot: u32) {
    SLOT.store(slot, Ordering::Relaxed);
}
