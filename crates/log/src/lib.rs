//! The default logger. It has the format of slog-term, writes each record as one line with one
//! write, and never waits for the output.
//!
//! slog-term writes a record in about twenty pieces. This crate collects the pieces, so that the
//! lines of several processes do not mix in one `O_APPEND` file, however long the lines are. The
//! lines go to a [`Sink`], which keeps or drops what the output does not accept.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//!
//! use daemon_log::Sink;
//! use slog::{Level, info};
//!
//! let sink = Arc::new(Sink::new(std::io::stderr()));
//! let log = daemon_log::logger(Arc::clone(&sink), Level::Info);
//! info!(log, "a request of {} bytes", 17; "peer" => "127.0.0.1");
//! assert_eq!(sink.dropped(), 0);
//! ```

mod sink;

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, Write};
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};

use slog::{Drain, Level, Logger, OwnedKVList, Record, b, o, record_static};
use slog_term::{Decorator, FullFormat, RecordDecorator};

pub use sink::{Flushed, SharedCounters, Sink, WAITING_MAX};

/// Creates a logger for records of this level and more severe ones, with UTC timestamps. Each
/// record is one line of the sink.
///
/// A record that cannot be written is dropped, because there is no other output for it and because
/// the log must not stop a daemon. The next record that can be written comes after a record `log
/// records dropped`, whose key `count` is the number of dropped ones.
pub fn logger<S, W>(sink: S, level: Level) -> Logger
where
    S: Deref<Target = Sink<W>> + Send + Sync + UnwindSafe + RefUnwindSafe + 'static,
    W: Write + Send + 'static,
{
    let lines = FullFormat::new(WholeRecord).use_utc_timestamp().use_original_order().build();
    Logger::root(SinkDrain { lines, sink }.filter_level(level).ignore_res(), o!())
}

/// A drain with slog-term's format.
struct SinkDrain<S> {
    lines: FullFormat<WholeRecord>,
    sink: S,
}

impl<S, W> Drain for SinkDrain<S>
where
    S: Deref<Target = Sink<W>>,
    W: Write,
{
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
        self.lines.log(record, values)?;
        let mut line = take_record();
        let unreported = self.sink.take_unreported();
        if unreported > 0 {
            let position = record_static!(Level::Warning, "");
            let message = format_args!("log records dropped");
            let pairs = b!("count" => unreported);
            self.lines.log(&Record::new(&position, &message, pairs), values)?;
            let mut report = take_record();
            report.append(&mut line);
            line = report;
        }
        self.sink.write_report(&line, unreported);
        keep_buffer(line);
        Ok(())
    }
}

thread_local! {
    /// The last record that was formatted, or the buffer for the next one.
    static RECORD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn take_record() -> Vec<u8> {
    RECORD.try_with(RefCell::take).unwrap_or_default()
}

fn keep_buffer(mut record: Vec<u8>) {
    record.shrink_to(KEPT_MAX);
    let _gone_at_thread_exit = RECORD.try_with(|kept| kept.replace(record));
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

/// Collects the pieces of a record. The record is then taken with [`take_record`].
struct WholeRecord;

impl Decorator for WholeRecord {
    fn with_record<F>(
        &self,
        _record: &Record<'_>,
        _values: &OwnedKVList,
        write: F,
    ) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        let mut pieces = RecordBuffer { line: take_record(), cut: 0 };
        pieces.line.clear();
        write(&mut pieces)?;
        let mut record = pieces.finish();
        if let Cow::Owned(escaped) = printable(&record) {
            record = escaped;
        }
        let _gone_at_thread_exit = RECORD.try_with(|last| last.replace(record));
        Ok(())
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
    fn finish(mut self) -> Vec<u8> {
        if self.cut > 0 {
            let end = format!("... ({} more bytes)\n", self.cut - 1);
            self.line.extend_from_slice(end.as_bytes());
        }
        self.line
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
