//! Scenarios of signals on their way to children.

use std::os::unix::net::UnixStream;

use daemon_forkserver::core::Exit;
use daemon_forkserver::sys::process::{Signal, signal};
use daemon_forkserver::sys::signals::SignalQueue;
use daemon_forkserver::{ChildStart, Event};

use super::asks::{House, ended_by, hears, lives, say, sleep_until_killed};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "a_term_sent_right_after_the_order_waits_until_it_is_released",
        a_term_waits_until_it_is_released,
    ),
    ("no_term_of_a_hundred_sent_with_their_orders_is_lost", no_term_of_a_hundred_is_lost),
    ("a_held_signal_is_read_by_a_queue_that_is_opened_before_the_release", a_held_signal_is_read),
    ("a_child_hears_of_the_end_of_its_own_children", a_child_hears_of_its_own_children),
    ("a_signal_to_a_former_owner_of_the_slot_reaches_nobody", a_signal_to_a_former_owner),
    (
        "the_fork_server_ignores_what_a_terminal_or_an_operator_sends",
        the_fork_server_ignores_signals,
    ),
];

fn a_term_waits_until_it_is_released() {
    let mut house = House::of(
        1,
        lives(|birth: ChildStart<UnixStream>| {
            let line = birth.request.expect("unpacked");
            assert!(hears(&line));
            say(&line);
            assert!(hears(&line));
            birth.signals.release();
            1
        }),
    );
    let (near, far) = UnixStream::pair().expect("a pair");
    let child = house.fork(near);
    house.fork_server.signal(child, Signal::Term).expect("sent");
    house.born();
    // Whoever answers is alive, and the signal was sent before.
    say(&far);
    assert!(hears(&far));
    say(&far);
    assert_eq!(house.gone().1, ended_by(Signal::Term));
    house.goes_home();
}

fn no_term_of_a_hundred_is_lost() {
    let mut house = House::of(
        100,
        lives(|birth: ChildStart<()>| {
            birth.signals.release();
            sleep_until_killed()
        }),
    );
    for _each in 0..100 {
        let child = house.fork(());
        house.fork_server.signal(child, Signal::Term).expect("sent");
    }
    let mut gone = 0;
    while gone < 100 {
        match house.next() {
            Event::Born { .. } => {}
            Event::Gone { exit, .. } => {
                assert_eq!(exit, ended_by(Signal::Term));
                gone += 1;
            }
            _ => panic!("a fork failed"),
        }
    }
    house.goes_home();
}

fn a_held_signal_is_read() {
    let mut house = House::of(
        1,
        lives(|birth: ChildStart<UnixStream>| {
            assert!(hears(&birth.request.expect("unpacked")));
            let queue = SignalQueue::new(&[Signal::Hup, Signal::Term]).expect("opened");
            birth.signals.release();
            let mut read = queue.drain().expect("read");
            read.sort();
            i32::from(read != [Signal::Hup, Signal::Term])
        }),
    );
    let (near, far) = UnixStream::pair().expect("a pair");
    let child = house.fork(near);
    house.fork_server.signal(child, Signal::Term).expect("sent");
    house.fork_server.signal_all(Signal::Hup).expect("sent");
    let (_child, pid) = house.born();
    crate::scenarios::eventually("both are pending", || pending(pid.as_raw()) == 2);
    say(&far);
    assert_eq!(house.gone().1, Exit::Code(0));
    house.goes_home();
}

/// How many signals wait for a process.
fn pending(pid: i32) -> u32 {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .expect("it is there")
        .lines()
        .find_map(|line| line.strip_prefix("ShdPnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .expect("a mask")
        .count_ones()
}

fn a_child_hears_of_its_own_children() {
    let mut house = House::of(
        1,
        lives(|birth: ChildStart<()>| {
            birth.signals.release();
            let status = std::fs::read_to_string("/proc/self/status").expect("there");
            let blocked = status
                .lines()
                .find_map(|line| line.strip_prefix("SigBlk:"))
                .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            i32::from(blocked != Some(0))
        }),
    );
    house.fork(());
    assert_eq!(house.lived(), Exit::Code(0));
    house.goes_home();
}

fn a_signal_to_a_former_owner() {
    let mut house = House::of(
        1,
        lives(|birth: ChildStart<UnixStream>| {
            birth.signals.release();
            let line = birth.request.expect("unpacked");
            assert!(hears(&line));
            0
        }),
    );
    let (near, far) = UnixStream::pair().expect("a pair");
    let former = house.fork(near);
    say(&far);
    assert_eq!(house.lived(), Exit::Code(0));
    let (near, far) = UnixStream::pair().expect("a pair");
    let owner = house.fork(near);
    assert_eq!(owner.slot, former.slot);
    house.fork_server.signal(former, Signal::Kill).expect("sent");
    house.born();
    say(&far);
    assert_eq!(house.gone().1, Exit::Code(0));
    house.goes_home();
}

fn the_fork_server_ignores_signals() {
    let mut house = House::of(1, lives(|_birth: ChildStart<()>| 0));
    let fork_server = house.fork_server.pid();
    for told in [
        Signal::Hup,
        Signal::Int,
        Signal::Quit,
        Signal::Term,
        Signal::Usr1,
        Signal::Usr2,
        Signal::Ttin,
        Signal::Ttou,
        Signal::Pipe,
        Signal::Alarm,
    ] {
        assert!(signal(fork_server, told).is_ok());
    }
    house.fork(());
    assert_eq!(house.lived(), Exit::Code(0));
    house.goes_home();
}
