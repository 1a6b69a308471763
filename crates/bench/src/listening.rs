//! The listener of a server.

use std::net::{Ipv4Addr, TcpListener};

use crate::Measured;
use crate::announce::print;

/// Returns a listener on a free port, after printing its address.
pub(crate) fn listen() -> Measured<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    print("PORT", listener.local_addr()?.port())?;
    Ok(listener)
}
