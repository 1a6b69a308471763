//! What scenarios have in common.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use daemon_core::{ScoreboardLine, ScoreboardReader, SlotEntry, Status};
use daemon_prefork::{Pid, Prefork, PreforkBuilder, Reaped, Signal, Worker};
use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::{SignalOutcome, exists, exit_now, signal};
use daemon_sys::reap::{Exit, wait_for};
use daemon_sys::shared;

use crate::scenarios::eventually;

/// Counters that this process shares with all that it forks.
#[derive(Clone)]
pub(crate) struct Counters(&'static [AtomicU32]);

impl Counters {
    pub(crate) fn new() -> Counters {
        Counters(shared::anonymous(1024).expect("memory"))
    }

    /// Adds one, and tells how many there are now.
    pub(crate) fn add(&self, which: usize) -> u32 {
        self.0[which].fetch_add(1, SeqCst) + 1
    }

    pub(crate) fn get(&self, which: usize) -> u32 {
        self.0[which].load(SeqCst)
    }

    pub(crate) fn set(&self, which: usize, value: u32) {
        self.0[which].store(value, SeqCst);
    }

    pub(crate) fn until(&self, which: usize, value: u32) {
        eventually(&format!("counter {which} is {value}"), || self.get(which) >= value);
    }
}

/// Runs a part of the scenario in a process of its own.
pub(crate) fn aside(run: impl FnOnce()) -> Pid {
    match fork().expect("forks") {
        ForkResult::Parent(pid) => pid,
        ForkResult::Child => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            exit_now(done.is_err().into());
        }
    }
}

/// Has each worker that is gone noted.
pub(crate) fn reaped_by(pm: PreforkBuilder) -> (PreforkBuilder, Rc<RefCell<Vec<Reaped>>>) {
    let reaped: Rc<RefCell<Vec<Reaped>>> = Rc::default();
    let pm = pm.on_child_reap({
        let reaped = Rc::clone(&reaped);
        move |_, gone| reaped.borrow_mut().push(*gone)
    });
    (pm, reaped)
}

/// For failures that are wanted.
pub(crate) fn quiet() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

/// Waits until such a part has ended, which it has done well.
pub(crate) fn ended_well(pid: Pid) {
    assert_eq!(wait_for(pid).expect("ours"), Exit::Code(0));
}

pub(crate) fn send(pid: Pid, what: Signal) {
    assert_eq!(signal(pid, what).expect("ours"), SignalOutcome::Delivered);
}

/// Until a signal is sent to it by somebody.
pub(crate) fn sleep_until_killed() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// A worker that waits until it is told to leave, and does.
pub(crate) fn wait_for_stop(worker: &Worker) {
    let told = wait(
        &[(worker, Interest::Read)]
            .map(|(worker, interest)| (std::os::fd::AsFd::as_fd(worker), interest)),
        None,
    );
    assert!(told.expect("waits")[0].is_readable() && worker.should_stop());
}

/// Starts over and over until TERM, and waits for all.
pub(crate) fn until_term(pm: &mut Prefork, mut work: impl FnMut(&Worker)) {
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(&mut work).expect("starts");
    }
    assert_eq!(pm.wait_all_children().expect("waits"), 0);
}

/// The scoreboard in a file, once it is there.
pub(crate) fn board(path: &Path) -> ScoreboardReader {
    eventually("the scoreboard is there", || path.exists());
    let lines: &'static [ScoreboardLine] = shared::open_file(path).expect("opens");
    eventually("it is formatted", || ScoreboardReader::open(lines).is_ok());
    ScoreboardReader::open(lines).expect("a scoreboard")
}

/// The lines of the workers that are there.
pub(crate) fn workers(board: ScoreboardReader) -> Vec<SlotEntry> {
    board.entries().filter(|entry| entry.status != Some(Status::Empty) && entry.pid != 0).collect()
}

pub(crate) fn pids(board: ScoreboardReader) -> Vec<Pid> {
    let pid = |entry: SlotEntry| i32::try_from(entry.pid).ok().and_then(Pid::from_raw);
    workers(board).into_iter().filter_map(pid).collect()
}

/// Whether the system tells workers that their manager was killed; where it does not it says that the
/// scenario is skipped.
pub(crate) fn orphans_are_told() -> bool {
    let told = cfg!(all(target_os = "linux", not(fallback)));
    if !told {
        println!("skipped: only Linux tells workers that their manager was killed");
    }
    told
}

pub(crate) fn until_gone(pids: &[Pid]) {
    eventually("all are gone", || pids.iter().all(|pid| !exists(*pid)));
}
