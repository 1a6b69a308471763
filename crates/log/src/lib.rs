//! The default logger: slog-term's format, and a record is one line and one write.
//!
//! slog-term writes a record in some twenty pieces. Here they are collected, so that the lines of
//! several processes do not mix in one `O_APPEND` file, however long they are.
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

/// Writes a whole line.
pub type WriteLine = fn(&[u8]) -> io::Result<()>;

/// Writes a line to standard error: one write(2), and more only if the system takes a part.
///
/// # Errors
///
/// What write(2) says.
pub fn to_stderr(line: &[u8]) -> io::Result<()> {
    io::stderr().write_all(line)
}

/// A logger of records of this level and graver ones, in UTC, each by one call of `write`.
///
/// A record that cannot be written has nowhere else to go, and is lost: it must not end a daemon.
pub fn logger(write: WriteLine, level: Level) -> Logger {
    let lines = FullFormat::new(OneWrite(write)).use_utc_timestamp().use_original_order().build();
    Logger::root(Lines(lines).filter_level(level).ignore_res(), o!())
}

/// slog-term's format as a drain without a lock: a process of ours logs from one thread at a time
/// or, from several, a write a record each.
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

#[cfg(test)]
mod tests;
