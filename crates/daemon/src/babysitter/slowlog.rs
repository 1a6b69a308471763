//! Where evidence is written: a file of its own, or the log.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use slog::{Logger, warn};

use crate::evidence::Evidence;

/// The slow log.
#[derive(Debug, Clone)]
pub(crate) struct SlowLog {
    path: Option<PathBuf>,
}

impl SlowLog {
    pub(crate) fn new(path: Option<PathBuf>) -> SlowLog {
        SlowLog { path }
    }

    /// Writes one record. The file is opened each time: such records are rare, and whoever moves
    /// the file away need not tell. What the file does not take, the log gets: no record is lost.
    pub(super) fn write(&self, evidence: &Evidence, why: &str, log: &Logger) {
        let Some(path) = &self.path else {
            warn!(log, "{}\n{}", why, evidence);
            return;
        };
        let record = format!("{evidence}why: {why}\n\n");
        let opened = OpenOptions::new().append(true).create(true).open(path);
        if let Err(error) = opened.and_then(|mut file| file.write_all(record.as_bytes())) {
            warn!(log, "cannot append to the slow log {}: {}", path.display(), error);
            warn!(log, "{}\n{}", why, evidence);
        }
    }
}
