//! Scenarios of forks and exits, and of the scoreboard.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use daemon_forkserver::core::{
    Exit, Label, Phase, ScoreboardLine, ScoreboardReader, SlotFault, Status, lines_for,
};
use daemon_forkserver::sys::process::{Signal, group_of, parent_pid, this_pid};
use daemon_forkserver::sys::shared;
use daemon_forkserver::{ChildStart, ForkServerBuilder, ForkServerEvent, now};

use super::support::{
    GRACE, TestServer, closure_program, exit_by, receive_byte, send_byte, sleep_until_killed,
};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "each_child_is_reported_once_as_forked_and_then_once_as_exited",
        forked_is_reported_before_exited,
    ),
    ("a_child_exits_with_its_return_value_or_with_101_after_a_panic", exit_codes),
    ("a_child_has_the_fork_server_as_parent_and_leads_a_process_group", parent_and_process_group),
    (
        "a_killed_child_frees_its_slot_and_its_last_status_is_reported",
        a_killed_child_frees_its_slot,
    ),
    (
        "a_label_that_a_killed_child_left_half_written_is_reported_and_repaired",
        a_torn_label_is_repaired,
    ),
    ("a_scoreboard_file_is_readable_while_the_fork_server_runs_and_afterwards", scoreboard_file),
    ("a_status_report_of_a_child_wakes_a_sleeping_parent", a_report_wakes_the_parent),
];

fn forked_is_reported_before_exited() {
    const CHILDREN: usize = 300;
    let mut server = TestServer::new(8, closure_program(|_start: ChildStart<()>| 0));
    let (mut requested, mut gone) = (0, 0);
    let mut alive = HashSet::new();
    let mut pids = HashSet::new();
    while gone < CHILDREN {
        while requested < CHILDREN && server.fork_server.fork(()).is_ok() {
            requested += 1;
        }
        match server.next_event() {
            ForkServerEvent::Forked { child, pid } => {
                assert!(alive.insert((child, pid)));
                pids.insert(pid);
            }
            ForkServerEvent::Exited { child, pid, .. } => {
                assert!(alive.remove(&(child, pid)), "exited was reported before forked");
                gone += 1;
            }
            _ => panic!("unexpected ForkFailed"),
        }
    }
    assert!(alive.is_empty());
    assert_eq!((requested, pids.len()), (CHILDREN, CHILDREN));
    server.shut_down();
}

fn exit_codes() {
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<String>| match start.request.as_deref() {
            Ok("panic") => panic!("requested by the test"),
            Ok(code) => code.parse().expect("the request is a number"),
            Err(_) => -1,
        }),
    );
    for (word, code) in [("0", 0), ("7", 7), ("255", 255), ("panic", 101)] {
        server.fork(word.into());
        assert_eq!(server.exit_of_next_child(), Exit::Code(code), "{word}");
    }
    server.shut_down();
}

fn parent_and_process_group() {
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<()>| {
            let mine = parent_pid() == Some(start.fork_server);
            let leads = group_of(this_pid()) == Some(this_pid());
            i32::from(!(mine && leads))
        }),
    );
    let fork_server = server.fork_server.pid();
    assert_eq!(group_of(fork_server), Some(fork_server));
    assert_ne!(group_of(this_pid()), Some(fork_server));
    server.fork(());
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    server.shut_down();
}

/// Reports that the child is serving a request, and waits until the child is killed.
fn report_serving(start: ChildStart<UnixStream>) -> i32 {
    let line = start.request.expect("the request decodes");
    start.seat.report(Status::Serving, now()).expect("the status change is allowed");
    start.seat.set_label(b"GET /index.html");
    send_byte(&line);
    sleep_until_killed()
}

fn a_killed_child_frees_its_slot() {
    let mut server = TestServer::new(4, closure_program(report_serving));
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    let child = server.fork(near);
    let (forked, pid) = server.next_forked();
    assert_eq!(forked, child);
    assert!(receive_byte(&far));
    let entry = server.fork_server.board().read(child.slot);
    assert_eq!(i64::from(entry.pid), i64::from(pid.as_raw()));
    assert_eq!(server.fork_server.board().letters(), "r   ");

    server.fork_server.signal(child, Signal::Kill).expect("the command is sent");
    let (gone, exit, last) = server.next_exited();
    assert_eq!((gone, exit), (child, exit_by(Signal::Kill)));
    assert_eq!((last.status, last.requests), (Some(Status::Serving), 1));
    assert!(matches!(last.label, Label::Text(text) if text.as_bytes() == b"GET /index.html"));
    assert_eq!((last.fault, last.pid), (None, entry.pid));
    assert_eq!(server.fork_server.board().letters(), "    ");

    let (near, _far) = UnixStream::pair().expect("a socket pair opens");
    let next = server.fork(near);
    assert_eq!(next.slot, child.slot);
    assert_eq!(next.generation, child.generation.next());
    server.shut_down();
}

