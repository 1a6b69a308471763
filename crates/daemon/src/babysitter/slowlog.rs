//! The slow log: a file to which evidence is appended. If no file is configured, evidence is
//! written to the daemon's log.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use slog::{Logger, warn};

use daemon_protocol::Evidence;

#[derive(Debug, Clone)]
pub(crate) struct SlowLog {
    path: Option<PathBuf>,
}

impl SlowLog {
    pub(crate) fn new(path: Option<PathBuf>) -> SlowLog {
        SlowLog { path }
    }

    /// Writes one record. The file is opened for each record, because records are rare and the file
    /// can then be rotated at any time. If the file cannot be written, the evidence is written to
    /// the daemon's log.
    fn write(&self, evidence: &Evidence, reason: &str, log: &Logger) {
        let Some(path) = &self.path else {
            log_evidence(evidence, reason, log);
            return;
        };
        let record = format!("{evidence}reason: {reason}\n\n");
        let opened = OpenOptions::new().append(true).create(true).open(path);
        if let Err(error) = opened.and_then(|mut file| file.write_all(record.as_bytes())) {
            let path = path.display().to_string();
            warn!(log, "cannot append to the slow log"; "path" => path, "error" => error.to_string());
            log_evidence(evidence, reason, log);
        }
    }
}

/// A record of the slow log that is not written yet. It is written when this value is dropped, so
/// that no record is lost when the runtime drops its tasks at its end.
#[derive(Debug)]
pub(super) struct PendingRecord {
    pub(super) evidence: Evidence,
    pub(super) reason: String,
    pub(super) slowlog: SlowLog,
    pub(super) log: Logger,
}

impl Drop for PendingRecord {
    fn drop(&mut self) {
        self.slowlog.write(&self.evidence, &self.reason, &self.log);
    }
}

fn log_evidence(evidence: &Evidence, reason: &str, log: &Logger) {
    warn!(log, "evidence"; "reason" => reason, "evidence" => evidence.to_string());
}
