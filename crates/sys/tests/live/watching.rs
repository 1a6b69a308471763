//! Live tests of a listener that several processes watch.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::task::Poll;

use daemon_sys::Pid;
use daemon_sys::reap::{Exit, wait_for};
use daemon_sys::watch::{SharedListener, readable};

use super::helpers::child;
use super::traces::state;
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_connection_wakes_one_of_the_waiting_processes", one_is_woken),
    ("a_process_that_has_stopped_waiting_takes_no_wakeup", the_waiting_process_is_woken),
];

/// A process that watches the listener and never accepts, so a connection wakes every process that
/// the listener does not spare.
struct Watcher {
    pid: Pid,
    channel: UnixStream,
}

impl Watcher {
    /// Forks the process, and returns when it sleeps.
    fn start(listener: &UnixListener, waits: bool) -> Watcher {
        let (mut channel, theirs) = UnixStream::pair().expect("a pair");
        let pid = child(|| watch(listener, waits, theirs));
        channel.read_exact(&mut [0]).expect("the process watches the listener");
        eventually("the process sleeps", || state(pid) == 'S');
        Watcher { pid, channel }
    }

    /// Returns whether a connection has woken the process, and ends the process.
    fn was_woken(mut self) -> bool {
        let mut answer = [0];
        self.channel.write_all(b"?").expect("asked");
        self.channel.read_exact(&mut answer).expect("answered");
        assert_eq!(wait_for(self.pid).expect("reaped"), Exit::Code(0));
        answer == [1]
    }
}

/// Waits at the listener (`waits`), or begins to wait and stops again. Answers when asked whether
/// there was a wakeup.
fn watch(listener: &UnixListener, waits: bool, mut channel: UnixStream) -> i32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("built");
    let was_woken = runtime.block_on(async {
        let listener = SharedListener::new(listener.try_clone().expect("duplicated").into());
        let listener = listener.expect("watched");
        let question = channel.try_clone().expect("duplicated");
        let question = readable(question.into()).expect("watched");
        let mut wait = Some(Box::pin(listener.readable()));
        let mut is_ready = false;
        poll_fn(|cx| {
            // The listener comes first, because the question is sent after the connection.
            if wait.as_mut().is_some_and(|wait| wait.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(true);
            }
            if question.poll_read_ready(cx).is_ready() {
                return Poll::Ready(false);
            }
            if !is_ready {
                is_ready = true;
                wait = wait.take().filter(|_| waits);
                channel.write_all(b".").expect("reported");
            }
            Poll::Pending
        })
        .await
    });
    channel.read_exact(&mut [0]).expect("asked");
    channel.write_all(&[u8::from(was_woken)]).expect("answered");
    0
}

/// Starts a process for each value, connects once, and returns which of them were woken. The order
/// of the processes is the order in which they began to wait.
fn woken<const N: usize>(wait: [bool; N]) -> [bool; N] {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = UnixListener::bind(dir.path().join("socket")).expect("bound");
    let watchers = wait.map(|waits| Watcher::start(&listener, waits));
    // connect(2) wakes the processes before it returns.
    let _connection = UnixStream::connect(dir.path().join("socket")).expect("connected");
    watchers.map(Watcher::was_woken)
}

fn one_is_woken() {
    if !cfg!(target_os = "linux") {
        return println!("skipped: this system wakes all waiting processes");
    }
    let woken = woken([true; 6]);
    assert_eq!(woken.iter().filter(|woken| **woken).count(), 1, "{woken:?}");
}

fn the_waiting_process_is_woken() {
    if !cfg!(target_os = "linux") {
        return println!("skipped: this system wakes all waiting processes");
    }
    assert_eq!(woken([false, false, true, true]), [false, false, true, false]);
}
