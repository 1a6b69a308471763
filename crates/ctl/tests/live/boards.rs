//! A scoreboard's file, without a daemon that answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_core::{
    MonotonicTime, Scoreboard, ScoreboardLine, Seat, SlotNumber, Status, WakeParent, lines_for,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::fake::Fake;
use crate::run::{daemonctl, run, said};

/// A scoreboard as a daemon keeps it, of eight slots and two children.
pub(crate) struct Kept {
    directory: TempDir,
    pub(crate) busy: Seat<NoBell>,
}

pub(crate) struct NoBell;

impl WakeParent for NoBell {
    fn wake(&self) {}
}

pub(crate) fn now() -> MonotonicTime {
    MonotonicTime::from_since_boot(daemon_sys::clock::monotonic())
}

impl Kept {
    pub(crate) fn new() -> Kept {
        let directory = tempfile::tempdir().expect("a directory");
        let count = lines_for(8).expect("a board");
        let path = directory.path().join("board");
        let lines = daemon_sys::shared::in_file::<ScoreboardLine>(&path, count).expect("it maps");
        let started = MonotonicTime::from_since_boot(
            daemon_sys::clock::monotonic().saturating_sub(Duration::from_secs(1)),
        );
        let board = Scoreboard::format(lines, 8, started).expect("a board");
        board.set_phase(daemon_core::Phase::Running);
        let sit = |slot: u32, pid: u32, status: Status| {
            let slot = SlotNumber::new(slot);
            let generation = board.open_slot(slot, now()).expect("it is empty");
            let seat = Seat::take(board.reader(), slot, generation, pid, now(), NoBell);
            let seat = seat.expect("it is free");
            seat.report(status, now()).expect("a legal move");
            seat
        };
        sit(0, 4711, Status::Fresh);
        let busy = sit(2, 4713, Status::Serving);
        busy.set_label(b"GET /slow");
        Kept { directory, busy }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("board")
    }
}

fn status(arguments: &[&str], board: &Path) -> crate::run::Said {
    let output = daemonctl().args(arguments).arg("--board").arg(board).output();
    said(&output.expect("it runs"))
}

#[test]
fn a_scoreboard_is_read_without_the_daemon() {
    let kept = Kept::new();
    let said = status(&["status"], &kept.path());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("[. r     ]"), "{said:?}");
    assert!(said.out.contains("4713") && said.out.contains("GET /slow"), "{said:?}");
    let said = status(&["status", "--json"], &kept.path());
    let value: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(value["children"][1]["pid"], 4713);
    assert_eq!(value["phase"], "running");
    assert!(value["up"].as_f64().is_some_and(|up| up >= 1.0), "{value}");
    kept.busy.set_label(b"done");
    assert!(status(&["status"], &kept.path()).out.contains("done"));
}

#[test]
fn metrics_are_not_made_of_a_scoreboard() {
    let said = status(&["status", "--metrics"], &Kept::new().path());
    assert_eq!((said.code, said.err.contains("only the daemon has the counters")), (2, true));
}

#[test]
fn a_daemon_that_hangs_is_shown_by_its_scoreboard_and_a_note_says_so() {
    let kept = Kept::new();
    let hung = Fake::serving(|mut client| client.be_silent_after_asked());
    let mut command = daemonctl();
    command.arg("--socket").arg(hung.socket()).arg("--board").arg(kept.path());
    let said = said(&command.args(["--timeout", "0.2", "status"]).output().expect("it runs"));
    assert_eq!((said.code, said.out.contains("GET /slow")), (4, true), "{said:?}");
    assert!(said.err.contains("has not answered within 0.2 s; this is what"), "{said:?}");
}

#[test]
fn a_daemon_that_is_missed_is_told_of_where_its_scoreboard_is_missing_too() {
    let said = run(["--socket", "/nonexistent/control", "--board", "/nonexistent/board", "status"]);
    assert_eq!((said.code, said.out.as_str()), (4, ""), "{said:?}");
    assert!(said.err.contains("cannot connect to /nonexistent/control"), "{said:?}");
}

#[test]
fn what_is_no_scoreboard_is_refused_with_its_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("board");
    let said = status(&["status"], &path);
    assert_eq!((said.code, said.err.contains("open shared file")), (4, true), "{said:?}");
    fs::write(&path, [b'x'; 200]).expect("ours");
    let said = status(&["status"], &path);
    assert_eq!((said.code, said.err.contains("200 bytes are no multiple")), (4, true), "{said:?}");
    fs::write(&path, [b'x'; 1280]).expect("ours");
    let said = status(&["status"], &path);
    assert_eq!((said.code, said.err.contains("as a scoreboard")), (4, true), "{said:?}");
    assert_eq!(run(["--board", "/", "status"]).code, 4);
}
