//! Scenarios of symbol lookups, which run in a process of their own.

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use daemon_forkserver::sys::poll::{Interest, wait};
use daemon_forkserver::sys::process::{Pid, Signal, SignalOutcome, signal};
use daemon_forkserver::sys::trace::StackFrame;
use daemon_forkserver::{ChildStart, SYMBOL_LOOKUP_MAX, SymbolLookup, SymbolLookupProgress};

use super::support::{TestServer, closure_program, has_exited};
use crate::scenarios::{Scenario, eventually};

/// The scenarios read `/proc`, and other systems have no backtraces to look up.
pub(crate) const SCENARIOS: &[Scenario] = if cfg!(target_os = "linux") { ALL } else { &[] };

const ALL: &[Scenario] = &[
    ("functions_are_found_even_after_the_program_is_released", functions_are_found),
    ("a_lookup_has_no_descriptors_of_the_fork_server_and_ends_on_term", a_lookup_has_only_its_pipe),
    ("a_new_lookup_ends_a_frozen_one", a_new_lookup_ends_a_frozen_one),
    ("a_shutdown_kills_a_frozen_lookup", a_shutdown_kills_a_frozen_lookup),
    ("a_lookup_dies_with_the_fork_server", a_lookup_dies_with_the_fork_server),
];

type Server = TestServer<()>;

fn server() -> Server {
    TestServer::new(1, closure_program(|_start: ChildStart<()>| 0))
}

#[inline(never)]
fn function_to_find() -> u32 {
    std::hint::black_box(7)
}

/// Starts a lookup of this file's own function and of an unknown address.
fn look_up(server: &mut Server) -> SymbolLookup {
    let backtrace = vec![function_to_find as fn() -> u32 as usize, 16];
    server.fork_server.look_up_symbols(vec![backtrace]).expect("the command is sent")
}

/// Waits until the lookup has ended, and returns the frames of its only backtrace.
fn frames(mut lookup: SymbolLookup) -> Vec<StackFrame> {
    let deadline = Instant::now() + SYMBOL_LOOKUP_MAX * 2;
    while lookup.read() == SymbolLookupProgress::Running {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "the lookup has not ended in time");
        wait(&[(lookup.as_fd(), Interest::Read)], Some(left)).expect("waited");
    }
    lookup.into_frames().pop().expect("the frames of the backtrace")
}

fn is_found(frames: &[StackFrame]) -> bool {
    let name = |frame: &StackFrame| frame.function.clone().unwrap_or_default();
    frames.iter().any(|frame| name(frame).ends_with("function_to_find"))
}

/// Returns the only child of the fork server.
fn lookup_process(server: &Server) -> Pid {
    let path = format!("/proc/{0}/task/{0}/children", server.fork_server.pid());
    let mut found = None;
    eventually("the lookup runs", || {
        let children = fs::read_to_string(&path).unwrap_or_default();
        let pid = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        found = pid.and_then(Pid::from_raw);
        found.is_some()
    });
    found.expect("the lookup runs")
}

fn send(pid: Pid, number: Signal) {
    assert_eq!(signal(pid, number).expect("permitted"), SignalOutcome::Delivered);
}

/// Starts a lookup and stops its process.
fn frozen(server: &mut Server) -> (SymbolLookup, Pid) {
    let lookup = look_up(server);
    let pid = lookup_process(server);
    send(pid, Signal::Stop);
    (lookup, pid)
}

fn functions_are_found() {
    let mut server = server();
    assert!(is_found(&frames(look_up(&mut server))));
    server.fork_server.release().expect("the command is sent");
    let frames = frames(look_up(&mut server));
    assert!(is_found(&frames), "{frames:?}");
    assert_eq!(frames.last().map(ToString::to_string).as_deref(), Some("0x10"));
}

fn a_lookup_has_only_its_pipe() {
    let mut server = server();
    let lookup = look_up(&mut server);
    let pid = lookup_process(&server);
    eventually("the lookup has closed the other descriptors", || {
        let listed = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let paths: Vec<_> = listed.map(|fd| fs::read_link(fd.path()).unwrap_or_default()).collect();
        // Files of debug information are mapped and closed at once.
        paths.iter().all(|path| !path.to_string_lossy().starts_with("socket:"))
    });
    send(pid, Signal::Stop);
    send(pid, Signal::Term);
    send(pid, Signal::Cont);
    let frames = frames(lookup);
    assert_eq!(frames.len(), 2, "{frames:?}");
    eventually("the lookup is gone", || has_exited(pid));
}

fn a_new_lookup_ends_a_frozen_one() {
    let mut server = server();
    let (first, pid) = frozen(&mut server);
    assert!(is_found(&frames(look_up(&mut server))));
    assert!(frames(first).iter().all(|frame| frame.function.is_none()));
    eventually("the first lookup is gone", || has_exited(pid));
}

fn a_shutdown_kills_a_frozen_lookup() {
    let mut server = server();
    let (lookup, pid) = frozen(&mut server);
    let start = Instant::now();
    server.fork_server.shut_down().expect("the command is sent");
    server.wait_until_lost();
    assert!(has_exited(pid), "the lookup does not outlive the fork server");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(frames(lookup).len(), 2);
}

fn a_lookup_dies_with_the_fork_server() {
    let mut server = server();
    let (lookup, pid) = frozen(&mut server);
    send(server.fork_server.pid(), Signal::Kill);
    assert_eq!(frames(lookup).len(), 2);
    eventually("the lookup is gone", || has_exited(pid));
    server.wait_until_lost();
}
