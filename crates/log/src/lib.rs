//! The default logger. It has the format of slog-term, and writes each record as one line with one
//! write.
//!
//! slog-term writes a record in about twenty pieces. This crate collects the pieces, so that the
//! lines of several processes do not mix in one `O_APPEND` file, however long the lines are.
//!
//! # Examples
//!
//! ```
//! use slog::{Level, info};
//!
//! let log = daemon_log::logger(daemon_log::to_stderr, Level::Info);
//! info!(log, "a request of {} bytes", 17; "peer" => "127.0.0.1");
//! ```

use std::cell::RefCell;
use std::io::{self, Write};

use slog::{Drain, Level, Logger, OwnedKVList, Record, o};
use slog_term::{Decorator, FullFormat, RecordDecorator};

/// A function that writes a whole line.
pub type WriteLine = fn(&[u8]) -> io::Result<()>;

/// Writes a line to standard error with one write(2). Calls write(2) again only if the first call
/// wrote less than the whole line.
///
/// # Errors
///
/// The error of write(2).
pub fn to_stderr(line: &[u8]) -> io::Result<()> {
    io::stderr().write_all(line)
}

/// Creates a logger for records of this level and more severe ones, with UTC timestamps. Each
/// record is written with one call of `write`.
///
/// A record that cannot be written is lost, because there is no other output for it and because a
/// failed write must not stop a daemon.
pub fn logger(write: WriteLine, level: Level) -> Logger {
    let lines =
        FullFormat::new(SingleWrite(write)).use_utc_timestamp().use_original_order().build();
    Logger::root(FormatDrain(lines).filter_level(level).ignore_res(), o!())
}

/// A drain with slog-term's format and without a lock. No lock is needed, because each record is
/// one write even if several threads log.
struct FormatDrain(FullFormat<SingleWrite>);

impl Drain for FormatDrain {
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
        self.0.log(record, values)
    }
}

/// Collects the pieces of a record and writes them with one write.
struct SingleWrite(WriteLine);

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Decorator for SingleWrite {
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
        let mut pieces = RecordBuffer(line);
        let written = write(&mut pieces).and_then(|()| (self.0)(&pieces.0));
        let _gone_at_thread_exit = LINE.try_with(|kept| kept.replace(pieces.0));
        written
    }
}

struct RecordBuffer(Vec<u8>);

impl Write for RecordBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RecordDecorator for RecordBuffer {
    fn reset(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
