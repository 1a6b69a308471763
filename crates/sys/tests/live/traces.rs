//! Live tests of backtraces on request.

use std::fs;
use std::hint::black_box;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::{SignalOutcome, exit_now, number_of, signal};
use daemon_sys::reap::{Exit, wait_for};
use daemon_sys::signals::SignalBlockGuard;
use daemon_sys::signals::terminate_after;
use daemon_sys::trace::{
    BacktraceChannel, BacktraceRequester, MAX_FRAMES, StackFrame, return_addresses, symbolise_each,
};
use daemon_sys::{Pid, Signal, shared};

use super::helpers::{child, killed_by, sleep_until_killed};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_backtrace_contains_the_function_of_a_busy_child", the_function_of_a_busy_child_is_found),
    ("a_child_blocked_in_read_is_traced_and_continues", a_child_blocked_in_read_is_traced),
    ("children_inherit_the_backtrace_handler_of_the_fork_server", a_handler_is_inherited),
    (
        "a_child_that_continues_after_a_stop_does_not_respond_to_an_outdated_request",
        a_stopped_child,
    ),
    ("a_child_that_blocks_sigurg_does_not_respond", a_child_that_blocks_the_signal),
    (
        "a_backtrace_request_does_not_affect_a_child_without_a_handler",
        a_child_without_a_handler_is_not_affected,
    ),
    ("a_deep_stack_is_truncated_at_its_outer_end", a_deep_stack_is_truncated),
    ("frequent_backtrace_requests_do_not_disturb_a_child", frequent_requests),
];

fn is_unsupported() -> bool {
    !cfg!(all(target_os = "linux", not(fallback)))
}

const SKIPPED: &str = "skipped: this system has no backtraces";

/// Forks a child that responds to backtrace requests, and returns when its handler is installed.
fn traceable(run: impl FnOnce() -> i32) -> (Pid, BacktraceRequester) {
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    let channel = BacktraceChannel::open().expect("opened");
    match fork().expect("forked") {
        ForkResult::Parent(pid) => {
            wait_for_byte(&mut reader);
            (pid, channel.into_requester())
        }
        ForkResult::Child => {
            channel.install_handler().expect("installed");
            // Ends this child after a minute if the test fails.
            terminate_after(Duration::from_secs(60));
            writer.write_all(b".").expect("transferred");
            exit_now(run())
        }
    }
}

fn wait_for_byte(reader: &mut PipeReader) {
    reader.read_exact(&mut [0]).expect("transferred");
}

/// Requests a backtrace and waits for the response.
fn trace(requester: &mut BacktraceRequester, pid: Pid) -> Vec<usize> {
    let request = requester.request(pid);
    assert_eq!(request.pid(), pid);
    assert_eq!(signal(pid, Signal::Urg).expect("permitted"), SignalOutcome::Delivered);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        assert!(Instant::now() < deadline, "process {pid} does not respond");
        wait(&[(requester.as_fd(), Interest::Read)], Some(Duration::from_secs(10)))
            .expect("polled");
        requester.clear();
        if let Some(addresses) = requester.response(&request) {
            return addresses;
        }
    }
}

/// Returns the frames of a backtrace.
fn symbolise(backtrace: &[usize]) -> Vec<StackFrame> {
    let mut frames = Vec::new();
    let addresses: Vec<usize> = return_addresses(backtrace).collect();
    symbolise_each(&addresses, |_index, frame| frames.push(frame));
    frames
}

/// Requests backtraces until one contains a function whose name contains `part`. Returns the frames
/// from this function on.
fn trace_until(requester: &mut BacktraceRequester, pid: Pid, part: &str) -> Vec<StackFrame> {
    let mut frames = Vec::new();
    eventually(&format!("a backtrace contains {part}"), || {
        frames = symbolise(&trace(requester, pid));
        let position = frames.iter().position(|frame| matches(frame, part));
        frames.drain(..position.unwrap_or(frames.len()));
        !frames.is_empty()
    });
    frames
}

fn matches(frame: &StackFrame, part: &str) -> bool {
    frame.function.as_deref().is_some_and(|function| function.contains(part))
}

fn kill(pid: Pid) {
    assert_eq!(signal(pid, Signal::Kill).expect("permitted"), SignalOutcome::Delivered);
    assert_eq!(wait_for(pid).expect("reaped"), killed_by(Signal::Kill));
}

