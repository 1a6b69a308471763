//! Tests of daemonctl with a scoreboard file while no daemon answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_core::{
    MonotonicTime, Scoreboard, ScoreboardLine, Seat, SlotNumber, Status, WakeParent, lines_for,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::fake::FakeDaemon;
use crate::run::{daemonctl, decoded, run};

/// A scoreboard file with eight slots and two children.
pub(crate) struct TestBoard {
    directory: TempDir,
    pub(crate) busy: Seat<NoWakeup>,
}

pub(crate) struct NoWakeup;

impl WakeParent for NoWakeup {
    fn wake(&self) {}
}

pub(crate) fn now() -> MonotonicTime {
    MonotonicTime::from_since_boot(daemon_sys::clock::monotonic())
}

impl TestBoard {
    pub(crate) fn new() -> TestBoard {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let count = lines_for(8).expect("a valid scoreboard");
        let path = directory.path().join("board");
        let lines = daemon_sys::shared::in_file::<ScoreboardLine>(&path, count)
            .expect("the file is mapped");
        let started = MonotonicTime::from_since_boot(
            daemon_sys::clock::monotonic().saturating_sub(Duration::from_secs(1)),
        );
        let board = Scoreboard::format(lines, 8, started).expect("a valid scoreboard");
        board.set_phase(daemon_core::Phase::Running);
        let take_seat = |slot: u32, pid: u32, status: Status| {
            let slot = SlotNumber::new(slot);
            let generation = board.open_slot(slot, now()).expect("an empty slot");
            let seat = Seat::take(board.reader(), slot, generation, pid, now(), NoWakeup);
            let seat = seat.expect("a free seat");
            seat.report(status, now()).expect("a legal transition");
            seat
        };
        take_seat(0, 4711, Status::Fresh);
        let busy = take_seat(2, 4713, Status::Serving);
        busy.set_label(b"GET /slow");
        TestBoard { directory, busy }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("board")
    }
}

fn status(arguments: &[&str], board: &Path) -> crate::run::CommandOutput {
    let output = daemonctl().args(arguments).arg("--board").arg(board).output();
    decoded(&output.expect("daemonctl runs"))
}

#[test]
fn a_scoreboard_is_read_without_the_daemon() {
    let board = TestBoard::new();
    let output = status(&["status"], &board.path());
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.out.contains("[. r     ]"), "{output:?}");
    assert!(output.out.contains("4713") && output.out.contains("GET /slow"), "{output:?}");
    let output = status(&["status", "--json"], &board.path());
    let value: Value = serde_json::from_str(&output.out).expect("JSON");
    assert_eq!(value["children"][1]["pid"], 4713);
    assert_eq!(value["phase"], "running");
    assert!(value["up"].as_f64().is_some_and(|up| up >= 1.0), "{value}");
    board.busy.set_label(b"done");
    assert!(status(&["status"], &board.path()).out.contains("done"));
}

#[test]
fn metrics_cannot_be_printed_from_a_scoreboard_file() {
    let output = status(&["status", "--metrics"], &TestBoard::new().path());
    assert_eq!((output.code, output.err.contains("a scoreboard file has no counters")), (2, true));
}

#[test]
fn the_scoreboard_of_a_daemon_that_hangs_is_printed_with_a_note() {
    let board = TestBoard::new();
    let hung = FakeDaemon::serving(|mut client| client.read_and_wait_for_close());
    let mut command = daemonctl();
    command.arg("--socket").arg(hung.socket()).arg("--board").arg(board.path());
    let output =
        decoded(&command.args(["--timeout", "0.2", "status"]).output().expect("daemonctl runs"));
    assert_eq!((output.code, output.out.contains("GET /slow")), (4, true), "{output:?}");
    assert!(
        output.err.contains(
            "did not answer within 200ms\ndaemonctl: showing the scoreboard file instead"
        ),
        "{output:?}"
    );
}

#[test]
fn the_connection_error_is_printed_if_the_scoreboard_is_missing_too() {
    let output =
        run(["--socket", "/nonexistent/control", "--board", "/nonexistent/board", "status"]);
    assert_eq!((output.code, output.out.as_str()), (4, ""), "{output:?}");
    assert!(output.err.contains("cannot connect to /nonexistent/control"), "{output:?}");
}

#[test]
fn an_unusable_scoreboard_file_is_rejected_with_the_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("board");
    let output = status(&["status"], &path);
    assert_eq!(
        (output.code, output.err.contains("cannot read shared file")),
        (4, true),
        "{output:?}"
    );
    fs::write(&path, [b'x'; 200]).expect("writing succeeds");
    let output = status(&["status"], &path);
    assert_eq!(
        (output.code, output.err.contains("200 bytes is not a multiple")),
        (4, true),
        "{output:?}"
    );
    fs::write(&path, [b'x'; 1280]).expect("writing succeeds");
    let output = status(&["status"], &path);
    assert_eq!((output.code, output.err.contains("as a scoreboard")), (4, true), "{output:?}");
    assert_eq!(run(["--board", "/", "status"]).code, 4);
}
