//! Scenarios of backtraces on request.

use std::fs;
use std::hint::black_box;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::{SignalOutcome, exit_now, signal, terminate_after};
use daemon_sys::reap::{Exit, wait_for};
use daemon_sys::signals::SignalBlockGuard;
use daemon_sys::trace::{BacktraceChannel, BacktraceRequester, MAX_FRAMES, StackFrame, symbolise};
use daemon_sys::{Pid, Signal, shared};

use super::asks::{child, sleep_until_killed};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_child_that_spins_tells_the_function_it_spins_in", a_child_that_spins_is_found),
    ("a_child_that_waits_in_read_tells_so_and_reads_on", a_child_that_reads_is_found_and_reads_on),
    ("a_handler_of_the_fork_server_s_answers_for_its_children", a_handler_is_inherited),
    ("a_stopped_child_answers_no_question_but_one_asked_when_it_goes_on", a_stopped_child),
    ("a_child_that_blocks_the_signal_does_not_answer", a_child_that_blocks_the_signal),
    ("a_child_without_a_handler_is_not_hurt", a_child_without_a_handler_is_not_hurt),
    ("a_stack_deeper_than_an_answer_is_told_from_its_top", a_deep_stack_is_cut),
    ("a_child_that_is_asked_all_the_time_does_its_work_all_the_same", asked_all_the_time),
];

fn none_answers_here() -> bool {
    !cfg!(all(target_os = "linux", not(fallback)))
}

const SKIPPED: &str = "skipped: nobody answers here";

/// Forks a child that answers, and says when its handler is there.
fn answering(run: impl FnOnce() -> i32) -> (Pid, BacktraceRequester) {
    let (mut up, mut tell) = io::pipe().expect("a pipe");
    let inquiry = BacktraceChannel::open().expect("opens");
    match fork().expect("forks") {
        ForkResult::Parent(pid) => {
            up_and_ready(&mut up);
            (pid, inquiry.into_requester())
        }
        ForkResult::Child => {
            inquiry.install_handler().expect("a handler");
            // A scenario that fails leaves nobody behind.
            terminate_after(Duration::from_secs(60));
            tell.write_all(b".").expect("told");
            exit_now(run())
        }
    }
}

fn up_and_ready(up: &mut PipeReader) {
    up.read_exact(&mut [0]).expect("told");
}

/// Asks until there is an answer, of a child that is known to give one.
fn ask(asker: &mut BacktraceRequester, pid: Pid) -> Vec<usize> {
    let question = asker.request(pid);
    assert_eq!(question.pid(), pid);
    assert_eq!(signal(pid, Signal::Urg).expect("ours"), SignalOutcome::Delivered);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        assert!(Instant::now() < deadline, "process {pid} does not answer");
        wait(&[(asker.as_fd(), Interest::Read)], Some(Duration::from_secs(10))).expect("waits");
        asker.clear();
        if let Some(answer) = asker.response(&question) {
            return answer;
        }
    }
}

/// Asks until one of the functions has this in its name, and returns them from that one on.
fn ask_until(asker: &mut BacktraceRequester, pid: Pid, part: &str) -> Vec<StackFrame> {
    let mut frames = Vec::new();
    eventually(part, || {
        frames = symbolise(&ask(asker, pid));
        let found = frames.iter().position(|frame| is(frame, part));
        frames.drain(..found.unwrap_or(frames.len()));
        !frames.is_empty()
    });
    frames
}

fn is(frame: &StackFrame, part: &str) -> bool {
    frame.function.as_deref().is_some_and(|function| function.contains(part))
}

fn kill(pid: Pid) {
    assert_eq!(signal(pid, Signal::Kill).expect("ours"), SignalOutcome::Delivered);
    assert_eq!(wait_for(pid).expect("reaped"), Signal::Kill);
}

#[inline(never)]
fn spins_for_a_minute() -> i32 {
    let deadline = Instant::now() + Duration::from_secs(60);
    while black_box(Instant::now()) < deadline {
        for number in 0..1000 {
            black_box(number);
        }
    }
    99
}

#[inline(never)]
fn reads_a_byte(mut from: PipeReader) -> i32 {
    match from.read(&mut [0]) {
        Ok(1) => 7,
        Ok(_) | Err(_) => 99,
    }
}

