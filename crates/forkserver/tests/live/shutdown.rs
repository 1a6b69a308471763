//! Scenarios of the end: in order, or because somebody was killed.

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
    ("sent_home_the_fork_server_tells_every_end_before_its_own", sent_home_it_tells_every_end),
    ("a_child_that_ignores_term_is_killed_after_the_grace", a_stubborn_child_is_killed),
    ("a_handle_that_is_dropped_ends_the_fork_server", a_dropped_handle_ends_all),
    ("a_parent_killed_leaves_nobody_but_gives_the_grace", a_killed_parent_leaves_nobody),
    ("a_fork_server_killed_ends_its_children_and_is_told_as_lost", a_killed_fork_server_is_told),
    ("what_a_killed_fork_server_had_not_forked_for_is_given_back", the_unborn_are_given_back),
    (
        "a_fork_ordered_of_a_fork_server_that_is_gone_gives_the_request_back",
        a_fork_of_nobody_gives_back,
    ),
    (
        "a_fork_server_that_lets_go_closes_its_listener_while_children_live",
        letting_go_closes_the_listener,
    ),
];

/// Lives until it is ended: by TERM, or where it is `stubborn` by nothing less than KILL.
fn run_until_signal(start: ChildStart<(UnixStream, Serde<bool>)>) -> i32 {
    let (line, Serde(stubborn)) = start.request.expect("unpacked");
    let _held = if stubborn {
        Some(start.signals)
    } else {
        start.signals.release();
        None
    };
    send_byte(&line);
    sleep_until_killed()
}

