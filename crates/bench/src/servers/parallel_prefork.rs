//! Runs the accept loop of the server `prefork-pool` under `Parallel::Prefork` in Perl, the
//! original of `daemon-prefork`.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::Measured;

const PROGRAM: &str = include_str!("parallel_prefork.pl");

/// Returns whether `Parallel::Prefork` is installed (Debian's package libparallel-prefork-perl).
pub(crate) fn is_there() -> bool {
    let mut perl = Command::new("perl");
    perl.args(["-MParallel::Prefork", "-e", "1"]).stdin(Stdio::null()).stderr(Stdio::null());
    perl.status().is_ok_and(|status| status.success())
}

/// Replaces this process with Perl, which runs the accept loop. Returns only if Perl
/// cannot be executed.
pub(super) fn pool(workers: &str) -> Measured<()> {
    Err(Command::new("perl").args(["-e", PROGRAM, workers]).exec().into())
}
