//! What servers that clients connect to have in common: a port, and memory if that is asked for.

use std::net::{Ipv4Addr, TcpListener};

use crate::Measured;
use crate::announce::tell;

/// A listener on a port of its own, which it tells.
pub(crate) fn listen() -> Measured<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    tell("PORT", listener.local_addr()?.port())?;
    Ok(listener)
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
