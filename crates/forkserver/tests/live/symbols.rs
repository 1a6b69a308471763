//! Scenarios of symbol lookups, which run in a process of their own.

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use daemon_forkserver::sys::poll::{Interest, wait};
use daemon_forkserver::sys::process::{Pid, Signal, SignalOutcome, signal};
use daemon_forkserver::sys::trace::StackFrame;
use daemon_forkserver::{ChildStart, SYMBOL_LOOKUP_MAX, SymbolLookup, SymbolLookupProgress};

use super::support::{GRACE, TestServer, closure_program, has_exited};
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

/// Returns the fork server's child, if there is one.
fn lookup_process(server: &Server) -> Option<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", server.fork_server.pid());
    let children = fs::read_to_string(path).unwrap_or_default();
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

fn send(pid: Pid, number: Signal) {
    assert_eq!(signal(pid, number).expect("permitted"), SignalOutcome::Delivered);
}

/// Starts a lookup and stops its process when `is_ready`. The lookup has found nothing yet. A
/// lookup may be faster than the signal; then another one is started.
fn frozen(server: &mut Server, is_ready: impl Fn(Pid) -> bool) -> (SymbolLookup, Pid) {
    let mut frozen = None;
    eventually("a lookup is stopped", || {
        let lookup = look_up(server);
        while !has_ended(&lookup) {
            let Some(pid) = lookup_process(server).filter(|pid| is_ready(*pid)) else {
                continue;
            };
            let stopped =
                signal(pid, Signal::Stop).is_ok_and(|sent| sent == SignalOutcome::Delivered);
            if stopped && is_stopped(pid) && !has_ended(&lookup) {
                frozen = Some((lookup, pid));
                return true;
            }
        }
        false
    });
    frozen.expect("a lookup is stopped")
}

/// Returns whether the pipe has bytes or is closed, which is the case when the lookup is over.
fn has_ended(lookup: &SymbolLookup) -> bool {
    let ready = wait(&[(lookup.as_fd(), Interest::Read)], Some(Duration::ZERO)).expect("waited");
    !ready[0].is_empty()
}

fn is_stopped(pid: Pid) -> bool {
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next())
    };
    let is_running = || matches!(state(), Some('R' | 'S' | 'D'));
    eventually("the process has stopped or exited", || !is_running());
    state() == Some('T')
}

/// Returns whether the process has closed the link to the parent. Files of debug information are
/// closed after they are mapped.
fn has_no_socket(pid: Pid) -> bool {
    let listed = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let paths: Vec<_> = listed.map(|fd| fs::read_link(fd.path()).unwrap_or_default()).collect();
    !paths.is_empty() && !paths.iter().any(|path| path.to_string_lossy().starts_with("socket:"))
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
    let (lookup, pid) = frozen(&mut server, has_no_socket);
    send(pid, Signal::Term);
    send(pid, Signal::Cont);
    assert_eq!(frames(lookup).len(), 2);
    eventually("the lookup is gone", || has_exited(pid));
}

fn a_new_lookup_ends_a_frozen_one() {
    let mut server = server();
    let (first, pid) = frozen(&mut server, |_pid| true);
    assert!(is_found(&frames(look_up(&mut server))));
    assert!(frames(first).iter().all(|frame| frame.function.is_none()));
    eventually("the first lookup is gone", || has_exited(pid));
}

fn a_shutdown_kills_a_frozen_lookup() {
    let mut server = server();
    let (lookup, pid) = frozen(&mut server, |_pid| true);
    let start = Instant::now();
    server.fork_server.shut_down(GRACE).expect("the command is sent");
    server.wait_until_lost();
    assert!(has_exited(pid), "the lookup does not outlive the fork server");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(frames(lookup).len(), 2);
}

fn a_lookup_dies_with_the_fork_server() {
    let mut server = server();
    let (lookup, pid) = frozen(&mut server, |_pid| true);
    send(server.fork_server.pid(), Signal::Kill);
    assert_eq!(frames(lookup).len(), 2);
    eventually("the lookup is gone", || has_exited(pid));
    server.wait_until_lost();
}
