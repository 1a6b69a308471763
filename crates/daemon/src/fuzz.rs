//! Entry points of the fuzz targets, see `fuzz/` in the repository: what clients send to the
//! control socket, what the daemon sends to them, the status of a scoreboard that children have
//! damaged, and the files in `/proc` of a child.
//!
//! An input must never cause a panic.

use std::time::Duration;

use daemon_core::fuzz::damaged_board;
use daemon_core::{MonotonicTime, format};
use daemon_protocol::{
    ControlMessage, ControlReply, Counters, ModelKind, Report, Reporter, ResponseBody,
};

use crate::control;

/// Parses lines as requests of clients.
pub fn control_request(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let _command = control::parse_request(line);
    }
}

/// Parses bytes as a line from the daemon, as clients do, and shows the status that it contains.
pub fn control_message(bytes: &[u8]) {
    let Ok(message) = serde_json::from_slice::<ControlMessage>(bytes) else { return };
    if let ResponseBody::Ok(ControlReply::Status { report }) = &message.body {
        show(report);
    }
    let encoded = serde_json::to_vec(&message).expect("a message that was parsed can be encoded");
    assert!(!encoded.contains(&b'\n'), "a message is one line");
}

/// Reports the status of a scoreboard with arbitrary contents.
pub fn report(bytes: &[u8]) {
    let mut report = Report::new("fuzz".to_owned(), ModelKind::PreFork, Reporter::Parent, 7);
    let now = MonotonicTime::from_since_boot(Duration::from_secs(1000));
    let board = damaged_board(bytes);
    report.add_board(board, &board.entries().collect::<Vec<_>>(), now);
    let mut counters = Counters::default();
    counters.requests = u64::MAX;
    report.add_counters(counters);
    show(&report);
    let encoded = serde_json::to_vec(&report).expect("a report can be encoded");
    let _decoded: Report = serde_json::from_slice(&encoded).expect("a report can be decoded");
}

/// Reads bytes as files in `/proc`: of a child, and of this process's control group.
pub fn proc_files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    crate::process_table::parse_files(&text);
    crate::parent::parse_oom_kills(&text);
}

fn show(report: &Report) {
    for text in [report.to_string(), report.table().to_string()] {
        let is_control = |character| format::is_control(character) && character != '\n';
        assert!(!text.contains(is_control), "no control characters reach the terminal: {text:?}");
    }
    let _metrics = report.open_metrics();
    let _words = report.accepting_words();
}

#[cfg(test)]
#[path = "../../../tests/fuzzing.rs"]
mod fuzzing;

#[cfg(test)]
mod tests {
    use super::fuzzing::decodes_any_bytes;
    use super::*;

    #[test]
    fn the_status_in_the_corpus_is_a_valid_message() {
        let line = include_bytes!("../../../fuzz/corpus/control_message/status");
        let message: ControlMessage = serde_json::from_slice(line).expect("a valid message");
        let ResponseBody::Ok(ControlReply::Status { report }) = message.body else {
            panic!("not a status");
        };
        assert_eq!(report.children.len(), 1);
    }

    #[test]
    fn requests_to_the_control_socket_are_parsed_or_refused() {
        decodes_any_bytes("control_request", super::control_request);
    }

    #[test]
    fn lines_from_the_control_socket_are_parsed_and_shown_or_refused() {
        decodes_any_bytes("control_message", super::control_message);
    }

    #[test]
    fn the_status_of_a_scoreboard_that_children_have_damaged_is_shown() {
        decodes_any_bytes("report", super::report);
    }

    #[test]
    fn files_in_proc_with_arbitrary_contents_are_read() {
        decodes_any_bytes("proc_files", super::proc_files);
    }
}
