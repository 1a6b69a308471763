//! Tests the text of the default logger and the number of its writes.

use std::cell::RefCell;

use slog::{debug, error, info};

use super::*;

thread_local! {
    static WRITTEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note(line: &[u8]) -> io::Result<()> {
    let line = String::from_utf8(line.to_vec()).map_err(io::Error::other)?;
    WRITTEN.with_borrow_mut(|written| written.push(line));
    Ok(())
}

fn fail(_line: &[u8]) -> io::Result<()> {
    Err(io::Error::other("the disk is full"))
}

fn written() -> Vec<String> {
    WRITTEN.take()
}

#[test]
fn a_record_is_one_line_in_one_write_with_level_role_pid_and_slot() {
    let root = logger(note, Level::Info);
    let log = root.new(o!("role" => "child", "pid" => 4711, "slot" => 3));
    info!(log, "a request of {} bytes", 17; "peer" => "127.0.0.1");
    error!(log, "gone");
    let lines = written();
    assert_eq!(lines.len(), 2, "one write for each record");
    for line in &lines {
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?}");
        for part in ["role: child", "pid: 4711", "slot: 3"] {
            assert!(line.contains(part), "{part} is not in {line:?}");
        }
    }
    assert!(lines[0].contains("INFO a request of 17 bytes"));
    assert!(lines[0].contains("peer: 127.0.0.1"));
    assert!(lines[1].contains("ERRO gone"));
}

#[test]
fn a_long_record_is_one_write() {
    info!(logger(note, Level::Info), "{}", "x".repeat(100_000));
    let lines = written();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].len() > 100_000);
}

#[test]
fn records_below_the_level_are_not_written() {
    debug!(logger(note, Level::Info), "detail");
    assert_eq!(written(), [""; 0]);
    debug!(logger(note, Level::Debug), "detail");
    assert_eq!(written().len(), 1);
}

#[test]
fn a_failed_write_loses_only_its_own_record() {
    info!(logger(fail, Level::Info), "lost");
    info!(logger(note, Level::Info), "kept");
    let lines = written();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("kept") && !lines[0].contains("lost"));
}

#[test]
fn control_characters_cannot_forge_records_or_control_a_terminal() {
    let log = logger(note, Level::Info);
    let printed = "a\x1b[2Jb\u{9b}c\rd\u{202e}e\tf\0\nJan 01 00:00:00.000 INFO forged";
    info!(log, "worker output"; "line" => printed);
    info!(log, "plain text with umlauts: ä\u{2026}");
    let lines = written();
    let escaped =
        "line: a\\u{1b}[2Jb\\u{9b}c\\rd\\u{202e}e\tf\\u{0}\n\tJan 01 00:00:00.000 INFO forged\n";
    assert!(lines[0].ends_with(escaped), "{:?}", lines[0]);
    assert!(lines[1].ends_with("umlauts: ä\u{2026}\n"), "{:?}", lines[1]);
}

#[test]
fn a_record_without_bound_is_cut() {
    let log = logger(note, Level::Info);
    info!(log, "x"; "text" => "y".repeat(3 * RECORD_MAX));
    info!(log, "next");
    let lines = written();
    assert!(lines[0].len() < RECORD_MAX + 40, "{}", lines[0].len());
    let rest = lines[0].rsplit_once("... (").map(|(_start, rest)| rest).unwrap();
    let cut: usize = rest.strip_suffix(" more bytes)\n").unwrap().parse().unwrap();
    let start = lines[0].find("yyy").unwrap();
    assert_eq!(RECORD_MAX - start + cut, 3 * RECORD_MAX);
    assert!(lines[1].ends_with("next\n"));
}
