//! The same accept loop under the original, in Perl.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::Measured;

const PROGRAM: &str = include_str!("parallel_prefork.pl");

/// Whether this machine has it. Debian's package is libparallel-prefork-perl.
pub(crate) fn is_there() -> bool {
    let mut perl = Command::new("perl");
    perl.args(["-MParallel::Prefork", "-e", "1"]).stdin(Stdio::null()).stderr(Stdio::null());
    perl.status().is_ok_and(|status| status.success())
}

/// Becomes it.
pub(super) fn pool(workers: &str) -> Measured<()> {
    Err(Command::new("perl").args(["-e", PROGRAM, workers]).exec().into())
}
