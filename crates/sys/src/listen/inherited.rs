//! The listening sockets that this process was given when it was executed.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::OnceLock;

use super::{SocketId, open_listeners};
use crate::environment;
use crate::error::Result;

/// The first descriptor that systemd passes, and the most that it is believed to pass.
const FIRST_FD: RawFd = 3;
const FDS_MAX: RawFd = 4096;

/// The sockets that [`record_inherited`] has found. Forked processes inherit the list.
static INHERITED: OnceLock<Vec<Option<SocketId>>> = OnceLock::new();

/// Records which of the listening sockets that are open now this process has inherited: those whose
/// descriptors are not close-on-exec, those of systemd (`LISTEN_FDS`), and those of Server::Starter
/// (`SERVER_STARTER_PORT`). Call this function before the process id or the descriptors are changed.
/// Only the first call has an effect.
///
/// # Errors
///
/// The errors of [`open_listeners`].
pub fn record_inherited() -> Result<()> {
    if INHERITED.get().is_none() {
        let variables = ["LISTEN_PID", "LISTEN_FDS", "SERVER_STARTER_PORT"];
        let passed = passed_numbers(std::process::id(), environment::initial(variables));
        let mut open = open_listeners()?;
        open.retain(|open| open.is_inherited || passed.contains(&open.number));
        // Another thread can have recorded the same list.
        let _ = INHERITED.set(open.iter().map(|open| open.id).collect());
    }
    Ok(())
}

/// Returns whether the listener is one of those that [`record_inherited`] has found, so that another
/// program may have it, too.
#[must_use]
pub fn is_inherited(listener: BorrowedFd<'_>) -> bool {
    let inherited = INHERITED.get().map_or(&[][..], Vec::as_slice);
    !inherited.is_empty()
        // If the system does not number sockets, it may be any of those that were inherited.
        && SocketId::of(listener).is_none_or(|id| inherited.contains(&Some(id)))
}

/// Returns the numbers of the descriptors that the process `own` was passed, from the values of
/// `LISTEN_PID`, `LISTEN_FDS` and `SERVER_STARTER_PORT`. Invalid values pass none. A library may
/// have set the descriptors close-on-exec already.
fn passed_numbers(own: u32, [pid, count, starter]: [Option<String>; 3]) -> Vec<RawFd> {
    let is_for_us = pid.and_then(|pid| pid.parse().ok()) == Some(own);
    let count = count.and_then(|count| count.parse().ok()).filter(|_count| is_for_us);
    let count = count.filter(|count| (0..=FDS_MAX).contains(count)).unwrap_or(0);
    let starter = starter.unwrap_or_default();
    // For example `127.0.0.1:80=3;/run/socket=4`.
    let started = starter.split(';').filter_map(|port| port.rsplit_once('=')?.1.parse().ok());
    (FIRST_FD..FIRST_FD + count).chain(started).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_those_of_the_service_manager_and_of_server_starter() {
        for (variables, expected) in [
            ([None, None, None], &[][..]),
            ([Some("7"), Some("2"), None], &[3, 4]),
            ([Some("8"), Some("2"), None], &[]),
            ([None, Some("2"), None], &[]),
            ([Some("7"), Some("many"), None], &[]),
            ([Some("7"), Some("-2"), None], &[]),
            ([Some("7"), Some("4097"), None], &[]),
            ([None, None, Some("127.0.0.1:80=3;/run/a=b=4;8080=5")], &[3, 4, 5]),
            ([Some("7"), Some("1"), Some("80;=;80=x;[::1]:80=9")], &[3, 9]),
        ] {
            let values = variables.map(|value| value.map(str::to_owned));
            assert_eq!(passed_numbers(7, values), expected, "{variables:?}");
        }
    }
}
