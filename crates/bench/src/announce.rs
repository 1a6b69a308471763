//! Functions for all servers: they print measured values, and end with the benchmark.

use std::io::Write;

use daemon_sys::process::{Pid, Signal, die_with_parent};

use crate::Measured;

/// Makes this process end when the benchmark is interrupted.
pub(crate) fn die_with_benchmark() -> Measured<()> {
    if let Some(parent) = Pid::parent() {
        die_with_parent(Signal::Term, parent)?;
    }
    Ok(())
}

/// Prints a measured value for the benchmark.
pub(crate) fn print(key: &str, value: impl std::fmt::Display) -> Measured<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{key}={value}")?;
    Ok(out.flush()?)
}
