//! Scenarios of signals to children and to the fork server.

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
        "a_term_sent_right_after_the_fork_command_is_delivered_when_the_child_releases_its_signals",
        term_is_delivered_at_the_release,
    ),
    (
        "a_hundred_children_each_receive_a_term_sent_right_after_the_fork_command",
        a_hundred_terms_arrive,
    ),
    (
        "a_signal_queue_opened_before_the_child_releases_its_signals_reads_them",
        a_queue_reads_blocked_signals,
    ),
    ("a_child_that_has_released_its_signals_has_no_signal_blocked", no_signal_stays_blocked),
    ("a_signal_to_the_previous_owner_of_a_slot_is_not_delivered", signal_to_the_previous_owner),
    ("the_fork_server_ignores_signals_from_terminal_and_operator", the_fork_server_ignores_signals),
];

fn term_is_delivered_at_the_release() {
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<UnixStream>| {
            let line = start.request.expect("the request decodes");
            assert!(receive_byte(&line));
            send_byte(&line);
            assert!(receive_byte(&line));
            start.signals.release();
            1
        }),
    );
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    let child = server.fork(near);
    server.fork_server.signal(child, Signal::Term).expect("the command is sent");
    server.next_forked();
    // The child replies, so it is still running, although TERM has already been sent to it.
    send_byte(&far);
    assert!(receive_byte(&far));
    send_byte(&far);
    assert_eq!(server.next_exited().1, exit_by(Signal::Term));
    server.shut_down();
}

fn a_hundred_terms_arrive() {
    let mut server = TestServer::new(
        100,
        closure_program(|start: ChildStart<()>| {
            start.signals.release();
            sleep_until_killed()
        }),
    );
    for _each in 0..100 {
        let child = server.fork(());
        server.fork_server.signal(child, Signal::Term).expect("the command is sent");
    }
    let mut gone = 0;
    while gone < 100 {
        match server.next_event() {
            ForkServerEvent::Forked { .. } => {}
            ForkServerEvent::Exited { exit, .. } => {
                assert_eq!(exit, exit_by(Signal::Term));
                gone += 1;
            }
            _ => panic!("unexpected ForkFailed"),
        }
    }
    server.shut_down();
}

fn a_queue_reads_blocked_signals() {
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<UnixStream>| {
            assert!(receive_byte(&start.request.expect("the request decodes")));
            let queue = SignalQueue::new(&[Signal::Hup, Signal::Term]).expect("the queue opens");
            start.signals.release();
            let mut read = queue.drain().expect("the signals are read");
            read.sort();
            i32::from(read != [Signal::Hup, Signal::Term])
        }),
    );
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    let child = server.fork(near);
    server.fork_server.signal(child, Signal::Term).expect("the command is sent");
    server.fork_server.signal_all(Signal::Hup).expect("the command is sent");
    let (_child, pid) = server.next_forked();
    crate::scenarios::eventually("HUP and TERM are pending", || count_pending(pid.as_raw()) == 2);
    send_byte(&far);
    assert_eq!(server.next_exited().1, Exit::Code(0));
    server.shut_down();
}

/// Returns the number of pending signals of a process.
fn count_pending(pid: i32) -> u32 {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .expect("the process exists")
        .lines()
        .find_map(|line| line.strip_prefix("ShdPnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .expect("the signal mask is listed")
        .count_ones()
}

fn no_signal_stays_blocked() {
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<()>| {
            start.signals.release();
            let status = std::fs::read_to_string("/proc/self/status").expect("the file opens");
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

fn signal_to_the_previous_owner() {
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<UnixStream>| {
            start.signals.release();
            let line = start.request.expect("the request decodes");
            assert!(receive_byte(&line));
            0
        }),
    );
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    let previous = server.fork(near);
    send_byte(&far);
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    let owner = server.fork(near);
    assert_eq!(owner.slot, previous.slot);
    server.fork_server.signal(previous, Signal::Kill).expect("the command is sent");
    server.next_forked();
    send_byte(&far);
    assert_eq!(server.next_exited().1, Exit::Code(0));
    server.shut_down();
}

fn the_fork_server_ignores_signals() {
    let mut server = TestServer::new(1, closure_program(|_start: ChildStart<()>| 0));
    let fork_server = server.fork_server.pid();
    for ignored in [
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
        assert!(signal(fork_server, ignored).is_ok());
    }
    server.fork(());
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    server.shut_down();
}
