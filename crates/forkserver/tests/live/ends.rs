//! Scenarios of the end: in order, or because somebody was killed.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use daemon_forkserver::core::Exit;
use daemon_forkserver::sys::process::{Pid, Signal, signal};
use daemon_forkserver::sys::reap::wait_for;
use daemon_forkserver::{
    ChildStart, Event, ForkRefusal, ForkServerBuilder, ForkServerError, Serde,
};

use super::asks::{
    GRACE, House, ended_by, hears, is_over, lives, program, say, sleep_until_killed,
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
fn lives_on(birth: ChildStart<(UnixStream, Serde<bool>)>) -> i32 {
    let (line, Serde(stubborn)) = birth.request.expect("unpacked");
    let _held = if stubborn {
        Some(birth.signals)
    } else {
        birth.signals.release();
        None
    };
    say(&line);
    sleep_until_killed()
}

fn sent_home_it_tells_every_end() {
    let mut house = House::of(20, lives(lives_on));
    let lines: Vec<UnixStream> = (0..20)
        .map(|_each| {
            let (near, far) = UnixStream::pair().expect("a pair");
            house.fork((near, Serde(false)));
            far
        })
        .collect();
    for _each in 0..20 {
        house.born();
    }
    assert!(lines.iter().all(hears));
    house.fork_server.shut_down().expect("sent");
    let mut gone = 0;
    // All of it may be there at once: the end must not swallow what was told before.
    eventually("the fork server is gone", || is_over(house.fork_server.pid()));
    let lost = loop {
        match house.fork_server.wait(None) {
            Ok(events) => {
                for event in events {
                    let Event::Gone { exit, .. } = event else {
                        panic!("no end");
                    };
                    assert_eq!(exit, ended_by(Signal::Term));
                    gone += 1;
                }
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(lost, ForkServerError::Lost { .. }), "{lost}");
    assert_eq!(gone, 20);
    assert_eq!(house.fork_server.board().free(), 20);
    assert_eq!(house.fork_server.reap().expect("ours"), Some(Exit::Code(0)));
}

fn a_stubborn_child_is_killed() {
    let mut house = House::of(2, lives(lives_on));
    let (near, far) = UnixStream::pair().expect("a pair");
    house.fork((near, Serde(true)));
    house.born();
    assert!(hears(&far));
    let told = Instant::now();
    house.fork_server.shut_down().expect("sent");
    assert_eq!(house.gone().1, ended_by(Signal::Kill));
    assert!(told.elapsed() >= GRACE);
    assert_eq!(house.lost(), Exit::Code(0));
}

fn a_dropped_handle_ends_all() {
    let mut house = House::of(2, lives(lives_on));
    let (near, far) = UnixStream::pair().expect("a pair");
    house.fork((near, Serde(false)));
    let (_child, pid) = house.born();
    assert!(hears(&far));
    let fork_server = house.fork_server.pid();
    drop(house);
    assert!(!hears(&far), "the child's end is closed");
    // The fork server goes when its children are reaped; their ends are closed a little earlier.
    assert_eq!(wait_for(fork_server).expect("ours").to_string(), "exit code 0");
    assert!(is_over(pid));
}

fn a_killed_parent_leaves_nobody() {
    const GRACE: Duration = Duration::from_secs(1);
    let (mut told, mut tell) = io::pipe().expect("a pipe");
    let parent = program(|| {
        let plan = ForkServerBuilder::new(2).grace(GRACE);
        let mut house = House::spawn(plan, lives(lives_on));
        let mut pids = house.fork_server.pid().to_string();
        let mut lines = Vec::new();
        for stubborn in [false, true] {
            let (near, far) = UnixStream::pair().expect("a pair");
            house.fork((near, Serde(stubborn)));
            pids = format!("{pids} {}", house.born().1);
            assert!(hears(&far));
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
    eventually("TERM has ended one", || is_over(obedient));
    assert!(killed.elapsed() < GRACE, "it was killed");
    eventually("KILL has ended the other", || is_over(stubborn));
    assert!(killed.elapsed() >= GRACE);
    eventually("the fork server is gone", || is_over(fork_server));
    wait_for(parent).expect("ours");
}

fn a_killed_fork_server_is_told() {
    let mut house = House::of(2, lives(lives_on));
    let (obedient, end) = UnixStream::pair().expect("a pair");
    house.fork((end, Serde(false)));
    let (stubborn, end) = UnixStream::pair().expect("a pair");
    house.fork((end, Serde(true)));
    house.born();
    let (_child, pid) = house.born();
    assert!(hears(&obedient) && hears(&stubborn));

    assert!(signal(house.fork_server.pid(), Signal::Kill).is_ok());
    assert!(!hears(&obedient), "the parent death signal has ended it");
    let lost = loop {
        match house.fork_server.wait(None) {
            Ok(events) => assert!(events.is_empty(), "nobody is there to tell"),
            Err(error) => break error,
        }
    };
    assert!(matches!(lost, ForkServerError::Lost { .. }), "{lost}");
    assert!(!house.fork_server.orphaned_are_gone());
    assert!(!is_over(pid));
    house.fork_server.signal_orphaned(Signal::Kill).expect("sent");
    assert!(!hears(&stubborn), "KILL has ended it");
    eventually("the bereaved are gone", || house.fork_server.orphaned_are_gone());
    let mut exit = None;
    eventually("it is buried", || {
        exit = house.fork_server.reap().expect("ours");
        exit.is_some()
    });
    assert_eq!(exit, Some(ended_by(Signal::Kill)));
}

fn the_unborn_are_given_back() {
    let mut house = House::of(3, lives(|_birth: ChildStart<UnixStream>| 0));
    assert!(signal(house.fork_server.pid(), Signal::Stop).is_ok());
    let mut lines = Vec::new();
    for _each in 0..3 {
        let (near, far) = UnixStream::pair().expect("a pair");
        lines.push((house.fork(near), far));
    }
    assert!(signal(house.fork_server.pid(), Signal::Kill).is_ok());
    assert_eq!(house.lost(), ended_by(Signal::Kill));
    let mut unborn = house.fork_server.take_pending();
    unborn.sort_by_key(|(child, _request)| child.slot);
    assert_eq!(unborn.len(), 3);
    for ((child, request), (ordered, far)) in unborn.iter().zip(&lines) {
        assert_eq!(child, ordered);
        say(request);
        assert!(hears(far));
    }
    assert!(house.fork_server.take_pending().is_empty());
}

fn a_fork_of_nobody_gives_back() {
    let mut house = House::of(1, lives(|_birth: ChildStart<String>| 0));
    assert!(signal(house.fork_server.pid(), Signal::Kill).is_ok());
    assert_eq!(house.lost(), ended_by(Signal::Kill));
    let unforked = house.fork_server.fork("kept".into()).expect_err("nobody forks");
    assert_eq!(unforked.request, "kept");
    assert!(matches!(unforked.why, ForkServerError::Lost { .. }));
    assert_eq!(house.fork_server.board().free(), 1);
}

fn letting_go_closes_the_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound");
    let brood = lives(move |birth: ChildStart<(UnixStream, Serde<bool>)>| {
        // A child that was handed its request has no use for the listener.
        drop(listener);
        lives_on(birth)
    });
    let plan = ForkServerBuilder::new(2).grace(GRACE);
    let mut house = House::spawn(plan, brood);
    let (near, far) = UnixStream::pair().expect("a pair");
    house.fork((near, Serde(false)));
    let (_child, pid) = house.born();
    assert!(hears(&far));
    TcpStream::connect(address).expect("the fork server holds the listener");

    house.fork_server.release().expect("sent");
    let (near, _far) = UnixStream::pair().expect("a pair");
    house.fork((near, Serde(false)));
    let Event::ForkFailed { refusal, .. } = house.next() else {
        panic!("it was forked");
    };
    assert_eq!(refusal, ForkRefusal::Released);
    assert!(!refusal.is_passing());
    let refused = TcpStream::connect(address).expect_err("nobody holds it");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(!is_over(pid));
    house.goes_home();
}
