//! What can go wrong here: one enum, whose every sentence names the act, the object and the cause.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::fork::OtherThreads;
use crate::process::Pid;

/// Result of a call on the operating system.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the operating system, or this crate on its behalf, refuses.
///
/// Its `Display` is the whole sentence for an operator; [`source`](std::error::Error::source) keeps
/// the system's own error for programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("cannot {act}: {}", ExitCause(.source))]
    Os {
        /// What was tried, with its object: `open log file /var/log/x.log`.
        act: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The process has other threads, so a fork would copy locks that nobody ever releases.
    #[error("{0}")]
    OtherThreads(OtherThreads),
    /// The act is root's alone.
    #[error("cannot {act}: only root may, and this process runs as uid {uid}")]
    NotRoot {
        /// What was tried.
        act: String,
        /// Effective user id of this process.
        uid: u32,
    },
    /// The user database has no such user.
    #[error("cannot look up user {name}: the user database has no such user")]
    NoSuchUser {
        /// Name or number that was looked for.
        name: String,
    },
    /// The group database has no such group.
    #[error("cannot look up group {name}: the group database has no such group")]
    NoSuchGroup {
        /// Name or number that was looked for.
        name: String,
    },
    /// A user is known by number only, so that it has no primary group.
    #[error(
        "cannot tell the primary group of user {user}: it is known by number only; name a group"
    )]
    NoPrimaryGroup {
        /// Name or number of the user.
        user: String,
    },
    /// Another living process holds the pid file.
    #[error("already running{}: pid file {} is locked", Whose(.pid), .file.display())]
    AlreadyRunning {
        /// The pid file.
        file: PathBuf,
        /// What the file says of the holder, if it can be read as a pid.
        pid: Option<Pid>,
    },
    /// A living process answers on the socket that stands at this place.
    #[error("already running: somebody answers on socket {}", .place.display())]
    SocketTaken {
        /// Where the socket stands.
        place: PathBuf,
    },
    /// At the place of a socket stands something else, which is not ours to remove.
    #[error("cannot bind socket {}: a file that is no socket stands there", .place.display())]
    NoSocket {
        /// The place.
        place: PathBuf,
    },
    /// Dropped privileges could be taken back: the process must not go on.
    #[error("cannot drop privileges for good: they come back: {how}")]
    PrivilegesComeBack {
        /// Which check found it.
        how: String,
    },
    /// The expected parent has already ended, so its death will signal nobody.
    #[error("cannot ask for a signal at the end of parent {expected}: it is gone already")]
    ParentIsGone {
        /// The process that should have been the parent.
        expected: Pid,
    },
    /// A mapping can't hold the asked for type.
    #[error("cannot map {object}: {why}")]
    Layout {
        /// What was to be mapped.
        object: String,
        /// What does not fit.
        why: String,
    },
    /// There is more to read than the caller accepts.
    #[error("cannot read {object}: it is longer than {limit} bytes")]
    TooLong {
        /// What was read.
        object: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// This operating system has no such thing.
    #[error("cannot {act}: not known on this operating system")]
    Unsupported {
        /// What was tried.
        act: String,
    },
}

impl Error {
    /// Makes the error of a failed system call from what was tried and what was answered.
    pub fn os(act: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error::Os { act: act.into(), source: source.into() }
    }

    /// Makes the error of a failed system call from what was tried and the thread's `errno`.
    pub(crate) fn last(act: impl Into<String>) -> Error {
        Error::os(act, io::Error::last_os_error())
    }

    /// Returns the system's error number, if a system call is to blame.
    #[must_use]
    pub fn number(&self) -> Option<i32> {
        match self {
            Error::Os { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Says whether the system is only short of processes or memory (`EAGAIN`, `ENOMEM`), so that
    /// the same call may succeed later: fork(2) names no other passing cause.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        matches!(self.number(), Some(libc::EAGAIN | libc::ENOMEM))
    }

    /// Says whether the system has no more descriptors, for this process (`EMFILE`) or for all
    /// (`ENFILE`), or no memory to map a file (`ENOMEM`), so that what needs none may still be done.
    #[must_use]
    pub fn is_shortage_of_files(&self) -> bool {
        matches!(self.number(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
    }
}

/// Writes a system error as a lowercase fragment: `permission denied`.
struct ExitCause<'a>(&'a io::Error);

impl fmt::Display for ExitCause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(number) = self.0.raw_os_error() else {
            return self.0.fmt(f);
        };
        let words = nix::errno::Errno::from_raw(number).desc();
        let mut rest = words.chars();
        match (rest.next(), words.chars().nth(1)) {
            (Some(first), Some(second)) if second.is_lowercase() => {
                write!(f, "{}{}", first.to_ascii_lowercase(), rest.as_str())
            }
            _ => f.write_str(words),
        }
    }
}

struct Whose<'a>(&'a Option<Pid>);

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, " as process {pid}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_failed_call_names_the_act_the_object_and_the_cause() {
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let error = Error::os("open log file /var/log/x.log", denied);
        assert_eq!(error.to_string(), "cannot open log file /var/log/x.log: permission denied");
        assert!(error.source().is_some());
    }

    #[test]
    fn an_acronym_keeps_its_capitals() {
        let broken = io::Error::from_raw_os_error(libc::EIO);
        assert_eq!(Error::os("read x", broken).to_string(), "cannot read x: I/O error");
    }

    #[test]
    fn a_running_daemon_is_named_with_its_pid_and_its_file() {
        let file = PathBuf::from("/run/x.pid");
        let named = Error::AlreadyRunning { file: file.clone(), pid: Pid::from_raw(12) };
        assert_eq!(
            named.to_string(),
            "already running as process 12: pid file /run/x.pid is locked"
        );
        let unnamed = Error::AlreadyRunning { file, pid: None };
        assert_eq!(unnamed.to_string(), "already running: pid file /run/x.pid is locked");
    }

    #[test]
    fn only_want_of_processes_or_memory_is_a_shortage() {
        let of = |number| Error::os("fork", io::Error::from_raw_os_error(number)).is_shortage();
        assert!(of(libc::EAGAIN) && of(libc::ENOMEM));
        assert!(!of(libc::ENOSYS));
    }
}
