//! Scenarios of births, ends and the scoreboard in between.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use daemon_forkserver::core::{Board, Exit, Fault, Label, Line, Phase, Status, lines_for};
use daemon_forkserver::sys::process::{Pid, Signal, group_of};
use daemon_forkserver::sys::shared;
use daemon_forkserver::{ChildStart, ForkServerBuilder, ForkServerEvent, now};

use super::support::{
    GRACE, TestServer, closure_program, exit_by, receive_byte, send_byte, sleep_until_killed,
};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_birth_is_told_before_the_end_and_each_once", a_birth_is_told_before_the_end),
    ("an_exit_code_is_what_the_life_returns_and_a_panic_is_101", exit_codes),
    ("a_child_is_the_fork_server_s_in_its_process_group", a_child_is_the_fork_server_s),
    ("a_killed_child_frees_its_slot_and_its_last_word_is_told", a_killed_child_frees_its_slot),
    ("a_label_torn_by_a_death_is_told_and_repaired", a_torn_label_is_repaired),
    ("a_board_in_a_file_can_be_read_from_outside", a_board_can_be_read_from_outside),
    ("a_child_s_report_rings_a_parent_that_sleeps", a_report_rings),
];

fn a_birth_is_told_before_the_end() {
    const CHILDREN: usize = 300;
    let mut server = TestServer::of(8, closure_program(|_birth: ChildStart<()>| 0));
    let (mut ordered, mut gone) = (0, 0);
    let mut alive = HashSet::new();
    let mut pids = HashSet::new();
    while gone < CHILDREN {
        while ordered < CHILDREN && server.fork_server.fork(()).is_ok() {
            ordered += 1;
        }
        match server.next() {
            ForkServerEvent::Born { child, pid } => {
                assert!(alive.insert((child, pid)));
                pids.insert(pid);
            }
            ForkServerEvent::Exited { child, pid, .. } => {
                assert!(alive.remove(&(child, pid)), "its birth was not told");
                gone += 1;
            }
            _ => panic!("a fork failed"),
        }
    }
    assert!(alive.is_empty());
    assert_eq!((ordered, pids.len()), (CHILDREN, CHILDREN));
    server.shut_down();
}

fn exit_codes() {
    let mut server = TestServer::of(
        1,
        closure_program(|start: ChildStart<String>| match start.request.as_deref() {
            Ok("panic") => panic!("as told"),
            Ok(code) => code.parse().expect("a number"),
            Err(_) => -1,
        }),
    );
    for (word, code) in [("0", 0), ("7", 7), ("255", 255), ("panic", 101)] {
        server.fork(word.into());
        assert_eq!(server.exit_of_next_child(), Exit::Code(code), "{word}");
    }
    server.shut_down();
}

fn a_child_is_the_fork_server_s() {
    let mut server = TestServer::of(
        1,
        closure_program(|start: ChildStart<()>| {
            let mine = Pid::parent() == Some(start.fork_server);
            let grouped = group_of(Pid::this()) == Some(start.fork_server);
            i32::from(!(mine && grouped))
        }),
    );
    let fork_server = server.fork_server.pid();
    assert_eq!(group_of(fork_server), Some(fork_server));
    assert_ne!(group_of(Pid::this()), Some(fork_server));
    server.fork(());
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    server.shut_down();
}

/// A child that is in the middle of a request, and says so.
fn report_serving(start: ChildStart<UnixStream>) -> i32 {
    let line = start.request.expect("unpacked");
    start.seat.report(Status::Serving, now()).expect("allowed");
    start.seat.label(b"GET /index.html");
    send_byte(&line);
    sleep_until_killed()
}

fn a_killed_child_frees_its_slot() {
    let mut server = TestServer::of(4, closure_program(report_serving));
    let (near, far) = UnixStream::pair().expect("a pair");
    let child = server.fork(near);
    let (born, pid) = server.born();
    assert_eq!(born, child);
    assert!(receive_byte(&far));
    let entry = server.fork_server.board().read(child.slot);
    assert_eq!(i64::from(entry.pid), i64::from(pid.as_raw()));
    assert_eq!(server.fork_server.board().letters(), "r   ");

    server.fork_server.signal(child, Signal::Kill).expect("sent");
    let (gone, exit, last) = server.gone();
    assert_eq!((gone, exit), (child, exit_by(Signal::Kill)));
    assert_eq!((last.status, last.requests), (Some(Status::Serving), 1));
    assert!(matches!(last.label, Label::Text(text) if text.as_bytes() == b"GET /index.html"));
    assert_eq!((last.fault, last.pid), (None, entry.pid));
    assert_eq!(server.fork_server.board().letters(), "    ");

    let (near, _far) = UnixStream::pair().expect("a pair");
    let next = server.fork(near);
    assert_eq!(next.slot, child.slot);
    assert_eq!(next.generation, child.generation.next());
    server.shut_down();
}

