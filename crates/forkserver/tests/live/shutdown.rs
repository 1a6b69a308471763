//! Scenarios of the fork server's shutdown by command, and of a killed parent or fork server.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use daemon_forkserver::core::Exit;
use daemon_forkserver::sys::process::{Pid, Signal, signal};
use daemon_forkserver::sys::reap::wait_for;
use daemon_forkserver::{
    ChildStart, ForkRefusal, ForkServerBuilder, ForkServerError, ForkServerEvent, Serde,
};

use super::support::{
    GRACE, TestServer, closure_program, exit_by, has_exited, receive_byte, run_in_process,
    send_byte, sleep_until_killed,
};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_shutdown_reports_every_exit_before_the_link_is_closed", a_shutdown_reports_every_exit),
    ("a_child_that_blocks_term_is_killed_after_the_grace_period", a_stubborn_child_is_killed),
    ("dropping_the_handle_stops_the_fork_server_and_its_child", dropping_the_handle_stops_all),
    (
        "when_the_parent_is_killed_children_receive_term_at_once_and_kill_after_the_grace_period",
        a_killed_parent_leaves_no_children,
    ),
    (
        "a_killed_fork_server_is_reported_as_lost_and_its_children_receive_term",
        a_killed_fork_server_is_reported,
    ),
    ("pending_requests_of_a_killed_fork_server_are_returned", pending_requests_are_returned),
    (
        "a_fork_after_the_fork_server_has_exited_returns_the_request",
        a_fork_without_fork_server_returns_the_request,
    ),
    ("releasing_the_program_closes_its_listener_while_children_run", releasing_closes_the_listener),
];

/// Runs until TERM. If `stubborn`, TERM stays blocked and the child runs until KILL.
fn run_until_signal(start: ChildStart<(UnixStream, Serde<bool>)>) -> i32 {
    let (line, Serde(stubborn)) = start.request.expect("the request decodes");
    let _blocked = if stubborn {
        Some(start.signals)
    } else {
        start.signals.release();
        None
    };
    send_byte(&line);
    sleep_until_killed()
}

