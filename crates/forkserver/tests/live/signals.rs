//! Scenarios of signals on their way to children.

use std::os::unix::net::UnixStream;

use daemon_forkserver::core::Exit;
use daemon_forkserver::sys::process::{Signal, signal};
use daemon_forkserver::sys::signals::SignalQueue;
use daemon_forkserver::{ChildStart, ForkServerEvent};

use super::support::{
    TestServer, closure_program, exit_by, receive_byte, send_byte, sleep_until_killed,
};
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
    let mut server = TestServer::of(
        1,
        closure_program(|start: ChildStart<UnixStream>| {
            let line = start.request.expect("unpacked");
            assert!(receive_byte(&line));
            send_byte(&line);
            assert!(receive_byte(&line));
            start.signals.release();
            1
        }),
    );
    let (near, far) = UnixStream::pair().expect("a pair");
    let child = server.fork(near);
    server.fork_server.signal(child, Signal::Term).expect("sent");
    server.born();
    // Whoever answers is alive, and the signal was sent before.
    send_byte(&far);
    assert!(receive_byte(&far));
    send_byte(&far);
    assert_eq!(server.gone().1, exit_by(Signal::Term));
    server.shut_down();
}

fn no_term_of_a_hundred_is_lost() {
    let mut server = TestServer::of(
        100,
        closure_program(|start: ChildStart<()>| {
            start.signals.release();
            sleep_until_killed()
        }),
    );
    for _each in 0..100 {
        let child = server.fork(());
        server.fork_server.signal(child, Signal::Term).expect("sent");
    }
    let mut gone = 0;
    while gone < 100 {
        match server.next() {
            ForkServerEvent::Born { .. } => {}
            ForkServerEvent::Exited { exit, .. } => {
                assert_eq!(exit, exit_by(Signal::Term));
                gone += 1;
            }
            _ => panic!("a fork failed"),
        }
    }
    server.shut_down();
}

fn a_held_signal_is_read() {
    let mut server = TestServer::of(
        1,
        closure_program(|start: ChildStart<UnixStream>| {
            assert!(receive_byte(&start.request.expect("unpacked")));
            let queue = SignalQueue::new(&[Signal::Hup, Signal::Term]).expect("opened");
            start.signals.release();
            let mut read = queue.drain().expect("read");
            read.sort();
            i32::from(read != [Signal::Hup, Signal::Term])
        }),
    );
    let (near, far) = UnixStream::pair().expect("a pair");
    let child = server.fork(near);
    server.fork_server.signal(child, Signal::Term).expect("sent");
    server.fork_server.signal_all(Signal::Hup).expect("sent");
    let (_child, pid) = server.born();
    crate::scenarios::eventually("both are pending", || pending(pid.as_raw()) == 2);
    send_byte(&far);
    assert_eq!(server.gone().1, Exit::Code(0));
    server.shut_down();
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
    let mut server = TestServer::of(
        1,
        closure_program(|start: ChildStart<()>| {
            start.signals.release();
            let status = std::fs::read_to_string("/proc/self/status").expect("there");
            let blocked = status
                .lines()
                .find_map(|line| line.strip_prefix("SigBlk:"))
                .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            i32::from(blocked != Some(0))
        }),
    );
    server.fork(());
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    server.shut_down();
}

fn a_signal_to_a_former_owner() {
    let mut server = TestServer::of(
        1,
        closure_program(|start: ChildStart<UnixStream>| {
            start.signals.release();
            let line = start.request.expect("unpacked");
            assert!(receive_byte(&line));
            0
        }),
    );
    let (near, far) = UnixStream::pair().expect("a pair");
    let former = server.fork(near);
    send_byte(&far);
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    let (near, far) = UnixStream::pair().expect("a pair");
    let owner = server.fork(near);
    assert_eq!(owner.slot, former.slot);
    server.fork_server.signal(former, Signal::Kill).expect("sent");
    server.born();
    send_byte(&far);
    assert_eq!(server.gone().1, Exit::Code(0));
    server.shut_down();
}

fn the_fork_server_ignores_signals() {
    let mut server = TestServer::of(1, closure_program(|_birth: ChildStart<()>| 0));
    let fork_server = server.fork_server.pid();
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
    server.fork(());
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    server.shut_down();
}
