//! Descriptors inherited from systemd, as sd_listen_fds(3) defines them.

use std::env;
use std::ops::Range;
use std::os::fd::{OwnedFd, RawFd};

use nix::sys::socket::{Backlog, getsockopt, listen, sockopt};

use crate::error::ServiceError;

/// The first inherited descriptor.
const FIRST: i32 = 3;

/// The upper limit for `LISTEN_FDS`. A larger value is an error.
const MAX_COUNT: i32 = 4096;

/// An inherited descriptor.
#[derive(Debug)]
pub struct InheritedFd {
    /// The name of the descriptor: `FileDescriptorName=` of a socket unit, `FDNAME` of a stored
    /// descriptor, or `unknown` if systemd passed no name.
    pub name: String,
    /// The descriptor. It is close-on-exec: programs that this process executes do not inherit it.
    pub fd: OwnedFd,
}

/// The names of the inherited descriptors. The first name belongs to descriptor `FIRST`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FdNames(Vec<String>);

/// Takes the descriptors that systemd passes with `LISTEN_FDS`, with their names from
/// `LISTEN_FDNAMES`. Returns an empty list if `LISTEN_FDS` or `LISTEN_PID` is not set, or if
/// `LISTEN_PID` names another process.
///
/// The descriptors can be taken only once: a second call fails. Listening sockets get the longest
/// backlog that the system allows.
///
/// # Errors
///
/// - [`ServiceError::Environment`] if one of the variables has an invalid value.
/// - [`ServiceError::System`] if one of the descriptors is not open or has been taken before, or if
///   listen(2) fails.
pub fn inherited_fds() -> Result<Vec<InheritedFd>, ServiceError> {
    let FdNames(names) = names_from_environment()?;
    let descriptors = daemon_sys::fds::take_inherited(FIRST, names.len()).map_err(|error| {
        let source = std::io::Error::other(error);
        ServiceError::System { action: "take the inherited descriptors (LISTEN_FDS)", source }
    })?;
    for descriptor in &descriptors {
        // The previous run of this program may have set the backlog to 0 before it stopped.
        if getsockopt(descriptor, sockopt::AcceptConn) == Ok(true) {
            listen(descriptor, Backlog::MAXCONN).map_err(|error| ServiceError::System {
                action: "listen on the inherited descriptors (LISTEN_FDS)",
                source: error.into(),
            })?;
        }
    }
    Ok(names.into_iter().zip(descriptors).map(|(name, fd)| InheritedFd { name, fd }).collect())
}

/// Returns the numbers of the descriptors that systemd passes to this process with `LISTEN_FDS`,
/// whether or not they have been taken.
///
/// # Errors
///
/// [`ServiceError::Environment`] if one of the variables has an invalid value.
pub fn inherited_fd_numbers() -> Result<Range<RawFd>, ServiceError> {
    let FdNames(names) = names_from_environment()?;
    // There are at most `MAX_COUNT` names.
    Ok(FIRST..FIRST + RawFd::try_from(names.len()).unwrap_or(MAX_COUNT))
}

fn names_from_environment() -> Result<FdNames, ServiceError> {
    let variable = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    fd_names(
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
        std::process::id(),
    )
}

/// Checks the values of `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` in the process `own_pid`.
pub(crate) fn fd_names(
    pid: Option<&str>,
    count: Option<&str>,
    names: Option<&str>,
    own_pid: u32,
) -> Result<FdNames, ServiceError> {
    let (Some(pid), Some(count)) = (pid, count) else { return Ok(FdNames(Vec::new())) };
    let target: u32 = pid
        .parse()
        .map_err(|_error| ServiceError::environment("LISTEN_PID", pid, "not a process id"))?;
    if target != own_pid {
        return Ok(FdNames(Vec::new()));
    }
    let number = count.parse::<i32>().ok().filter(|number| (0..=MAX_COUNT).contains(number));
    let number = number.ok_or_else(|| {
        ServiceError::environment("LISTEN_FDS", count, "not a number from 0 to 4096")
    })?;
    let number = usize::try_from(number).unwrap_or(0);
    let mut given: Vec<String> = match names {
        None | Some("") => Vec::new(),
        Some(names) => names.split(':').map(str::to_owned).collect(),
    };
    if given.len() > number {
        let names = names.unwrap_or_default();
        return Err(ServiceError::environment(
            "LISTEN_FDNAMES",
            names,
            "more names than descriptors",
        ));
    }
    given.resize(number, "unknown".to_owned());
    Ok(FdNames(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pid: Option<&str>, count: Option<&str>, names: Option<&str>) -> Option<Vec<String>> {
        fd_names(pid, count, names, 7).ok().map(|names| names.0)
    }

    #[test]
    fn only_the_process_in_listen_pid_takes_the_descriptors() {
        assert_eq!(names(None, None, None), Some(vec![]));
        assert_eq!(names(Some("8"), Some("2"), None), Some(vec![]));
        let unknown = || Some(vec!["unknown".to_owned(); 2]);
        assert_eq!(names(Some("7"), Some("2"), None), unknown());
        assert_eq!(names(Some("7"), Some("2"), Some("")), unknown());
        let named = Some(vec!["http".to_owned(), "unknown".to_owned()]);
        assert_eq!(names(Some("7"), Some("2"), Some("http")), named);
    }

    #[test]
    fn invalid_variables_are_errors() {
        for (pid, count, given) in
            [("me", "1", None), ("7", "many", None), ("7", "-1", None), ("7", "5000", None)]
        {
            assert_eq!(names(Some(pid), Some(count), given), None, "{pid} {count}");
        }
        assert_eq!(names(Some("7"), Some("1"), Some("a:b")), None);
    }
}
