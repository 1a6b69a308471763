//! What scenarios ask for: a child that runs a closure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use daemon_sys::Pid;
use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::process::exit_now;

/// Forks a child that runs the closure and exits with its answer, or with 101 if it panics.
pub(crate) fn child(run: impl FnOnce() -> i32) -> Pid {
    match fork().expect("forks") {
        ForkResult::Parent(pid) => pid,
        ForkResult::Child => exit_now(catch_unwind(AssertUnwindSafe(run)).unwrap_or(101)),
    }
}

/// Waits until a signal ends this process; after a minute it ends by itself, so that a scenario that
/// fails leaves nobody behind.
pub(crate) fn sleep_until_killed() -> ! {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_secs(60));
    }
    exit_now(99)
}