fn a_child_that_spins_is_found() {
    if none_answers_here() {
        return println!("{SKIPPED}");
    }
    let (pid, mut asker) = answering(spins_for_a_minute);
    let spinning = &ask_until(&mut asker, pid, "::spins_for_a_minute")[0];
    let frames = symbolise(&ask(&mut asker, pid));
    let of_ours = ["linux::walk", "trace::on_request", "restore_rt", "sigreturn"];
    for part in of_ours {
        assert!(!frames.iter().any(|frame| is(frame, part)), "{part} in {frames:#?}");
    }
    let name = spinning.function.as_deref().expect("found by it");
    assert_eq!(name, "live::live::traces::spins_for_a_minute", "without a hash");
    if cfg!(debug_assertions) {
        assert!(spinning.file.as_deref().is_some_and(|file| file.ends_with("live/traces.rs")));
        assert!(spinning.line.is_some_and(|line| line > 1));
    }
    kill(pid);
}

fn a_child_that_reads_is_found_and_reads_on() {
    if none_answers_here() {
        return println!("{SKIPPED}");
    }
    let (from, mut to) = io::pipe().expect("a pipe");
    let (pid, mut asker) = answering(|| reads_a_byte(from));
    eventually("it sleeps", || state(pid) == 'S');
    let frames = symbolise(&ask(&mut asker, pid));
    assert!(is(&frames[0], "read"), "{frames:#?}");
    assert!(frames.iter().any(|frame| is(frame, "::reads_a_byte")), "{frames:#?}");
    to.write_all(b".").expect("it is read");
    assert_eq!(wait_for(pid).expect("reaped"), Exit::Code(7), "it was interrupted for good");
}

fn a_handler_is_inherited() {
    if none_answers_here() {
        return println!("{SKIPPED}");
    }
    let (mut told, mut tell) = io::pipe().expect("a pipe");
    let inquiry = BacktraceChannel::open().expect("opens");
    let fork_server = match fork().expect("forks") {
        ForkResult::Parent(fork_server) => fork_server,
        ForkResult::Child => {
            inquiry.install_handler().expect("a handler");
            let spinning = child(spins_for_a_minute);
            tell.write_all(&spinning.as_raw().to_ne_bytes()).expect("told");
            exit_now(i32::from(wait_for(spinning).expect("reaped") != Signal::Kill))
        }
    };
    let mut number = [0; 4];
    told.read_exact(&mut number).expect("told");
    let spinning = Pid::from_raw(i32::from_ne_bytes(number)).expect("a pid");
    let mut asker = inquiry.into_requester();
    assert!(!ask_until(&mut asker, spinning, "::spins_for_a_minute").is_empty());
    let waiting = ask_until(&mut asker, fork_server, "a_handler_is_inherited");
    assert!(!waiting.iter().any(|frame| is(frame, "::spins_for_a_minute")), "{waiting:#?}");
    assert_eq!(signal(spinning, Signal::Kill).expect("ours"), SignalOutcome::Delivered);
    assert_eq!(wait_for(fork_server).expect("reaped"), Exit::Code(0));
}

fn a_stopped_child() {
    if none_answers_here() {
        return println!("{SKIPPED}");
    }
    let (mut up, mut tell) = io::pipe().expect("a pipe");
    let inquiry = BacktraceChannel::open().expect("opens");
    let fork_server = match fork().expect("forks") {
        ForkResult::Parent(fork_server) => fork_server,
        ForkResult::Child => {
            inquiry.install_handler().expect("a handler");
            let others = [child(spins_for_a_minute), child(spins_for_a_minute)];
            for other in others {
                tell.write_all(&other.as_raw().to_ne_bytes()).expect("told");
            }
            let ends = others.map(|other| wait_for(other).expect("reaped"));
            exit_now(i32::from(ends.iter().any(|end| *end != Signal::Kill)))
        }
    };
    let mut next = || {
        let mut number = [0; 4];
        up.read_exact(&mut number).expect("told");
        Pid::from_raw(i32::from_ne_bytes(number)).expect("a pid")
    };
    let (stopped, other) = (next(), next());
    let mut asker = inquiry.into_requester();
    assert_eq!(signal(stopped, Signal::Stop).expect("ours"), SignalOutcome::Delivered);
    eventually("it is stopped", || state(stopped) == 'T');
    let unanswered = asker.request(stopped);
    assert_eq!(signal(stopped, Signal::Urg).expect("ours"), SignalOutcome::Delivered);
    let quiet = wait(&[(asker.as_fd(), Interest::Read)], Some(Duration::from_millis(100)));
    assert!(quiet.expect("waits")[0].is_empty());
    assert_eq!(asker.response(&unanswered), None);

    assert!(!ask(&mut asker, other).is_empty());
    assert_eq!(signal(stopped, Signal::Cont).expect("ours"), SignalOutcome::Delivered);
    eventually("it goes on", || state(stopped) == 'R');
    assert!(!ask(&mut asker, other).is_empty());
    assert_eq!(asker.response(&unanswered), None, "a question of before is answered no more");
    assert!(!ask_until(&mut asker, stopped, "::spins_for_a_minute").is_empty());
    for pid in [stopped, other] {
        assert_eq!(signal(pid, Signal::Kill).expect("ours"), SignalOutcome::Delivered);
    }
    assert_eq!(wait_for(fork_server).expect("reaped"), Exit::Code(0));
}

