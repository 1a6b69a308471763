//! Helpers of the live tests: they fork a child, sleep until the process is killed, and name its
//! exit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::process::{exit_now, number_of};
use daemon_sys::reap::Exit;
use daemon_sys::{Pid, Signal};

/// Forks a child that runs the closure and exits with its result, or with 101 if it panics.
pub(crate) fn child(run: impl FnOnce() -> i32) -> Pid {
    match fork().expect("forked") {
        ForkResult::Parent(pid) => pid,
        ForkResult::Child => exit_now(catch_unwind(AssertUnwindSafe(run)).unwrap_or(101)),
    }
}

/// Sleeps until a signal kills this process. The process exits after a minute, so that a failing
/// test leaves no processes behind.
pub(crate) fn sleep_until_killed() -> ! {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_secs(60));
    }
    exit_now(99)
}

/// Returns the exit of a process that this signal has killed, without a core dump.
pub(crate) fn killed_by(signal: Signal) -> Exit {
    Exit::Signal { number: number_of(signal), core: false }
}
