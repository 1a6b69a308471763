//! The commands that make a child under test misbehave.

use std::cell::RefCell;
use std::hint::black_box;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use actix_daemon::{ChildHandle, UpdateStatus};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

thread_local! {
    static SHARED_LISTENER: RefCell<Option<TcpListener>> = const { RefCell::new(None) };
}

/// Stores the listener that a grandchild inherits when it is started by the command `grandchild`.
pub fn lend(listener: TcpListener) {
    SHARED_LISTENER.set(Some(listener));
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
        "extend" => child.extend(Duration::from_millis(rest.parse().ok()?)),
        "next_request" => {
            // Reports the end of this request and the start of another, as an acceptor does between
            // two connections. The connection stays open.
            child.daemon().send(UpdateStatus::Done).await.ok()?.ok()?;
            child.daemon().send(UpdateStatus::Req).await.ok()?.ok()?;
        }
        // Starts a grandchild that inherits the listener, as happens when a program forgets
        // close-on-exec.
        "grandchild" => {
            let listener = SHARED_LISTENER.with_borrow(|lent| lent.as_ref()?.try_clone().ok())?;
            let mut command = Command::new("sleep");
            command.arg("1000").stdin(Stdio::from(OwnedFd::from(listener)));
            let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
            return Some(started.id().to_string());
        }
        _ => return None,
    }
    Some("ok".to_owned())
}

#[inline(never)]
fn spin_in_a_loop(file: &str) {
    let mut turns = 0_u64;
    while !turns.is_multiple_of(1 << 24) || !Path::new(file).exists() {
        turns = black_box(turns + 1);
    }
}

#[inline(never)]
fn block(file: &str) {
    while !Path::new(file).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}
