//! The harness of the live tests. It starts programs under a warden (`programs/warden.rs`), which
//! kills the processes that a test leaves behind. It also connects clients, and reads `/proc`.

use std::io::{self, Write};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};

mod client;
mod control;
mod daemon;
mod gearmand;
mod guarded;
#[path = "../../patience.rs"]
mod patience;
mod process;
mod program;
#[cfg(target_os = "linux")]
#[path = "../../small_disk.rs"]
mod small_disk;

pub(crate) use client::{LineClient, is_refused, run_clients};
pub(crate) use control::{ControlClient, error_of};
pub(crate) use daemon::DaemonProcess;
pub(crate) use gearmand::Gearmand;
pub(crate) use guarded::GuardedProgram;
pub(crate) use nix::sys::signal::Signal;
pub(crate) use patience::until;
pub(crate) use process::Process;
pub(crate) use program::{TestProgram, example};
#[cfg(target_os = "linux")]
pub(crate) use small_disk::SmallDisk;

/// The polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(4);

/// Checks that a condition stays true: calls `look` repeatedly until `window` has passed. `look`
/// must panic if the condition is false.
pub(crate) fn during(window: Duration, mut look: impl FnMut()) {
    let end = Instant::now() + window;
    while Instant::now() < end {
        look();
        park_timeout(POLL_INTERVAL);
    }
}

/// Prints why a test is skipped. libtest hides what a successful test prints with `eprintln!`.
pub(crate) fn skipped(why: &str) {
    let _ = writeln!(io::stderr(), "skipped: {why}");
}

/// Returns the ids of the user nobody, to whom daemons change. Returns `None`, and prints why, if
/// this process is not root.
pub(crate) fn nobody() -> Option<(u32, u32)> {
    if !Uid::effective().is_root() {
        skipped("only root can act as other users");
        return None;
    }
    let nobody = User::from_name("nobody").unwrap().expect("the user nobody exists");
    Some((nobody.uid.as_raw(), nobody.gid.as_raw()))
}