fn a_shutdown_reports_every_exit() {
    let mut server = TestServer::new(20, closure_program(run_until_signal));
    let lines: Vec<UnixStream> = (0..20)
        .map(|_each| {
            let (near, far) = UnixStream::pair().expect("a socket pair opens");
            server.fork((near, Serde(false)));
            far
        })
        .collect();
    for _each in 0..20 {
        server.next_forked();
    }
    assert!(lines.iter().all(receive_byte));
    server.fork_server.shut_down(GRACE).expect("the command is sent");
    let mut gone = 0;
    // When the fork server has exited, its last reports and the closed link are detected together.
    // `wait` must return the reports before it returns the error for the closed link.
    eventually("the fork server has exited", || has_exited(server.fork_server.pid()));
    let lost = loop {
        match server.fork_server.wait(None) {
            Ok(events) => {
                for event in events {
                    let ForkServerEvent::Exited { exit, .. } = event else {
                        panic!("expected Exited");
                    };
                    assert_eq!(exit, exit_by(Signal::Term));
                    gone += 1;
                }
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(lost, ForkServerError::Lost { .. }), "{lost}");
    assert_eq!(gone, 20);
    assert_eq!(server.fork_server.board().empty_slots(), 20);
    assert_eq!(server.fork_server.reap().expect("a child of this process"), Some(Exit::Code(0)));
}

fn a_stubborn_child_is_killed() {
    let mut server = TestServer::new(2, closure_program(run_until_signal));
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    server.fork((near, Serde(true)));
    server.next_forked();
    assert!(receive_byte(&far));
    let started = Instant::now();
    server.fork_server.shut_down(GRACE).expect("the command is sent");
    assert_eq!(server.next_exited().1, exit_by(Signal::Kill));
    assert!(started.elapsed() >= GRACE);
    assert_eq!(server.wait_until_lost(), Exit::Code(0));
}

fn dropping_the_handle_stops_all() {
    let mut server = TestServer::new(2, closure_program(run_until_signal));
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    server.fork((near, Serde(false)));
    let (_child, pid) = server.next_forked();
    assert!(receive_byte(&far));
    let fork_server = server.fork_server.pid();
    drop(server);
    assert!(!receive_byte(&far), "the child's end of the socket is still open");
    // The fork server exits only after it has reaped its children. The children's sockets are
    // closed a little earlier.
    assert_eq!(
        wait_for(fork_server).expect("a child of this process").to_string(),
        "exited with code 0"
    );
    assert!(has_exited(pid));
}

fn a_killed_parent_leaves_no_children() {
    const GRACE: Duration = Duration::from_secs(1);
    let (mut reader, mut writer) = io::pipe().expect("a pipe opens");
    let parent = run_in_process(|| {
        let builder = ForkServerBuilder::new(2).grace(GRACE);
        let mut server = TestServer::with_builder(builder, closure_program(run_until_signal));
        let mut pids = server.fork_server.pid().to_string();
        let mut lines = Vec::new();
        for stubborn in [false, true] {
            let (near, far) = UnixStream::pair().expect("a socket pair opens");
            server.fork((near, Serde(stubborn)));
            pids = format!("{pids} {}", server.next_forked().1);
            assert!(receive_byte(&far));
            lines.push(far);
        }
        writeln!(writer, "{pids}").expect("the pids are written");
        sleep_until_killed()
    });
    let mut pids = String::new();
    BufReader::new(&mut reader).read_line(&mut pids).expect("the pids are read");
    let mut pids =
        pids.split_whitespace().map(|pid| pid.parse().ok().and_then(Pid::from_raw).expect("a pid"));
    let mut next = || pids.next().expect("three pids");
    let (fork_server, obedient, stubborn) = (next(), next(), next());

    let killed = Instant::now();
    assert!(signal(parent, Signal::Kill).is_ok());
    eventually("TERM has stopped one child", || has_exited(obedient));
    assert!(killed.elapsed() < GRACE, "TERM did not stop the child within the grace period");
    eventually("KILL has stopped the other child", || has_exited(stubborn));
    assert!(killed.elapsed() >= GRACE);
    eventually("the fork server has exited", || has_exited(fork_server));
    wait_for(parent).expect("a child of this process");
}

fn a_killed_fork_server_is_reported() {
    let mut server = TestServer::new(2, closure_program(run_until_signal));
    let (obedient, end) = UnixStream::pair().expect("a socket pair opens");
    server.fork((end, Serde(false)));
    let (stubborn, end) = UnixStream::pair().expect("a socket pair opens");
    server.fork((end, Serde(true)));
    server.next_forked();
    let (_child, pid) = server.next_forked();
    assert!(receive_byte(&obedient) && receive_byte(&stubborn));

    assert!(signal(server.fork_server.pid(), Signal::Kill).is_ok());
    assert!(!receive_byte(&obedient), "the parent death signal did not stop the child");
    let lost = loop {
        match server.fork_server.wait(None) {
            Ok(events) => assert!(events.is_empty(), "a killed fork server reported events"),
            Err(error) => break error,
        }
    };
    assert!(matches!(lost, ForkServerError::Lost { .. }), "{lost}");
    assert!(!server.fork_server.orphaned_are_gone());
    assert!(!has_exited(pid));
    server.fork_server.signal_orphaned(Signal::Kill).expect("the signal is sent");
    assert!(!receive_byte(&stubborn), "KILL did not stop the child");
    eventually("the orphaned children have exited", || server.fork_server.orphaned_are_gone());
    let mut exit = None;
    eventually("the fork server is reaped", || {
        exit = server.fork_server.reap().expect("a child of this process");
        exit.is_some()
    });
    assert_eq!(exit, Some(exit_by(Signal::Kill)));
}

fn pending_requests_are_returned() {
    let mut server = TestServer::new(3, closure_program(|_start: ChildStart<UnixStream>| 0));
    assert!(signal(server.fork_server.pid(), Signal::Stop).is_ok());
    let mut lines = Vec::new();
    for _each in 0..3 {
        let (near, far) = UnixStream::pair().expect("a socket pair opens");
        lines.push((server.fork(near), far));
    }
    assert!(signal(server.fork_server.pid(), Signal::Kill).is_ok());
    assert_eq!(server.wait_until_lost(), exit_by(Signal::Kill));
    let mut pending = server.fork_server.take_pending();
    pending.sort_by_key(|(child, _request)| child.slot);
    assert_eq!(pending.len(), 3);
    for ((child, request), (requested, far)) in pending.iter().zip(&lines) {
        assert_eq!(child, requested);
        send_byte(request);
        assert!(receive_byte(far));
    }
    assert!(server.fork_server.take_pending().is_empty());
}

fn a_fork_without_fork_server_returns_the_request() {
    let mut server = TestServer::new(1, closure_program(|_start: ChildStart<String>| 0));
    assert!(signal(server.fork_server.pid(), Signal::Kill).is_ok());
    assert_eq!(server.wait_until_lost(), exit_by(Signal::Kill));
    let fork_error =
        server.fork_server.fork("kept".into()).expect_err("the fork server has exited");
    assert_eq!(fork_error.request, "kept");
    assert!(matches!(fork_error.reason, ForkServerError::Lost { .. }));
    assert_eq!(server.fork_server.board().empty_slots(), 1);
}

fn releasing_closes_the_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the listener is bound");
    let address = listener.local_addr().expect("the listener is bound");
    let program = closure_program(move |start: ChildStart<(UnixStream, Serde<bool>)>| {
        // A child has its request and does not need the listener.
        drop(listener);
        run_until_signal(start)
    });
    let builder = ForkServerBuilder::new(2).grace(GRACE);
    let mut server = TestServer::with_builder(builder, program);
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    server.fork((near, Serde(false)));
    let (_child, pid) = server.next_forked();
    assert!(receive_byte(&far));
    TcpStream::connect(address).expect("the fork server holds the listener");

    server.fork_server.release().expect("the command is sent");
    let (near, _far) = UnixStream::pair().expect("a socket pair opens");
    server.fork((near, Serde(false)));
    let ForkServerEvent::ForkFailed { refusal, .. } = server.next_event() else {
        panic!("expected ForkFailed");
    };
    assert_eq!(refusal, ForkRefusal::Released);
    assert!(!refusal.is_temporary());
    let refused = TcpStream::connect(address).expect_err("no process holds the listener");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(!has_exited(pid));
    server.shut_down();
}
