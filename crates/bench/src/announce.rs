//! What a server has in common with all others: that it tells, and does not stay.

use std::io::Write;

use daemon_sys::process::{Pid, Signal, die_with_parent};

use crate::Measured;

/// Sees to it that nothing is left when whoever measures is interrupted.
pub(crate) fn mortal() -> Measured<()> {
    if let Some(parent) = Pid::parent() {
        die_with_parent(Signal::Term, parent)?;
    }
    Ok(())
}

/// Tells who measures a value.
pub(crate) fn tell(key: &str, value: impl std::fmt::Display) -> Measured<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{key}={value}")?;
    Ok(out.flush()?)
}
