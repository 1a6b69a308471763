//! The default logger.

use std::io::{LineWriter, stderr};
use std::sync::Mutex;

use slog::{Drain, Level, Logger, o};
use slog_term::{FullFormat, PlainDecorator};

/// To standard error, a record a line and a write.
pub(crate) fn default_logger() -> Logger {
    let lines = PlainDecorator::new(LineWriter::new(stderr()));
    let lines = FullFormat::new(lines).use_utc_timestamp().use_original_order().build();
    // A record that cannot be written has nowhere else to go, and must not end the service.
    let drain = Mutex::new(lines).ignore_res().filter_level(Level::Info).ignore_res();
    Logger::root(drain, o!())
}