#[inline(never)]
fn spin_for_a_minute() -> i32 {
    let deadline = Instant::now() + Duration::from_secs(60);
    while black_box(Instant::now()) < deadline {
        for number in 0..1000 {
            black_box(number);
        }
    }
    99
}

#[inline(never)]
fn read_a_byte(mut from: PipeReader) -> i32 {
    match from.read(&mut [0]) {
        Ok(1) => 7,
        Ok(_) | Err(_) => 99,
    }
}

fn the_function_of_a_busy_child_is_found() {
    if is_unsupported() {
        return println!("{SKIPPED}");
    }
    let (pid, mut requester) = traceable(spin_for_a_minute);
    let spinning = &trace_until(&mut requester, pid, "::spin_for_a_minute")[0];
    let frames = symbolise(&trace(&mut requester, pid));
    let internal = ["platform::walk", "trace::on_request", "restore_rt", "sigreturn"];
    for part in internal {
        assert!(!frames.iter().any(|frame| matches(frame, part)), "{part} in {frames:#?}");
    }
    let name = spinning.function.as_deref().expect("found by its name");
    assert_eq!(name, "live::live::traces::spin_for_a_minute", "the name has no hash");
    if cfg!(debug_assertions) {
        assert!(spinning.file.as_deref().is_some_and(|file| file.ends_with("live/traces.rs")));
        assert!(spinning.line.is_some_and(|line| line > 1));
    }
    kill(pid);
}

fn a_child_blocked_in_read_is_traced() {
    if is_unsupported() {
        return println!("{SKIPPED}");
    }
    let (from, mut to) = io::pipe().expect("a pipe");
    let (pid, mut requester) = traceable(|| read_a_byte(from));
    eventually("the child sleeps", || state(pid) == 'S');
    let frames = symbolise(&trace(&mut requester, pid));
    assert!(matches(&frames[0], "read"), "{frames:#?}");
    assert!(frames.iter().any(|frame| matches(frame, "::read_a_byte")), "{frames:#?}");
    to.write_all(b".").expect("written");
    assert_eq!(wait_for(pid).expect("reaped"), Exit::Code(7), "the read was not restarted");
}

fn a_handler_is_inherited() {
    if is_unsupported() {
        return println!("{SKIPPED}");
    }
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    let channel = BacktraceChannel::open().expect("opened");
    let fork_server = match fork().expect("forked") {
        ForkResult::Parent(fork_server) => fork_server,
        ForkResult::Child => {
            channel.install_handler().expect("installed");
            let spinning = child(spin_for_a_minute);
            writer.write_all(&spinning.as_raw().to_ne_bytes()).expect("transferred");
            exit_now(i32::from(wait_for(spinning).expect("reaped") != killed_by(Signal::Kill)))
        }
    };
    let mut number = [0; 4];
    reader.read_exact(&mut number).expect("transferred");
    let spinning = Pid::from_raw(i32::from_ne_bytes(number)).expect("a pid");
    let mut requester = channel.into_requester();
    assert!(!trace_until(&mut requester, spinning, "::spin_for_a_minute").is_empty());
    let waiting = trace_until(&mut requester, fork_server, "a_handler_is_inherited");
    assert!(!waiting.iter().any(|frame| matches(frame, "::spin_for_a_minute")), "{waiting:#?}");
    assert_eq!(signal(spinning, Signal::Kill).expect("permitted"), SignalOutcome::Delivered);
    assert_eq!(wait_for(fork_server).expect("reaped"), Exit::Code(0));
}

