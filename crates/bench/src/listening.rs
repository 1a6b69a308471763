//! Creates the listener of a server that is measured.

use std::net::{Ipv4Addr, TcpListener};

use crate::Measured;
use crate::announce::print;

/// Creates a listener on a free port of 127.0.0.1, and prints the port.
pub(crate) fn listen() -> Measured<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    print("PORT", listener.local_addr()?.port())?;
    Ok(listener)
}
