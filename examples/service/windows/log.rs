//! The log: a file beside the program, and what is grave to the event log too.

use std::fs::File;
use std::io::{self, LineWriter};
use std::sync::Mutex;

use daemon_winsys::eventlog::{EventLog, Gravity};
use slog::{Drain, Duplicate, Level, Logger, OwnedKVList, Record, o};
use slog_term::{FullFormat, PlainSyncDecorator};

use super::commands::Place;

/// Opens both.
///
/// # Errors
///
/// Why one of them cannot be opened.
pub(super) fn open(place: &Place) -> io::Result<Logger> {
    let file = File::options().create(true).append(true).open(&place.log)?;
    let lines = FullFormat::new(PlainSyncDecorator::new(LineWriter::new(file)));
    let lines = lines.use_utc_timestamp().use_original_order().build();
    let events = Events(EventLog::open(&place.name)?);
    // A record that cannot be written has nowhere else to go, and must not end the service.
    let both = Duplicate::new(lines.ignore_res(), events.ignore_res());
    Ok(Logger::root(Mutex::new(both).ignore_res(), o!()))
}

/// The event log as a drain.
struct Events(EventLog);

impl Drain for Events {
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> io::Result<()> {
        let gravity = match record.level() {
            Level::Critical | Level::Error => Gravity::Error,
            Level::Warning => Gravity::Warning,
            Level::Info => Gravity::Information,
            Level::Debug | Level::Trace => return Ok(()),
        };
        self.0.report(gravity, &record.msg().to_string())
    }
}
