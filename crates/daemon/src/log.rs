//! The default logger and its destination. A record is one line and one write(2), and no write
//! waits for a reader: see `daemon_log` and [`NonblockingOutput`].

use std::fs::File;
use std::io::{self, Stderr, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use actix::System;
use daemon_log::{Flushed, SharedCounters, Sink};
use daemon_sys::output::NonblockingOutput;
use daemon_sys::shared::SharedMemory;
use daemon_sys::stdio::{LogFile, SavedStderr};
use daemon_sys::watch;
use slog::{FnValue, Level, Logger, o, warn};
use tokio::runtime::Handle;
use tokio::time::sleep;

/// The delay after the output was writable and accepted nothing all the same.
const RETRY: Duration = Duration::from_millis(100);

/// Returns the default logger, which writes to standard error. If there is a log file, standard
/// error is redirected to it.
///
/// It logs the level `info` and above. With `verbose` it also logs the level `debug`: signals, the
/// start and exit of each child, pauses, and clients that disconnect.
pub(crate) fn default_logger(verbose: bool) -> Logger {
    daemon_log::logger(&*SINK, if verbose { Level::Debug } else { Level::Info })
}

/// The destination of the default logger in this process.
static SINK: LazyLock<Sink<NonblockingOutput<LogTarget>>> = LazyLock::new(|| {
    Sink::new(NonblockingOutput::new(LogTarget::Stderr(io::stderr()))).on_waiting(flush_later)
});

/// The descriptor that the log is written to.
#[derive(Debug)]
enum LogTarget {
    Stderr(Stderr),
    /// The former standard error of a process whose standard error has been redirected away from
    /// the log.
    Terminal(File),
    /// The log file in such a process.
    File(Arc<LogFile>),
}

impl AsFd for LogTarget {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            LogTarget::Stderr(stderr) => stderr.as_fd(),
            LogTarget::Terminal(file) => file.as_fd(),
            LogTarget::File(file) => file.as_fd(),
        }
    }
}

/// Keeps the current destination of the default logger, so that standard error can be redirected.
pub(crate) fn keep_log_target(log_file: Option<&Arc<LogFile>>) -> Result<(), daemon_sys::Error> {
    if is_redirected() {
        return Ok(());
    }
    let target = match log_file {
        Some(file) => LogTarget::File(Arc::clone(file)),
        None => LogTarget::Terminal(SavedStderr::save()?.into()),
    };
    SINK.redirect(|output| output.set(target));
    Ok(())
}

/// Returns whether standard error has been redirected away from the log.
pub(crate) fn is_redirected() -> bool {
    SINK.with_output(|output| match output.get_ref() {
        LogTarget::Stderr(_) => false,
        LogTarget::Terminal(_) | LogTarget::File(_) => true,
    })
}

/// Reopens the log file. Standard error is redirected to it, unless it was redirected away from the
/// log.
pub(crate) fn reopen(file: &LogFile) -> Result<(), daemon_sys::Error> {
    match is_redirected() {
        false => file.reopen()?,
        true => file.reopen_without_redirect()?,
    }
    examine_target();
    Ok(())
}

/// Finds out how to write to the log without waiting. Call this when the descriptor of the log has
/// been replaced, and before privileges are dropped.
pub(crate) fn examine_target() {
    SINK.redirect(NonblockingOutput::examine);
}

/// Redirects standard error to the terminal, if it was redirected to the log, so that an error
/// which prevents the start reaches the terminal.
pub(crate) fn restore_terminal(terminal: Option<SavedStderr>) {
    let Some(terminal) = terminal else { return };
    // The error is returned even if standard error cannot be restored.
    let _ = terminal.restore();
    examine_target();
}

/// Makes this process and those that it forks count their dropped records together.
pub(crate) fn share_counters() -> Result<(), daemon_sys::Error> {
    let memory = SharedMemory::<AtomicU64>::anonymous(2)?;
    if let [dropped, torn] = memory.values() {
        SINK.share(SharedCounters { dropped, torn });
    }
    Ok(())
}

/// Returns the number of records of the default logger that the processes of the daemon have
/// dropped.
pub(crate) fn dropped_records() -> u64 {
    SINK.dropped()
}

/// Writes the records that wait when the output accepts them, if this thread runs a System.
/// Otherwise they are written with the next record.
fn flush_later() {
    if System::is_registered()
        && let Ok(runtime) = Handle::try_current()
    {
        runtime.spawn(flush_when_writable());
    }
}

async fn flush_when_writable() {
    while SINK.flush() == Flushed::Blocked {
        let descriptor = SINK.with_output(|output| output.as_fd().try_clone_to_owned());
        let Ok(Ok(watched)) = descriptor.map(watch::writable) else {
            // The process has no free descriptor.
            sleep(RETRY).await;
            continue;
        };
        if watched.writable().await.is_err() {
            // The runtime shuts down.
            return;
        }
        if SINK.flush() == Flushed::Blocked {
            sleep(RETRY).await;
        }
    }
    let dropped = SINK.take_unreported();
    if dropped > 0 {
        warn!(logger(), "log records dropped"; "count" => dropped);
    }
}

/// Tries for a short time to write the records that wait. Called before a process exits.
pub(crate) fn flush_before_exit() {
    // If the wait fails, the attempts end at the deadline.
    SINK.flush_before_exit(|output, left| drop(output.wait_writable(left)));
}

/// Writes lines to the destination of the default logger without waiting for it, for a
/// [`logger`](crate::DaemonBuilder::logger) with another format.
///
/// Bytes are collected until the end of a line, which is written with one write. While the
/// destination accepts nothing (a full pipe, a stopped terminal, a full disk), lines wait in memory
/// up to a limit, or are dropped and counted. So writing never waits and never fails.
///
/// # Examples
///
/// ```
/// use std::io::Write;
/// use std::sync::Mutex;
///
/// use actix_daemon::LogWriter;
/// use slog::Drain;
///
/// // A drain of slog-json can be built in the same way.
/// let format = slog_term::PlainSyncDecorator::new(LogWriter::default());
/// let drain = slog_term::FullFormat::new(format).build().fuse();
/// let log = slog::Logger::root(drain, slog::o!());
/// slog::info!(log, "a line");
/// ```
#[derive(Debug, Default)]
pub struct LogWriter {
    line: Vec<u8>,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.ends_with(b"\n") {
                SINK.write_line(&self.line);
                self.line.clear();
            }
        }
        Ok(bytes.len())
    }

    /// Does nothing: a line is written when it is complete.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

/// Records that this process is the fork server, and no longer the process that launches the
/// daemon.
pub(crate) fn become_fork_server() {
    SINK.forget_waiting();
}

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
    SINK.forget_waiting();
}
