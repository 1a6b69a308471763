//! Waits for the server or for a stop request.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use daemon_sys::poll::{Interest, Ready, wait};

use super::connection::Connection;

/// Whether a stop is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopState {
    Running,
    Requested,
}

/// Waits for this time, or until a stop is requested. Returns whether a stop is requested.
pub(super) fn wait_for_stop(
    time: Duration,
    stop: Option<BorrowedFd<'_>>,
) -> daemon_sys::Result<StopState> {
    let ready = match stop {
        Some(stop) => wait(&[(stop, Interest::Read)], Some(time))?[0],
        None => wait(&[], Some(time)).map(|[]| Ready::default())?,
    };
    Ok(if ready.is_readable() { StopState::Requested } else { StopState::Running })
}

/// Waits for this time, or until the server sends something or a stop is requested. Returns the
/// readiness of the server's connection.
pub(super) fn wait_for_server(
    time: Duration,
    connection: &Connection,
    stop: Option<BorrowedFd<'_>>,
) -> daemon_sys::Result<Ready> {
    let server = (connection.as_fd(), Interest::Read);
    let ready = match stop {
        Some(stop) => wait(&[server, (stop, Interest::Read)], Some(time))?[0],
        None => wait(&[server], Some(time))?[0],
    };
    Ok(ready)
}