fn a_stopped_child() {
    if is_unsupported() {
        return println!("{SKIPPED}");
    }
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    let channel = BacktraceChannel::open().expect("opened");
    let fork_server = match fork().expect("forked") {
        ForkResult::Parent(fork_server) => fork_server,
        ForkResult::Child => {
            channel.install_handler().expect("installed");
            let others = [child(spin_for_a_minute), child(spin_for_a_minute)];
            for other in others {
                writer.write_all(&other.as_raw().to_ne_bytes()).expect("transferred");
            }
            let ends = others.map(|other| wait_for(other).expect("reaped"));
            exit_now(i32::from(ends.iter().any(|end| *end != killed_by(Signal::Kill))))
        }
    };
    let mut next_pid = || {
        let mut number = [0; 4];
        reader.read_exact(&mut number).expect("transferred");
        Pid::from_raw(i32::from_ne_bytes(number)).expect("a pid")
    };
    let (stopped, other) = (next_pid(), next_pid());
    let mut requester = channel.into_requester();
    assert_eq!(signal(stopped, Signal::Stop).expect("permitted"), SignalOutcome::Delivered);
    eventually("the child is stopped", || state(stopped) == 'T');
    let unanswered = requester.request(stopped);
    assert_eq!(signal(stopped, Signal::Urg).expect("permitted"), SignalOutcome::Delivered);
    let ready = wait(&[(requester.as_fd(), Interest::Read)], Some(Duration::from_millis(100)));
    assert!(ready.expect("polled")[0].is_empty());
    assert_eq!(requester.response(&unanswered), None);

    assert!(!trace(&mut requester, other).is_empty());
    assert_eq!(signal(stopped, Signal::Cont).expect("permitted"), SignalOutcome::Delivered);
    eventually("the child continues", || state(stopped) == 'R');
    assert!(!trace(&mut requester, other).is_empty());
    assert_eq!(requester.response(&unanswered), None, "the outdated request is not answered");
    assert!(!trace_until(&mut requester, stopped, "::spin_for_a_minute").is_empty());
    for pid in [stopped, other] {
        assert_eq!(signal(pid, Signal::Kill).expect("permitted"), SignalOutcome::Delivered);
    }
    assert_eq!(wait_for(fork_server).expect("reaped"), Exit::Code(0));
}

fn a_child_that_blocks_the_signal() {
    let (pid, mut requester) = traceable(|| {
        SignalBlockGuard::block(&[Signal::Urg]).expect("blocked").leave_blocked();
        spin_for_a_minute()
    });
    let blocked = format!("{:016x}", 1_u64 << (number_of(Signal::Urg) - 1));
    let is_blocked = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("SigBlk:") && line.ends_with(&blocked))
    };
    if cfg!(target_os = "linux") {
        eventually("the child blocks the signal", is_blocked);
    }
    let request = requester.request(pid);
    assert_eq!(signal(pid, Signal::Urg).expect("permitted"), SignalOutcome::Delivered);
    let ready = wait(&[(requester.as_fd(), Interest::Read)], Some(Duration::from_millis(100)));
    assert!(ready.expect("polled")[0].is_empty());
    assert_eq!(requester.response(&request), None);
    kill(pid);
}

fn a_child_without_a_handler_is_not_affected() {
    let sleeper = child(|| sleep_until_killed());
    let mut requester = BacktraceChannel::open().expect("opened").into_requester();
    let request = requester.request(sleeper);
    assert_eq!(signal(sleeper, Signal::Urg).expect("permitted"), SignalOutcome::Delivered);
    assert_eq!(requester.response(&request), None);
    kill(sleeper);
}

#[inline(never)]
fn recurse(depth: u32) -> i32 {
    let code = if depth == 0 { spin_for_a_minute() } else { recurse(depth - 1) };
    black_box(code)
}

fn a_deep_stack_is_truncated() {
    if is_unsupported() {
        return println!("{SKIPPED}");
    }
    let (pid, mut requester) = traceable(|| recurse(200));
    let frames = trace_until(&mut requester, pid, "::spin_for_a_minute");
    assert!(frames.iter().skip(1).all(|frame| matches(frame, "::recurse")), "{frames:#?}");
    assert_eq!(trace(&mut requester, pid).len(), MAX_FRAMES);
    kill(pid);
}

fn frequent_requests() {
    if is_unsupported() {
        return println!("{SKIPPED}");
    }
    let [rounds] = shared::anonymous::<AtomicU64>(1).expect("mapped") else {
        panic!("one counter is mapped")
    };
    let (pid, mut requester) = traceable(|| {
        let mut sums = 0;
        while rounds.load(SeqCst) < 1000 {
            // The handler interrupts allocations, locks and system calls of this loop.
            let text: Vec<String> = (0..50).map(|number| number.to_string()).collect();
            let read = fs::read("/proc/self/stat").map_or(0, |bytes| bytes.len());
            sums += usize::from(text.concat().len() == 90 && read > 0);
            fs::read("/nowhere/at/all").expect_err("no such file");
            assert_eq!(io::Error::last_os_error().kind(), io::ErrorKind::NotFound);
        }
        i32::from(sums == 0)
    });
    for _ in 0..1000 {
        assert!(!trace(&mut requester, pid).is_empty());
        rounds.fetch_add(1, SeqCst);
    }
    assert_eq!(wait_for(pid).expect("reaped"), Exit::Code(0));
}

/// Returns the state of a process from `/proc/PID/stat`.
pub(crate) fn state(pid: Pid) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
    rest.chars().next().unwrap_or('?')
}
