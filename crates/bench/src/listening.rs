//! What servers that clients connect to have in common: a port.

use std::net::{Ipv4Addr, TcpListener};

use crate::Measured;
use crate::announce::tell;

/// A listener on a port of its own, which it tells.
pub(crate) fn listen() -> Measured<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    tell("PORT", listener.local_addr()?.port())?;
    Ok(listener)
}
