//! The log: a file, by default beside the program, and the event log of Windows.

use std::fmt::{self, Write};
use std::fs::File;
use std::io::{self, LineWriter};
use std::sync::Mutex;

use daemon_winsys::eventlog::{EventLog, Severity};
use slog::{Drain, Duplicate, KV, Key, Level, Logger, OwnedKVList, Record, Serializer, o};
use slog_term::{FullFormat, PlainSyncDecorator};

use super::commands::ServeOptions;

/// Opens the log file and the event log, and returns a logger that writes to both.
///
/// # Errors
///
/// The error of the log that cannot be opened.
pub(super) fn open(options: &ServeOptions) -> io::Result<Logger> {
    let file = File::options().create(true).append(true).open(&options.log)?;
    let lines = FullFormat::new(PlainSyncDecorator::new(LineWriter::new(file)));
    let lines = lines.use_utc_timestamp().use_original_order().build();
    let events = EventLogDrain(EventLog::open(&options.name)?);
    // If a record cannot be written it is lost, because a failed write must not end the service.
    let both = Duplicate::new(lines.ignore_res(), events.ignore_res());
    Ok(Logger::root(Mutex::new(both).ignore_res(), o!()))
}

/// Writes the records of level info and above to the event log, each with its message and keys.
struct EventLogDrain(EventLog);

impl Drain for EventLogDrain {
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> io::Result<()> {
        let severity = match record.level() {
            Level::Critical | Level::Error => Severity::Error,
            Level::Warning => Severity::Warning,
            Level::Info => Severity::Information,
            Level::Debug | Level::Trace => return Ok(()),
        };
        let mut text = EventText(record.msg().to_string());
        record.kv().serialize(record, &mut text).map_err(io::Error::other)?;
        self.0.report(severity, &text.0)
    }
}

/// The text of an event: the message, followed by `, key: value` for each key.
struct EventText(String);

impl Serializer for EventText {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, ", {key}: {value}")?;
        Ok(())
    }
}
