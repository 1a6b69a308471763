//! What a worker waits for.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use daemon_sys::poll::{Interest, Ready, wait};

use super::connection::Connection;

/// Whether to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    NotYet,
    Asked,
}

/// Waits for so long, or until it is to stop.
pub(super) fn within(time: Duration, stop: Option<BorrowedFd<'_>>) -> daemon_sys::Result<Stop> {
    let ready = match stop {
        Some(stop) => wait(&[(stop, Interest::Read)], Some(time))?[0],
        None => wait(&[], Some(time)).map(|[]| Ready::default())?,
    };
    Ok(if ready.is_readable() { Stop::Asked } else { Stop::NotYet })
}

/// Waits for so long, or until the server says something, or it is to stop; tells about the server.
pub(super) fn doze(
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
