//! Scenarios of descriptors: who holds which, and that none stays open.

use std::io::{self, PipeReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::{OwnedFd, RawFd};

use daemon_forkserver::core::Exit;
use daemon_forkserver::sys::fds::{count, open_fds};
use daemon_forkserver::sys::process::{Pid, Signal, signal};
use daemon_forkserver::{ChildStart, ForkServerEvent};

use super::support::{TestServer, closure_program};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "a_child_holds_its_request_the_bell_and_the_brood_and_nothing_else",
        a_child_holds_only_what_it_must,
    ),
    ("a_thousand_handovers_leak_no_descriptor", handovers_leak_no_descriptor),
    ("a_hundred_refused_requests_leak_no_descriptor", refusals_leak_no_descriptor),
];

/// What the descriptors lead to that are open now and not among the former ones, as one line.
fn beside(former: &[(RawFd, String)]) -> String {
    let mut kinds: Vec<String> = open_fds()
        .expect("listed")
        .into_iter()
        // The directory that is listed is one of them.
        .filter(|open| !former.contains(open) && !open.1.ends_with("/fd"))
        .map(|(_fd, to)| to.split(':').next().unwrap_or_default().to_owned())
        .collect();
    kinds.sort();
    kinds.join(" ")
}

fn a_child_holds_only_what_it_must() {
    let former = open_fds().expect("listed");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let mut server = TestServer::of(
        5,
        closure_program(move |start: ChildStart<OwnedFd>| {
            let mut tell = io::PipeWriter::from(start.request.expect("unpacked"));
            write!(tell, "{}", beside(&former)).expect("told");
            drop(listener);
            0
        }),
    );
    // Stopped, it finds all five orders at once, each with its descriptor.
    assert!(signal(server.fork_server.pid(), Signal::Stop).is_ok());
    let told: Vec<PipeReader> = (0..5)
        .map(|_each| {
            let (told, tell) = io::pipe().expect("a pipe");
            server.fork(tell.into());
            told
        })
        .collect();
    assert!(signal(server.fork_server.pid(), Signal::Cont).is_ok());
    for _event in 0..10 {
        assert!(!matches!(server.next(), ForkServerEvent::ForkFailed { .. }));
    }
    for mut told in told {
        let mut heard = String::new();
        told.read_to_string(&mut heard).expect("the end");
        assert_eq!(heard, "anon_inode pipe socket");
    }
    server.shut_down();
}

/// How many descriptors another process has open.
fn count_of(pid: Pid) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it is there").count()
}

fn handovers_leak_no_descriptor() {
    let mut server = TestServer::of(
        16,
        closure_program(|start: ChildStart<(OwnedFd, Vec<u8>)>| {
            let (_fd, bytes) = start.request.expect("unpacked");
            i32::from(bytes.is_empty())
        }),
    );
    let (told, tell) = io::pipe().expect("a pipe");
    let before = (count().expect("counted"), count_of(server.fork_server.pid()));
    let (mut ordered, mut gone) = (0_usize, 0);
    while gone < 1000 {
        while ordered < 1000 && server.fork_server.board().free() > 0 {
            let fd = tell.try_clone().expect("a spare descriptor");
            // Every tenth by memory file.
            let size = if ordered.is_multiple_of(10) { 10_000 } else { 1 };
            server.fork((fd.into(), vec![1; size]));
            ordered += 1;
        }
        if let ForkServerEvent::Exited { exit, .. } = server.next() {
            assert_eq!(exit, Exit::Code(0));
            gone += 1;
        }
    }
    assert_eq!((count().expect("counted"), count_of(server.fork_server.pid())), before);
    drop(told);
    server.shut_down();
}

fn refusals_leak_no_descriptor() {
    let mut server =
        TestServer::of(16, closure_program(|_birth: ChildStart<(OwnedFd, Vec<u8>)>| 0));
    let (told, tell) = io::pipe().expect("a pipe");
    let before = (count().expect("counted"), count_of(server.fork_server.pid()));
    server.fork_server.release().expect("sent");
    for each in 0..100_usize {
        let fd = tell.try_clone().expect("a spare descriptor");
        let size = if each.is_multiple_of(2) { 10_000 } else { 1 };
        server.fork((fd.into(), vec![1; size]));
        assert!(matches!(server.next(), ForkServerEvent::ForkFailed { .. }));
    }
    assert_eq!((count().expect("counted"), count_of(server.fork_server.pid())), before);
    drop(told);
    server.shut_down();
}
