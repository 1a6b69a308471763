//! Functions that all measured servers use. One prints values. The other makes the server end when
//! the benchmark ends.

use std::io::Write;

use daemon_sys::process::{Signal, die_with_parent, parent_pid};

use crate::Measured;

/// Makes the kernel send TERM to this process when its parent, the benchmark, ends.
pub(crate) fn die_with_benchmark() -> Measured<()> {
    if let Some(parent) = parent_pid() {
        die_with_parent(Signal::Term, parent)?;
    }
    Ok(())
}

/// Prints a line `key=value`, which the benchmark reads.
pub(crate) fn print(key: &str, value: impl std::fmt::Display) -> Measured<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{key}={value}")?;
    Ok(out.flush()?)
}
