//! Descriptors that a supervisor hands over: sd_listen_fds(3).

use std::env;
use std::os::fd::OwnedFd;

use nix::sys::socket::{Backlog, getsockopt, listen, sockopt};

use crate::error::ServiceError;

/// The first of them.
const FIRST: i32 = 3;

/// The most that are believed: nobody has more listeners.
const MOST: i32 = 4096;

/// A descriptor that was handed over.
#[derive(Debug)]
pub struct Inherited {
    /// Its name: `FileDescriptorName=` of a socket unit, `FDNAME` of a stored one, `unknown` if
    /// nothing was said.
    pub name: String,
    /// The descriptor. It is not inherited by programs that this one starts.
    pub fd: OwnedFd,
}

/// What the environment says of them: a name for each, `FIRST` and on.
#[derive(Debug, PartialEq, Eq)]
struct Announced(Vec<String>);

/// Takes the descriptors that the supervisor has handed over by `LISTEN_FDS`, with the names that
/// `LISTEN_FDNAMES` gives them: none if there are none for this process.
///
/// They are there once: whoever asks again is refused. Those that listen have the longest queue there
/// is from now on.
///
/// # Errors
///
/// - [`ServiceError::Environment`] if the variables make no sense.
/// - [`ServiceError::System`] if one of the descriptors is not open.
pub fn inherited() -> Result<Vec<Inherited>, ServiceError> {
    let variable = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let announced = announced(
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
        std::process::id(),
    )?;
    let Announced(names) = announced;
    let descriptors = daemon_sys::fds::take_inherited(FIRST, names.len()).map_err(|error| {
        let source = std::io::Error::other(error);
        ServiceError::System { act: "take over the supervisor's descriptors", source }
    })?;
    for descriptor in &descriptors {
        // One that this program has stopped with before has a queue for nobody: it shrank it.
        if getsockopt(descriptor, sockopt::AcceptConn) == Ok(true) {
            listen(descriptor, Backlog::MAXCONN).map_err(|error| ServiceError::System {
                act: "listen on the supervisor's descriptors",
                source: error.into(),
            })?;
        }
    }
    Ok(names.into_iter().zip(descriptors).map(|(name, fd)| Inherited { name, fd }).collect())
}

fn announced(
    pid: Option<&str>,
    count: Option<&str>,
    names: Option<&str>,
    own: u32,
) -> Result<Announced, ServiceError> {
    let (Some(pid), Some(count)) = (pid, count) else { return Ok(Announced(Vec::new())) };
    let wrong = |variable, value: &str, why: &str| ServiceError::Environment {
        variable,
        value: value.to_owned(),
        why: why.to_owned(),
    };
    let meant: u32 = pid.parse().map_err(|_error| wrong("LISTEN_PID", pid, "it is no process"))?;
    if meant != own {
        return Ok(Announced(Vec::new()));
    }
    let number = count.parse::<i32>().ok().filter(|number| (0..=MOST).contains(number));
    let number =
        number.ok_or_else(|| wrong("LISTEN_FDS", count, "it is no number of descriptors"))?;
    let number = usize::try_from(number).unwrap_or(0);
    let mut given: Vec<String> = match names {
        None | Some("") => Vec::new(),
        Some(names) => names.split(':').map(str::to_owned).collect(),
    };
    if given.len() > number {
        let names = names.unwrap_or_default();
        return Err(wrong("LISTEN_FDNAMES", names, "there are fewer descriptors than names"));
    }
    given.resize(number, "unknown".to_owned());
    Ok(Announced(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pid: Option<&str>, count: Option<&str>, names: Option<&str>) -> Option<Vec<String>> {
        announced(pid, count, names, 7).ok().map(|announced| announced.0)
    }

    #[test]
    fn descriptors_are_taken_by_whom_they_are_meant_for() {
        assert_eq!(names(None, None, None), Some(vec![]));
        assert_eq!(names(Some("8"), Some("2"), None), Some(vec![]));
        let unknown = || Some(vec!["unknown".to_owned(); 2]);
        assert_eq!(names(Some("7"), Some("2"), None), unknown());
        assert_eq!(names(Some("7"), Some("2"), Some("")), unknown());
        let named = Some(vec!["http".to_owned(), "unknown".to_owned()]);
        assert_eq!(names(Some("7"), Some("2"), Some("http")), named);
    }

    #[test]
    fn an_environment_that_makes_no_sense_is_refused() {
        for (pid, count, given) in
            [("me", "1", None), ("7", "many", None), ("7", "-1", None), ("7", "5000", None)]
        {
            assert_eq!(names(Some(pid), Some(count), given), None, "{pid} {count}");
        }
        assert_eq!(names(Some("7"), Some("1"), Some("a:b")), None);
    }
}