/// Where a slot's word is in a board's file, in bytes.
fn place(slots: u32, slot: u32, word: usize) -> u64 {
    let first = lines_for(slots).expect("few") - slots as usize;
    ((first + slot as usize) * size_of::<Line>() + word * size_of::<u64>()) as u64
}

fn a_torn_label_is_repaired() {
    const GUARD: usize = 4;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("board");
    let builder = ForkServerBuilder::new(3).grace(GRACE).board_file(&path);
    let mut server = TestServer::spawn(builder, closure_program(report_serving));
    let (near, far) = UnixStream::pair().expect("a pair");
    let child = server.fork(near);
    server.born();
    assert!(receive_byte(&far));

    let file = OpenOptions::new().write(true).open(&path).expect("there");
    let odd = 0x0fff_u64.to_ne_bytes();
    file.write_all_at(&odd, place(3, child.slot.get(), GUARD)).expect("written");
    let torn = server.fork_server.board().read(child.slot);
    assert_eq!(torn.label, Label::BeingWritten);

    server.fork_server.signal(child, Signal::Kill).expect("sent");
    let (_child, _exit, last) = server.gone();
    assert_eq!(last.fault, Some(Fault::TornLabel));
    let (near, far) = UnixStream::pair().expect("a pair");
    let next = server.fork(near);
    assert_eq!(next.slot, child.slot);
    assert!(receive_byte(&far));
    let label = server.fork_server.board().read(next.slot).label;
    assert!(matches!(label, Label::Text(text) if text.as_bytes() == b"GET /index.html"));
    server.shut_down();
}

fn a_board_can_be_read_from_outside() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("board");
    let builder = ForkServerBuilder::new(3).grace(GRACE).board_file(&path);
    let mut server = TestServer::spawn(builder, closure_program(report_serving));
    let (near, far) = UnixStream::pair().expect("a pair");
    server.fork(near);
    server.born();
    assert!(receive_byte(&far));
    server.fork_server.scoreboard().set_phase(Phase::Running);

    let outside = Board::open(shared::open_file::<Line>(&path).expect("maps")).expect("a board");
    assert_eq!((outside.slots(), outside.letters().as_str()), (3, "r  "));
    assert_eq!(outside.phase(), Phase::Running);
    server.shut_down();
    // What it said last stays for who looks later.
    let after = Board::open(shared::open_file::<Line>(&path).expect("maps")).expect("a board");
    assert_eq!(after.slots(), 3);
}

fn a_report_rings() {
    use daemon_forkserver::core::Armed;
    let mut server = TestServer::of(
        1,
        closure_program(|start: ChildStart<UnixStream>| {
            let line = start.request.expect("unpacked");
            assert!(receive_byte(&line));
            start.seat.report(Status::Fresh, now()).expect("allowed");
            sleep_until_killed()
        }),
    );
    let (near, far) = UnixStream::pair().expect("a pair");
    let child = server.fork(near);
    server.born();
    let mut changed = Vec::new();
    let armed = |server: &TestServer<UnixStream>, changed: &mut Vec<_>| {
        let scoreboard = server.fork_server.scoreboard();
        crate::scenarios::eventually("nothing is left to take in", || {
            scoreboard.drain_changes(|slot| changed.push(slot));
            scoreboard.arm() == Armed::Asleep
        });
    };
    armed(&server, &mut changed);
    send_byte(&far);
    let asleep = Instant::now();
    while server.fork_server.board().letters() != "." {
        // Without a bell it would sleep that long.
        let told = server.fork_server.wait(Some(Duration::from_secs(10)));
        assert!(told.expect("it is there").is_empty());
        assert!(asleep.elapsed() < Duration::from_secs(5), "no bell has rung");
        armed(&server, &mut changed);
    }
    assert!(changed.contains(&child.slot));
    server.shut_down();
}
