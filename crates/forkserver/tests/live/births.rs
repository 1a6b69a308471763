//! Scenarios of births, ends and the scoreboard in between.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use daemon_forkserver::core::{Board, Exit, Fault, Label, Line, Phase, Status, lines_for};
use daemon_forkserver::sys::process::{Pid, Signal, group_of};
use daemon_forkserver::sys::shared;
use daemon_forkserver::{ChildStart, Event, ForkServerBuilder, now};

use super::asks::{GRACE, House, ended_by, hears, lives, say, sleep_until_killed};
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
    let mut house = House::of(8, lives(|_birth: ChildStart<()>| 0));
    let (mut ordered, mut gone) = (0, 0);
    let mut alive = HashSet::new();
    let mut pids = HashSet::new();
    while gone < CHILDREN {
        while ordered < CHILDREN && house.fork_server.fork(()).is_ok() {
            ordered += 1;
        }
        match house.next() {
            Event::Born { child, pid } => {
                assert!(alive.insert((child, pid)));
                pids.insert(pid);
            }
            Event::Gone { child, pid, .. } => {
                assert!(alive.remove(&(child, pid)), "its birth was not told");
                gone += 1;
            }
            _ => panic!("a fork failed"),
        }
    }
    assert!(alive.is_empty());
    assert_eq!((ordered, pids.len()), (CHILDREN, CHILDREN));
    house.goes_home();
}

fn exit_codes() {
    let mut house = House::of(
        1,
        lives(|birth: ChildStart<String>| match birth.request.as_deref() {
            Ok("panic") => panic!("as told"),
            Ok(code) => code.parse().expect("a number"),
            Err(_) => -1,
        }),
    );
    for (word, code) in [("0", 0), ("7", 7), ("255", 255), ("panic", 101)] {
        house.fork(word.into());
        assert_eq!(house.lived(), Exit::Code(code), "{word}");
    }
    house.goes_home();
}

fn a_child_is_the_fork_server_s() {
    let mut house = House::of(
        1,
        lives(|birth: ChildStart<()>| {
            let mine = Pid::parent() == Some(birth.fork_server);
            let grouped = group_of(Pid::this()) == Some(birth.fork_server);
            i32::from(!(mine && grouped))
        }),
    );
    let fork_server = house.fork_server.pid();
    assert_eq!(group_of(fork_server), Some(fork_server));
    assert_ne!(group_of(Pid::this()), Some(fork_server));
    house.fork(());
    assert_eq!(house.lived(), Exit::Code(0));
    house.goes_home();
}

/// A child that is in the middle of a request, and says so.
fn serves(birth: ChildStart<UnixStream>) -> i32 {
    let line = birth.request.expect("unpacked");
    birth.seat.report(Status::Serving, now()).expect("allowed");
    birth.seat.label(b"GET /index.html");
    say(&line);
    sleep_until_killed()
}

fn a_killed_child_frees_its_slot() {
    let mut house = House::of(4, lives(serves));
    let (near, far) = UnixStream::pair().expect("a pair");
    let child = house.fork(near);
    let (born, pid) = house.born();
    assert_eq!(born, child);
    assert!(hears(&far));
    let entry = house.fork_server.board().read(child.slot);
    assert_eq!(i64::from(entry.pid), i64::from(pid.as_raw()));
    assert_eq!(house.fork_server.board().letters(), "r   ");

    house.fork_server.signal(child, Signal::Kill).expect("sent");
    let (gone, exit, last) = house.gone();
    assert_eq!((gone, exit), (child, ended_by(Signal::Kill)));
    assert_eq!((last.status, last.requests), (Some(Status::Serving), 1));
    assert!(matches!(last.label, Label::Text(text) if text.as_bytes() == b"GET /index.html"));
    assert_eq!((last.fault, last.pid), (None, entry.pid));
    assert_eq!(house.fork_server.board().letters(), "    ");

    let (near, _far) = UnixStream::pair().expect("a pair");
    let next = house.fork(near);
    assert_eq!(next.slot, child.slot);
    assert_eq!(next.generation, child.generation.next());
    house.goes_home();
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
    let plan = ForkServerBuilder::new(3).grace(GRACE).board_file(&path);
    let mut house = House::spawn(plan, lives(serves));
    let (near, far) = UnixStream::pair().expect("a pair");
    let child = house.fork(near);
    house.born();
    assert!(hears(&far));

    let file = OpenOptions::new().write(true).open(&path).expect("there");
    let odd = 0x0fff_u64.to_ne_bytes();
    file.write_all_at(&odd, place(3, child.slot.get(), GUARD)).expect("written");
    let torn = house.fork_server.board().read(child.slot);
    assert_eq!(torn.label, Label::BeingWritten);

    house.fork_server.signal(child, Signal::Kill).expect("sent");
    let (_child, _exit, last) = house.gone();
    assert_eq!(last.fault, Some(Fault::TornLabel));
    let (near, far) = UnixStream::pair().expect("a pair");
    let next = house.fork(near);
    assert_eq!(next.slot, child.slot);
    assert!(hears(&far));
    let label = house.fork_server.board().read(next.slot).label;
    assert!(matches!(label, Label::Text(text) if text.as_bytes() == b"GET /index.html"));
    house.goes_home();
}

fn a_board_can_be_read_from_outside() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("board");
    let plan = ForkServerBuilder::new(3).grace(GRACE).board_file(&path);
    let mut house = House::spawn(plan, lives(serves));
    let (near, far) = UnixStream::pair().expect("a pair");
    house.fork(near);
    house.born();
    assert!(hears(&far));
    house.fork_server.scoreboard().set_phase(Phase::Running);

    let outside = Board::open(shared::open_file::<Line>(&path).expect("maps")).expect("a board");
    assert_eq!((outside.slots(), outside.letters().as_str()), (3, "r  "));
    assert_eq!(outside.phase(), Phase::Running);
    house.goes_home();
    // What it said last stays for who looks later.
    let after = Board::open(shared::open_file::<Line>(&path).expect("maps")).expect("a board");
    assert_eq!(after.slots(), 3);
}

fn a_report_rings() {
    use daemon_forkserver::core::Armed;
    let mut house = House::of(
        1,
        lives(|birth: ChildStart<UnixStream>| {
            let line = birth.request.expect("unpacked");
            assert!(hears(&line));
            birth.seat.report(Status::Fresh, now()).expect("allowed");
            sleep_until_killed()
        }),
    );
    let (near, far) = UnixStream::pair().expect("a pair");
    let child = house.fork(near);
    house.born();
    let mut changed = Vec::new();
    let armed = |house: &House<UnixStream>, changed: &mut Vec<_>| {
        let scoreboard = house.fork_server.scoreboard();
        crate::scenarios::eventually("nothing is left to take in", || {
            scoreboard.drain_changes(|slot| changed.push(slot));
            scoreboard.arm() == Armed::Asleep
        });
    };
    armed(&house, &mut changed);
    say(&far);
    let asleep = Instant::now();
    while house.fork_server.board().letters() != "." {
        // Without a bell it would sleep that long.
        let told = house.fork_server.wait(Some(Duration::from_secs(10)));
        assert!(told.expect("it is there").is_empty());
        assert!(asleep.elapsed() < Duration::from_secs(5), "no bell has rung");
        armed(&house, &mut changed);
    }
    assert!(changed.contains(&child.slot));
    house.goes_home();
}