fn a_child_that_blocks_the_signal() {
    let (pid, mut asker) = answering(|| {
        SignalBlockGuard::block(&[Signal::Urg]).expect("blocks").leave_blocked();
        spins_for_a_minute()
    });
    let blocked = format!("{:016x}", 1_u64 << (Signal::Urg.number() - 1));
    let is_blocked = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("SigBlk:") && line.ends_with(&blocked))
    };
    if cfg!(target_os = "linux") {
        eventually("it is blocked", is_blocked);
    }
    let question = asker.request(pid);
    assert_eq!(signal(pid, Signal::Urg).expect("ours"), SignalOutcome::Delivered);
    let quiet = wait(&[(asker.as_fd(), Interest::Read)], Some(Duration::from_millis(100)));
    assert!(quiet.expect("waits")[0].is_empty());
    assert_eq!(asker.response(&question), None);
    kill(pid);
}

fn a_child_without_a_handler_is_not_hurt() {
    let sleeper = child(|| sleep_until_killed());
    let mut asker = BacktraceChannel::open().expect("opens").into_requester();
    let question = asker.request(sleeper);
    assert_eq!(signal(sleeper, Signal::Urg).expect("ours"), SignalOutcome::Delivered);
    assert_eq!(asker.response(&question), None);
    kill(sleeper);
}

#[inline(never)]
fn goes_deeper(depth: u32) -> i32 {
    let code = if depth == 0 { spins_for_a_minute() } else { goes_deeper(depth - 1) };
    black_box(code)
}

fn a_deep_stack_is_cut() {
    if none_answers_here() {
        return println!("{SKIPPED}");
    }
    let (pid, mut asker) = answering(|| goes_deeper(200));
    let frames = ask_until(&mut asker, pid, "::spins_for_a_minute");
    assert!(frames.iter().skip(1).all(|frame| is(frame, "::goes_deeper")), "{frames:#?}");
    assert_eq!(ask(&mut asker, pid).len(), MAX_FRAMES);
    kill(pid);
}

fn asked_all_the_time() {
    if none_answers_here() {
        return println!("{SKIPPED}");
    }
    let [rounds] = shared::anonymous::<AtomicU64>(1).expect("maps") else { panic!("one") };
    let (pid, mut asker) = answering(|| {
        let mut sums = 0;
        while rounds.load(SeqCst) < 1000 {
            // What it does allocates, locks and faults: the handler comes in between.
            let text: Vec<String> = (0..50).map(|number| number.to_string()).collect();
            let read = fs::read("/proc/self/stat").map_or(0, |bytes| bytes.len());
            sums += usize::from(text.concat().len() == 90 && read > 0);
            fs::read("/nowhere/at/all").expect_err("there is none");
            assert_eq!(io::Error::last_os_error().kind(), io::ErrorKind::NotFound);
        }
        i32::from(sums == 0)
    });
    for _ in 0..1000 {
        assert!(!ask(&mut asker, pid).is_empty());
        rounds.fetch_add(1, SeqCst);
    }
    assert_eq!(wait_for(pid).expect("reaped"), Exit::Code(0));
}

/// The letter of a process' state, of `/proc/PID/stat`.
fn state(pid: Pid) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
    rest.chars().next().unwrap_or('?')
}
