//! Logs: the default logger, and the files that it and everything else is written to.
//!
//! A record is one line and one write(2), so the lines of several processes do not mix in one
//! `O_APPEND` file.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use daemon_sys::stdio::{LogFile, Terminal};

use slog::{Drain, Level, Logger, OwnedKVList, Record, o};
use slog_term::{Decorator, FullFormat, RecordDecorator};

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
    logger_to(write_line, level)
}

/// A line, written at once.
type WriteLine = fn(&[u8]) -> io::Result<()>;

fn logger_to(write: WriteLine, level: Level) -> Logger {
    let lines = FullFormat::new(OneWrite(write)).use_utc_timestamp().use_original_order().build();
    // A record that cannot be written has nowhere else to go, and must not end the daemon.
    Logger::root(Lines(lines).filter_level(level).ignore_res(), o!())
}

/// slog-term's format behind one lock-free drain: a process of ours logs from one thread at a
/// time or, from several, a write a record each.
struct Lines(FullFormat<OneWrite>);

impl Drain for Lines {
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
        self.0.log(record, values)
    }
}

/// Collects a record's pieces and writes them at once.
struct OneWrite(WriteLine);

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Decorator for OneWrite {
    fn with_record<F>(
        &self,
        _record: &Record<'_>,
        _values: &OwnedKVList,
        write: F,
    ) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        let mut line = LINE.try_with(RefCell::take).unwrap_or_default();
        line.clear();
        let mut pieces = Pieces(line);
        let written = write(&mut pieces).and_then(|()| (self.0)(&pieces.0));
        let _gone_at_thread_exit = LINE.try_with(|kept| kept.replace(pieces.0));
        written
    }
}

/// Writes a whole line to standard error, or to where that led before it was led elsewhere; more
/// than one write only if the system takes a part.
fn write_line(line: &[u8]) -> io::Result<()> {
    match APART.get() {
        None => io::stderr().write_all(line),
        Some(Apart::Terminal(file)) => (&*file).write_all(line),
        Some(Apart::File(file)) => file.append(line),
    }
}

/// Where the log goes in a process whose standard error is not its any more.
enum Apart {
    Terminal(File),
    File(Arc<LogFile>),
}

static APART: OnceLock<Apart> = OnceLock::new();

/// Has the default logger of this process write where it writes now, whatever becomes of standard
/// error.
pub(crate) fn keep_apart(log_file: Option<&Arc<LogFile>>) -> Result<(), daemon_sys::Error> {
    let apart = match log_file {
        Some(file) => Apart::File(Arc::clone(file)),
        None => Apart::Terminal(Terminal::keep()?.into()),
    };
    // A second time it is kept apart already.
    let _ = APART.set(apart);
    Ok(())
}

/// Whether standard error is not the log's any more.
pub(crate) fn is_kept_apart() -> bool {
    APART.get().is_some()
}

struct Pieces(Vec<u8>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RecordDecorator for Pieces {
    fn reset(&mut self) -> io::Result<()> {
        Ok(())
    }
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

/// The logger of the child in this slot, from now on this process'.
pub(crate) fn of_child(log: &Logger, slot: u32) -> Logger {
    make_current(log.new(o!("role" => "child", "pid" => std::process::id(), "slot" => slot)))
}

#[cfg(test)]
mod tests;
