//! The commands that make a child under test misbehave.

use std::cell::RefCell;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use actix_daemon::{ChildHandle, UpdateStatus};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask};

use crate::Options;

thread_local! {
    static SHARED_LISTENER: RefCell<Option<TcpListener>> = const { RefCell::new(None) };
}

/// Stores the listener that a grandchild inherits when it is started by the command `grandchild`.
pub fn lend(listener: TcpListener) {
    SHARED_LISTENER.set(Some(listener));
}

/// Keeps a new child from becoming ready: blocks while the file of the option `hang_at_start_while`
/// exists, and stops the process if that of `stop_at_start_while` does.
pub fn hang_at_start(options: &Options) {
    let exists = |name| options.get(name).is_some_and(|file| Path::new(file).exists());
    if exists("stop_at_start_while") {
        // Only CONT and KILL have an effect on the process from now on.
        let _ = raise(Signal::SIGSTOP);
    }
    while exists("hang_at_start_while") {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Misbehaves as `word` says. Returns `None` if `word` is unknown or the command fails. An endless
/// misbehaviour ends when a signal kills the child, or when the file that `rest` names exists.
pub(crate) async fn misbehave(word: &str, rest: &str, child: &ChildHandle) -> Option<String> {
    match word {
        // Uses processor time and blocks the event loop.
        "spin" => spin_in_a_loop(rest),
        // Blocks the event loop without using processor time.
        "block" => block(rest),
        "block_signals" => {
            sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None).ok()?;
            block(rest);
        }
        "block_term" => {
            let mut deadly = SigSet::empty();
            deadly.extend([Signal::SIGTERM, Signal::SIGINT]);
            sigprocmask(SigmaskHow::SIG_BLOCK, Some(&deadly), None).ok()?;
            block(rest);
        }
        // Leaks the number of mebibytes that `rest` contains.
        "leak" => {
            let bytes = vec![7_u8; rest.parse::<usize>().ok()? << 20];
            black_box(&bytes);
            std::mem::forget(bytes);
        }
        // Answers the backtrace requests of all children with arbitrary addresses, until it is
        // killed.
        "forge_backtraces" => {
            std::thread::spawn(forge_backtraces);
        }
        "extend" => child.extend(Duration::from_millis(rest.parse().ok()?)),
        "next_request" => {
            // Reports the end of this request and the start of another, as an acceptor does between
            // two connections. The connection stays open.
            child.daemon().send(UpdateStatus::Done).await.ok()?.ok()?;
            child.daemon().send(UpdateStatus::Req).await.ok()?.ok()?;
        }
        // Runs a program, and returns its output in one line.
        "run" => {
            let output = Command::new("sh").args(["-c", rest]).output().ok()?;
            return Some(String::from_utf8_lossy(&output.stdout).trim_end().replace('\n', "|"));
        }
        // Starts a grandchild that inherits the listener, as happens when a program forgets
        // close-on-exec.
        "grandchild" => {
            let listener = SHARED_LISTENER.with_borrow(|lent| lent.as_ref()?.try_clone().ok())?;
            let mut command = Command::new("sh");
            command.args(["-c", script(rest)]).stdin(Stdio::from(OwnedFd::from(listener)));
            let started = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
            let mut pid = String::new();
            BufReader::new(started.stdout?).read_line(&mut pid).ok()?;
            return Some(pid.trim_end().to_owned());
        }
        _ => return None,
    }
    Some("ok".to_owned())
}

/// Returns a shell script that starts a process of this kind, and writes the pid of the process.
fn script(kind: &str) -> &'static str {
    match kind {
        // Ignores TERM.
        "stubborn" => "trap '' TERM; echo $$; exec sleep 1000 >/dev/null",
        // Its own parent has exited.
        "orphaned" => "sleep 1000 >/dev/null & echo $!",
        // Its own session, and an exited parent, as a daemon.
        "daemonized" => "setsid sh -c 'echo $$; exec sleep 1000 >/dev/null' &",
        _plain => "echo $$; exec sleep 1000 >/dev/null",
    }
}

#[inline(never)]
fn spin_in_a_loop(file: &str) {
    let mut turns = 0_u64;
    while !turns.is_multiple_of(1 << 24) || !Path::new(file).exists() {
        turns = black_box(turns + 1);
    }
}

/// Blocks the event loop until the file exists.
#[inline(never)]
pub fn block(file: &str) {
    while !Path::new(file).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes a forged response to each page of shared memory that may be the one for backtraces, again
/// and again. The pages are written with `/proc/self/mem`.
fn forge_backtraces() {
    let Ok(memory) = File::options().read(true).write(true).open("/proc/self/mem") else {
        return;
    };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let pages: Vec<u64> = maps.lines().filter_map(shared_page).collect();
    let mut round = 0_u64;
    loop {
        round = round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        for page in &pages {
            forge_response(&memory, *page, round);
        }
    }
}

/// Returns the start of the mapping in a line of `maps`, if it is a single page of shared memory
/// without a file.
fn shared_page(line: &str) -> Option<u64> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let is_shared = rest.starts_with("rw-s") && rest.contains("/dev/zero");
    (is_shared && end - start == 4096).then_some(start)
}

/// Writes a response to the request in the page: its second word is the request's number and the
/// count of addresses, and each of the 64 addresses takes two words. Does nothing if the page has
/// no request: the first word is the request's number in the upper half, and a pid or 0 in the
/// lower half.
fn forge_response(memory: &File, page: u64, round: u64) {
    let mut word = [0; 8];
    if memory.read_exact_at(&mut word, page).is_err() {
        return;
    }
    let number = u64::from_ne_bytes(word) >> 32;
    if !(1..10_000).contains(&number) {
        return;
    }
    // Valid and invalid lengths, and addresses of each kind.
    let length = if round.is_multiple_of(3) { round >> 32 } else { 64 };
    let mut words = vec![number << 32 | length & 0xffff_ffff];
    for address in 0..64_u64 {
        let half = match (round >> 8).wrapping_add(address) % 4 {
            0 => 0,
            1 => 0xffff_ffff,
            2 => 0x7fff,
            _ => (round >> 16).wrapping_mul(address) & 0xffff_ffff,
        };
        words.extend([number << 32 | half, number << 32 | half]);
    }
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
    // A failed write forges nothing.
    let _ = memory.write_all_at(&bytes, page + 8);
}

/// A background task opens all free descriptors, and repeats this until the file exists, even after
/// the end of the request.
pub fn keep_descriptors_exhausted(file: String) {
    actix_rt::spawn(async move {
        let mut descriptors = Vec::new();
        while !Path::new(&file).exists() {
            descriptors.extend(exhaust_descriptors());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

/// Opens descriptors until the process reaches its limit.
pub(crate) fn exhaust_descriptors() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// Makes a call on a blocking thread of the runtime that never returns, as a name lookup whose
/// server does not answer.
pub fn stuck_call() {
    tokio::task::spawn_blocking(|| {
        loop {
            std::thread::park();
        }
    });
}
