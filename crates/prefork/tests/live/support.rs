//! Helpers that the scenarios share.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use daemon_core::{ScoreboardLine, ScoreboardReader, SlotEntry, Status};
use daemon_prefork::{Pid, Prefork, PreforkBuilder, Reaped, Signal, Worker};
use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::{SignalOutcome, exists, exit_now, number_of, signal};
use daemon_sys::reap::{Exit, wait_for};
use daemon_sys::shared;

use crate::scenarios::eventually;

/// Counters that this process shares with the processes that it forks.
#[derive(Clone)]
pub(crate) struct Counters(&'static [AtomicU32]);

impl Counters {
    pub(crate) fn new() -> Counters {
        Counters(shared::anonymous(1024).expect("shared memory is created"))
    }

    /// Increments a counter, and returns the new value.
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
        eventually(&format!("counter {which} reaches {value}"), || self.get(which) >= value);
    }
}

/// Runs this closure in a forked process, and returns the pid of the process.
pub(crate) fn run_in_process(run: impl FnOnce()) -> Pid {
    match fork().expect("the fork succeeds") {
        ForkResult::Parent(pid) => pid,
        ForkResult::Child => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            exit_now(result.is_err().into());
        }
    }
}

/// Adds a hook that appends each reaped worker to the returned list.
pub(crate) fn reaped_by(pm: PreforkBuilder) -> (PreforkBuilder, Rc<RefCell<Vec<Reaped>>>) {
    let reaped: Rc<RefCell<Vec<Reaped>>> = Rc::default();
    let pm = pm.on_child_reap({
        let reaped = Rc::clone(&reaped);
        move |_, worker| reaped.borrow_mut().push(*worker)
    });
    (pm, reaped)
}

/// Returns a logger that discards all records, for scenarios in which failures are expected.
pub(crate) fn discard_logs() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

/// Returns a logger that sends each record as text, and the receiver.
pub(crate) fn record_logs() -> (slog::Logger, Receiver<String>) {
    let (sender, records) = channel();
    let drain = slog::Fuse(Recorder(Mutex::new(sender)));
    (slog::Logger::root(drain, slog::o!()), records)
}

struct Recorder(Mutex<Sender<String>>);

impl slog::Drain for Recorder {
    type Ok = ();
    type Err = slog::Never;

    fn log(
        &self,
        record: &slog::Record<'_>,
        _values: &slog::OwnedKVList,
    ) -> Result<(), slog::Never> {
        let mut text = Text(record.msg().to_string());
        let _ = slog::KV::serialize(&record.kv(), record, &mut text);
        let _ = self.0.lock().expect("not poisoned").send(text.0);
        Ok(())
    }
}

/// The text of a record, with its values.
struct Text(String);

impl slog::Serializer for Text {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        self.0.push_str(&format!(", {key}: {value}"));
        Ok(())
    }
}

/// Waits until a process of [`run_in_process`] has exited, and asserts that it succeeded.
pub(crate) fn assert_success(pid: Pid) {
    assert_eq!(wait_for(pid).expect("a child of this process"), Exit::Code(0));
}

/// Returns the exit of a process that this signal has killed, without a core dump.
pub(crate) fn killed_by(signal: Signal) -> Exit {
    Exit::Signal { number: number_of(signal), core: false }
}

pub(crate) fn send(pid: Pid, what: Signal) {
    assert_eq!(signal(pid, what).expect("a child of this process"), SignalOutcome::Delivered);
}

/// Sleeps until a signal terminates the process.
pub(crate) fn sleep_until_killed() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Waits until the worker is asked to stop.
pub(crate) fn wait_for_stop(worker: &Worker) {
    let ready = wait(
        &[(worker, Interest::Read)]
            .map(|(worker, interest)| (std::os::fd::AsFd::as_fd(worker), interest)),
        None,
    );
    assert!(ready.expect("the wait succeeds")[0].is_readable() && worker.should_stop());
}

/// Calls `start` repeatedly until the manager has received TERM, and then waits for all workers.
pub(crate) fn until_term(pm: &mut Prefork, mut work: impl FnMut(&Worker)) {
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(&mut work).expect("start succeeds");
    }
    assert_eq!(pm.wait_all_children().expect("the wait succeeds"), 0);
}

/// Waits until the scoreboard file exists, and opens the scoreboard in it.
pub(crate) fn board(path: &Path) -> ScoreboardReader {
    eventually("the scoreboard file exists", || path.exists());
    let lines: &'static [ScoreboardLine] =
        shared::open_file(path).expect("the scoreboard file opens");
    eventually("the scoreboard is formatted", || ScoreboardReader::open(lines).is_ok());
    ScoreboardReader::open(lines).expect("a valid scoreboard")
}

/// Returns the scoreboard entries of the running workers.
pub(crate) fn workers(board: ScoreboardReader) -> Vec<SlotEntry> {
    board.entries().filter(|entry| entry.status != Some(Status::Empty) && entry.pid != 0).collect()
}

pub(crate) fn pids(board: ScoreboardReader) -> Vec<Pid> {
    let pid = |entry: SlotEntry| Pid::from_u32(entry.pid);
    workers(board).into_iter().filter_map(pid).collect()
}

/// Returns whether the system sends workers a signal when their manager is killed. If not, prints
/// that the scenario is skipped.
pub(crate) fn has_death_signal() -> bool {
    let is_supported = cfg!(all(target_os = "linux", not(fallback)));
    if !is_supported {
        println!("skipped: only Linux sends workers a signal when their manager is killed");
    }
    is_supported
}

pub(crate) fn until_gone(pids: &[Pid]) {
    eventually("all processes have exited", || pids.iter().all(|pid| !exists(*pid)));
}