/// Returns the offset in bytes of a slot's word in a scoreboard file.
fn word_offset(slots: u32, slot: u32, word: usize) -> u64 {
    let first = lines_for(slots).expect("the number is small") - slots as usize;
    ((first + slot as usize) * size_of::<ScoreboardLine>() + word * size_of::<u64>()) as u64
}

fn a_torn_label_is_repaired() {
    const GUARD: usize = 4;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("board");
    let builder = ForkServerBuilder::new(3).grace(GRACE).board_file(&path);
    let mut server = TestServer::with_builder(builder, closure_program(report_serving));
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    let child = server.fork(near);
    server.next_forked();
    assert!(receive_byte(&far));

    let file = OpenOptions::new().write(true).open(&path).expect("the file opens");
    let odd = 0x0fff_u64.to_ne_bytes();
    file.write_all_at(&odd, word_offset(3, child.slot.get(), GUARD)).expect("the file is written");
    let torn = server.fork_server.board().read(child.slot);
    assert_eq!(torn.label, Label::BeingWritten);

    server.fork_server.signal(child, Signal::Kill).expect("the command is sent");
    let (_child, _exit, last) = server.next_exited();
    assert_eq!(last.fault, Some(SlotFault::TornLabel));
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    let next = server.fork(near);
    assert_eq!(next.slot, child.slot);
    assert!(receive_byte(&far));
    let label = server.fork_server.board().read(next.slot).label;
    assert!(matches!(label, Label::Text(text) if text.as_bytes() == b"GET /index.html"));
    server.shut_down();
}

fn scoreboard_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("board");
    let builder = ForkServerBuilder::new(3).grace(GRACE).board_file(&path);
    let mut server = TestServer::with_builder(builder, closure_program(report_serving));
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    server.fork(near);
    server.next_forked();
    assert!(receive_byte(&far));
    server.fork_server.scoreboard().set_phase(Phase::Running);

    let outside = ScoreboardReader::open(
        shared::open_file::<ScoreboardLine>(&path).expect("the file is mapped"),
    )
    .expect("a valid scoreboard");
    assert_eq!((outside.slots(), outside.letters().as_str()), (3, "r  "));
    assert_eq!(outside.phase(), Phase::Running);
    server.shut_down();
    // The last contents stay readable after the fork server has exited.
    let after = ScoreboardReader::open(
        shared::open_file::<ScoreboardLine>(&path).expect("the file is mapped"),
    )
    .expect("a valid scoreboard");
    assert_eq!(after.slots(), 3);
}

fn a_report_wakes_the_parent() {
    use daemon_forkserver::core::ArmResult;
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<UnixStream>| {
            let line = start.request.expect("the request decodes");
            assert!(receive_byte(&line));
            start.seat.report(Status::Fresh, now()).expect("the status change is allowed");
            sleep_until_killed()
        }),
    );
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    let child = server.fork(near);
    server.next_forked();
    let mut changed = Vec::new();
    let armed = |server: &TestServer<UnixStream>, changed: &mut Vec<_>| {
        let scoreboard = server.fork_server.scoreboard();
        crate::scenarios::eventually("the wakeup is armed", || {
            scoreboard.drain_changes(|slot| changed.push(slot));
            scoreboard.arm_wakeup() == ArmResult::Armed
        });
    };
    armed(&server, &mut changed);
    send_byte(&far);
    let asleep = Instant::now();
    while server.fork_server.board().letters() != "." {
        // Without the wakeup, the wait would last for the whole timeout.
        let events = server.fork_server.wait(Some(Duration::from_secs(10)));
        assert!(events.expect("the fork server is running").is_empty());
        assert!(asleep.elapsed() < Duration::from_secs(5), "the report did not wake the parent");
        armed(&server, &mut changed);
    }
    assert!(changed.contains(&child.slot));
    server.shut_down();
}
