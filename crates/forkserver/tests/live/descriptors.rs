//! Scenarios of descriptors: which of them a child holds, and that no descriptor leaks.

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
        "a_child_holds_only_the_descriptors_of_its_request_its_program_and_the_wakeup",
        a_child_holds_only_its_own_descriptors,
    ),
    ("a_thousand_requests_leak_no_descriptor", requests_leak_no_descriptor),
    ("a_hundred_refused_requests_leak_no_descriptor", refusals_leak_no_descriptor),
];

/// Returns the kinds of the descriptors that are open now and are not in `previous`, in one line.
fn opened_since(previous: &[(RawFd, String)]) -> String {
    let mut kinds: Vec<String> = open_fds()
        .expect("the descriptors can be listed")
        .into_iter()
        // Skip the descriptor of the directory listing itself.
        .filter(|open| !previous.contains(open) && !open.1.ends_with("/fd"))
        .map(|(_fd, to)| to.split(':').next().unwrap_or_default().to_owned())
        .collect();
    kinds.sort();
    kinds.join(" ")
}

fn a_child_holds_only_its_own_descriptors() {
    let previous = open_fds().expect("the descriptors can be listed");
    let listener = TcpListener::bind("127.0.0.1:0").expect("the listener is bound");
    let mut server = TestServer::new(
        5,
        closure_program(move |start: ChildStart<OwnedFd>| {
            let mut writer = io::PipeWriter::from(start.request.expect("the request decodes"));
            write!(writer, "{}", opened_since(&previous)).expect("the line is written");
            drop(listener);
            0
        }),
    );
    // When the stopped fork server continues, it receives all five commands at once, each with its
    // descriptor.
    assert!(signal(server.fork_server.pid(), Signal::Stop).is_ok());
    let reader: Vec<PipeReader> = (0..5)
        .map(|_each| {
            let (reader, writer) = io::pipe().expect("a pipe opens");
            server.fork(writer.into());
            reader
        })
        .collect();
    assert!(signal(server.fork_server.pid(), Signal::Cont).is_ok());
    for _event in 0..10 {
        assert!(!matches!(server.next_event(), ForkServerEvent::ForkFailed { .. }));
    }
    for mut reader in reader {
        let mut received = String::new();
        reader.read_to_string(&mut received).expect("read until the end");
        assert_eq!(received, "pipe pipe socket");
    }
    server.shut_down();
}

/// Returns the number of descriptors that another process has open.
fn count_descriptors(pid: Pid) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process exists").count()
}

fn requests_leak_no_descriptor() {
    let mut server = TestServer::new(
        16,
        closure_program(|start: ChildStart<(OwnedFd, Vec<u8>)>| {
            let (_fd, bytes) = start.request.expect("the request decodes");
            i32::from(bytes.is_empty())
        }),
    );
    let (reader, writer) = io::pipe().expect("a pipe opens");
    let before = (
        count().expect("the descriptors can be counted"),
        count_descriptors(server.fork_server.pid()),
    );
    let (mut requested, mut gone) = (0_usize, 0);
    while gone < 1000 {
        while requested < 1000 && server.fork_server.board().empty_slots() > 0 {
            let fd = writer.try_clone().expect("a free descriptor");
            // Every tenth request is sent in a memory file.
            let size = if requested.is_multiple_of(10) { 10_000 } else { 1 };
            server.fork((fd.into(), vec![1; size]));
            requested += 1;
        }
        if let ForkServerEvent::Exited { exit, .. } = server.next_event() {
            assert_eq!(exit, Exit::Code(0));
            gone += 1;
        }
    }
    assert_eq!(
        (
            count().expect("the descriptors can be counted"),
            count_descriptors(server.fork_server.pid())
        ),
        before
    );
    drop(reader);
    server.shut_down();
}

fn refusals_leak_no_descriptor() {
    let mut server =
        TestServer::new(16, closure_program(|_start: ChildStart<(OwnedFd, Vec<u8>)>| 0));
    let (reader, writer) = io::pipe().expect("a pipe opens");
    let before = (
        count().expect("the descriptors can be counted"),
        count_descriptors(server.fork_server.pid()),
    );
    server.fork_server.release().expect("the command is sent");
    for each in 0..100_usize {
        let fd = writer.try_clone().expect("a free descriptor");
        let size = if each.is_multiple_of(2) { 10_000 } else { 1 };
        server.fork((fd.into(), vec![1; size]));
        assert!(matches!(server.next_event(), ForkServerEvent::ForkFailed { .. }));
    }
    assert_eq!(
        (
            count().expect("the descriptors can be counted"),
            count_descriptors(server.fork_server.pid())
        ),
        before
    );
    drop(reader);
    server.shut_down();
}
