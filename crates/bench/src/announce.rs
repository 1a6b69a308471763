//! What a server has in common with all others: its port, what it tells, and that it does not stay.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};

use daemon_sys::process::{Pid, Signal, die_with_parent};

use crate::Measured;

/// Sees to it that nothing is left when whoever measures is interrupted.
pub(crate) fn mortal() -> Measured<()> {
    if let Some(parent) = Pid::of_parent() {
        die_with_parent(Signal::Term, parent)?;
    }
    Ok(())
}

/// A listener on a port of its own, which it tells.
pub(crate) fn listen() -> Measured<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    tell("PORT", listener.local_addr()?.port())?;
    Ok(listener)
}

/// Tells who measures a value.
pub(crate) fn tell(key: &str, value: impl std::fmt::Display) -> Measured<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{key}={value}")?;
    Ok(out.flush()?)
}

/// Memory that this process has written to, for as long as it lives.
pub(crate) fn touch(megabytes: usize) {
    const PAGE: usize = 4096;
    let mut memory = vec![0_u8; megabytes * 1024 * 1024];
    for page in memory.chunks_mut(PAGE) {
        page[0] = 1;
    }
    std::hint::black_box(memory.leak());
}