fn sent_home_it_tells_every_end() {
    let mut server = TestServer::of(20, closure_program(run_until_signal));
    let lines: Vec<UnixStream> = (0..20)
        .map(|_each| {
            let (near, far) = UnixStream::pair().expect("a pair");
            server.fork((near, Serde(false)));
            far
        })
        .collect();
    for _each in 0..20 {
        server.born();
    }
    assert!(lines.iter().all(receive_byte));
    server.fork_server.shut_down().expect("sent");
    let mut gone = 0;
    // All of it may be there at once: the end must not swallow what was told before.
    eventually("the fork server is gone", || has_exited(server.fork_server.pid()));
    let lost = loop {
        match server.fork_server.wait(None) {
            Ok(events) => {
                for event in events {
                    let ForkServerEvent::Exited { exit, .. } = event else {
                        panic!("no end");
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
    assert_eq!(server.fork_server.board().free(), 20);
    assert_eq!(server.fork_server.reap().expect("ours"), Some(Exit::Code(0)));
}

fn a_stubborn_child_is_killed() {
    let mut server = TestServer::of(2, closure_program(run_until_signal));
    let (near, far) = UnixStream::pair().expect("a pair");
    server.fork((near, Serde(true)));
    server.born();
    assert!(receive_byte(&far));
    let told = Instant::now();
    server.fork_server.shut_down().expect("sent");
    assert_eq!(server.gone().1, exit_by(Signal::Kill));
    assert!(told.elapsed() >= GRACE);
    assert_eq!(server.lost(), Exit::Code(0));
}

fn a_dropped_handle_ends_all() {
    let mut server = TestServer::of(2, closure_program(run_until_signal));
    let (near, far) = UnixStream::pair().expect("a pair");
    server.fork((near, Serde(false)));
    let (_child, pid) = server.born();
    assert!(receive_byte(&far));
    let fork_server = server.fork_server.pid();
    drop(server);
    assert!(!receive_byte(&far), "the child's end is closed");
    // The fork server goes when its children are reaped; their ends are closed a little earlier.
    assert_eq!(wait_for(fork_server).expect("ours").to_string(), "exit code 0");
    assert!(has_exited(pid));
}

fn a_killed_parent_leaves_nobody() {
    const GRACE: Duration = Duration::from_secs(1);
    let (mut told, mut tell) = io::pipe().expect("a pipe");
    let parent = run_in_process(|| {
        let builder = ForkServerBuilder::new(2).grace(GRACE);
        let mut server = TestServer::spawn(builder, closure_program(run_until_signal));
        let mut pids = server.fork_server.pid().to_string();
        let mut lines = Vec::new();
        for stubborn in [false, true] {
            let (near, far) = UnixStream::pair().expect("a pair");
            server.fork((near, Serde(stubborn)));
            pids = format!("{pids} {}", server.born().1);
            assert!(receive_byte(&far));
            lines.push(far);
        }
        writeln!(tell, "{pids}").expect("told");
        sleep_until_killed()
    });
    let mut pids = String::new();
    BufReader::new(&mut told).read_line(&mut pids).expect("told");
    let mut pids =
        pids.split_whitespace().map(|pid| pid.parse().ok().and_then(Pid::from_raw).expect("a pid"));
    let mut next = || pids.next().expect("three of them");
    let (fork_server, obedient, stubborn) = (next(), next(), next());

    let killed = Instant::now();
    assert!(signal(parent, Signal::Kill).is_ok());
    eventually("TERM has ended one", || has_exited(obedient));
    assert!(killed.elapsed() < GRACE, "it was killed");
    eventually("KILL has ended the other", || has_exited(stubborn));
    assert!(killed.elapsed() >= GRACE);
    eventually("the fork server is gone", || has_exited(fork_server));
    wait_for(parent).expect("ours");
}

fn a_killed_fork_server_is_told() {
    let mut server = TestServer::of(2, closure_program(run_until_signal));
    let (obedient, end) = UnixStream::pair().expect("a pair");
    server.fork((end, Serde(false)));
    let (stubborn, end) = UnixStream::pair().expect("a pair");
    server.fork((end, Serde(true)));
    server.born();
    let (_child, pid) = server.born();
    assert!(receive_byte(&obedient) && receive_byte(&stubborn));

    assert!(signal(server.fork_server.pid(), Signal::Kill).is_ok());
    assert!(!receive_byte(&obedient), "the parent death signal has ended it");
    let lost = loop {
        match server.fork_server.wait(None) {
            Ok(events) => assert!(events.is_empty(), "nobody is there to tell"),
            Err(error) => break error,
        }
    };
    assert!(matches!(lost, ForkServerError::Lost { .. }), "{lost}");
    assert!(!server.fork_server.orphaned_are_gone());
    assert!(!has_exited(pid));
    server.fork_server.signal_orphaned(Signal::Kill).expect("sent");
    assert!(!receive_byte(&stubborn), "KILL has ended it");
    eventually("the bereaved are gone", || server.fork_server.orphaned_are_gone());
    let mut exit = None;
    eventually("it is buried", || {
        exit = server.fork_server.reap().expect("ours");
        exit.is_some()
    });
    assert_eq!(exit, Some(exit_by(Signal::Kill)));
}

fn the_unborn_are_given_back() {
    let mut server = TestServer::of(3, closure_program(|_birth: ChildStart<UnixStream>| 0));
    assert!(signal(server.fork_server.pid(), Signal::Stop).is_ok());
    let mut lines = Vec::new();
    for _each in 0..3 {
        let (near, far) = UnixStream::pair().expect("a pair");
        lines.push((server.fork(near), far));
    }
    assert!(signal(server.fork_server.pid(), Signal::Kill).is_ok());
    assert_eq!(server.lost(), exit_by(Signal::Kill));
    let mut pending = server.fork_server.take_pending();
    pending.sort_by_key(|(child, _request)| child.slot);
    assert_eq!(pending.len(), 3);
    for ((child, request), (ordered, far)) in pending.iter().zip(&lines) {
        assert_eq!(child, ordered);
        send_byte(request);
        assert!(receive_byte(far));
    }
    assert!(server.fork_server.take_pending().is_empty());
}

fn a_fork_of_nobody_gives_back() {
    let mut server = TestServer::of(1, closure_program(|_birth: ChildStart<String>| 0));
    assert!(signal(server.fork_server.pid(), Signal::Kill).is_ok());
    assert_eq!(server.lost(), exit_by(Signal::Kill));
    let fork_error = server.fork_server.fork("kept".into()).expect_err("nobody forks");
    assert_eq!(fork_error.request, "kept");
    assert!(matches!(fork_error.reason, ForkServerError::Lost { .. }));
    assert_eq!(server.fork_server.board().free(), 1);
}

fn letting_go_closes_the_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound");
    let program = closure_program(move |start: ChildStart<(UnixStream, Serde<bool>)>| {
        // A child that was handed its request has no use for the listener.
        drop(listener);
        run_until_signal(start)
    });
    let builder = ForkServerBuilder::new(2).grace(GRACE);
    let mut server = TestServer::spawn(builder, program);
    let (near, far) = UnixStream::pair().expect("a pair");
    server.fork((near, Serde(false)));
    let (_child, pid) = server.born();
    assert!(receive_byte(&far));
    TcpStream::connect(address).expect("the fork server holds the listener");

    server.fork_server.release().expect("sent");
    let (near, _far) = UnixStream::pair().expect("a pair");
    server.fork((near, Serde(false)));
    let ForkServerEvent::ForkFailed { refusal, .. } = server.next() else {
        panic!("it was forked");
    };
    assert_eq!(refusal, ForkRefusal::Released);
    assert!(!refusal.is_temporary());
    let refused = TcpStream::connect(address).expect_err("nobody holds it");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(!has_exited(pid));
    server.shut_down();
}
