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

use std::borrow::Cow;
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

/// Returns the record with its control characters escaped. They could otherwise forge records, or
/// control the terminal of a person who reads the log. A line of a value with several lines begins
/// with a tab, except the first, so that it does not look like a record.
fn printable(record: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = match record.strip_suffix(b"\n") {
        Some(text) => (text, "\n"),
        None => (record, ""),
    };
    // These bytes begin all characters that are escaped, and some others.
    if !text.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127 | 0xc2 | 0xe2)) {
        return Cow::Borrowed(record);
    }
    let mut printable = String::with_capacity(record.len() + 64);
    for letter in String::from_utf8_lossy(text).chars() {
        match letter {
            '\t' => printable.push('\t'),
            '\n' => printable.push_str("\n\t"),
            letter if is_control(letter) => printable.extend(letter.escape_default()),
            letter => printable.push(letter),
        }
    }
    printable.push_str(end);
    Cow::Owned(printable.into_bytes())
}

/// Returns whether a character controls a terminal or the direction of text.
fn is_control(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
        let mut pieces = RecordBuffer { line, cut: 0 };
        let written =
            write(&mut pieces).and_then(|()| (self.0)(&printable(pieces.finish().as_slice())));
        pieces.line.shrink_to(KEPT_MAX);
        let _gone_at_thread_exit = LINE.try_with(|kept| kept.replace(pieces.line));
        written
    }
}

/// The maximum length of a record in bytes. The rest of a longer record is not written, because a
/// part of a record can come from a process that prints without end.
const RECORD_MAX: usize = 256 * 1024;

/// The memory that is kept for the next record.
const KEPT_MAX: usize = 16 * 1024;

struct RecordBuffer {
    line: Vec<u8>,
    /// The number of bytes that did not fit.
    cut: usize,
}

impl RecordBuffer {
    /// Returns the whole record. If it was too long, its end says by how much.
    fn finish(&mut self) -> &mut Vec<u8> {
        if self.cut > 0 {
            let end = format!("... ({} more bytes)\n", self.cut - 1);
            self.line.extend_from_slice(end.as_bytes());
        }
        &mut self.line
    }
}

impl Write for RecordBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = RECORD_MAX.saturating_sub(self.line.len());
        let (fitting, rest) = bytes.split_at(room.min(bytes.len()));
        self.line.extend_from_slice(fitting);
        self.cut += rest.len();
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
