//! Entry points of the fuzz targets, see `fuzz/` in the repository: variables of the environment,
//! and the text of a notification.
//!
//! An input must result in a value or an error, never in a panic.

use crate::state::ServiceState;
use crate::systemd::{fd_names, status_line, watchdog_timeout};

/// Reads lines as `WATCHDOG_USEC`, `WATCHDOG_PID`, `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`,
/// and as a status text, in this order. An empty line is a variable that is not set.
pub fn environment(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n').map(|line| Some(line).filter(|line| !line.is_empty()));
    let mut line = || lines.next().flatten();
    let (usec, pid) = (line(), line());
    let _timeout = watchdog_timeout(usec, pid, 7);
    let _names = fd_names(line(), line(), line(), 7);
    let notification = status_line(ServiceState::Running, line().unwrap_or_default());
    assert_eq!(notification.matches('\n').count(), 1, "one line: {notification:?}");
}

#[cfg(test)]
#[path = "../../../tests/fuzzing.rs"]
mod fuzzing;

#[cfg(test)]
mod tests {
    #[test]
    fn variables_of_the_environment_are_read_or_refused() {
        super::fuzzing::decodes_any_bytes("environment", super::environment);
    }
}
