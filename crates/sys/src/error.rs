//! The error type of this crate. Each message names the attempted action, its object and the cause.

use std::fmt;
use std::io;
use std::path::PathBuf;

use daemon_core::Pid;

/// Result of an operating system call.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed or refused operating system call.
///
/// `Display` prints a complete message for an operator. [`source`](std::error::Error::source)
/// returns the system's own error for programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("cannot {action}: {}", LowercaseMessage(.source))]
    Os {
        /// The attempted action and its object, for example `open log file /var/log/x.log`.
        action: String,
        /// The error that the system returned.
        source: io::Error,
    },
    /// The system, or a limit of this process, does not allow another process, or there is no
    /// memory. The same call may succeed later.
    #[error(
        "cannot fork: {}; check the process limit (ulimit -u, pids.max of the cgroup) and free memory",
        LowercaseMessage(.source)
    )]
    ForkShortage {
        /// The error that the system returned: `EAGAIN` or `ENOMEM`.
        source: io::Error,
    },
    /// A limit of this process is too low.
    #[error("the limit of {resource} is {limit}, and at least {needed} are needed")]
    LimitTooLow {
        /// The resource, with the option of `ulimit` that sets the limit.
        resource: &'static str,
        /// The limit.
        limit: u64,
        /// The smallest limit that is sufficient.
        needed: u64,
    },
    /// The process has other threads, so a forked child could have locks that no thread releases.
    #[error("{0}")]
    OtherThreads(OtherThreads),
    /// Only root is allowed to perform the attempted action.
    #[error("cannot {action}: only root is allowed to, and this process runs as uid {uid}")]
    NotRoot {
        /// The attempted action.
        action: String,
        /// Effective user id of this process.
        uid: u32,
    },
    /// The user database has no such user.
    #[error("cannot look up user {name}: the user database has no such user")]
    NoSuchUser {
        /// The name or number that was looked up.
        name: String,
    },
    /// The group database has no such group.
    #[error("cannot look up group {name}: the group database has no such group")]
    NoSuchGroup {
        /// The name or number that was looked up.
        name: String,
    },
    /// The uid is not in the user database, so the user has no primary group.
    #[error(
        "cannot look up the primary group of user {user}: the user database has no such uid; set a group"
    )]
    NoPrimaryGroup {
        /// Name or number of the user.
        user: String,
    },
    /// Another running process holds the lock of the pid file.
    #[error("already running{}: pid file {} is locked", HolderSuffix(.pid), .file.display())]
    AlreadyRunning {
        /// The pid file.
        file: PathBuf,
        /// The pid of the lock's holder, if the file contains one.
        pid: Option<Pid>,
    },
    /// A running process accepts connections on the socket at this path.
    #[error(
        "already running: cannot bind socket {}: another process is listening on it",
        .path.display()
    )]
    SocketInUse {
        /// The path of the socket.
        path: PathBuf,
    },
    /// A file that is not a socket exists at the socket's path. This crate does not remove such a
    /// file.
    #[error("cannot bind socket {}: it is {found}, not a socket; remove it", .path.display())]
    NotASocket {
        /// The path of the file.
        path: PathBuf,
        /// What the file is, for example `a FIFO of uid 33`.
        found: String,
    },
    /// The check after dropping privileges failed, so the process must exit.
    #[error("cannot drop privileges permanently: {reason}")]
    PrivilegesNotDropped {
        /// Why the check failed.
        reason: String,
    },
    /// The expected parent has already exited, so the kernel will not send a parent death signal.
    #[error("cannot set a parent death signal: parent process {expected} has already exited")]
    ParentExited {
        /// The expected parent process.
        expected: Pid,
    },
    /// A memory mapping cannot hold the requested values.
    #[error("cannot map {object}: {reason}")]
    Layout {
        /// The object to map.
        object: String,
        /// Why the mapping cannot hold the values.
        reason: String,
    },
    /// The data is longer than the caller's limit.
    #[error("cannot read {object}: it is longer than {limit} bytes")]
    TooLong {
        /// The object that was read.
        object: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// This operating system does not support the action.
    #[error("cannot {action}: not supported on this operating system")]
    Unsupported {
        /// The attempted action.
        action: String,
    },
}

impl Error {
    /// Creates the error of a failed system call from the attempted action and the system's error.
    pub fn os(action: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error::Os { action: action.into(), source: source.into() }
    }

    /// Creates the error of a failed system call from the attempted action and the thread's
    /// `errno`.
    pub(crate) fn last(action: impl Into<String>) -> Error {
        Error::os(action, io::Error::last_os_error())
    }

    /// Creates the error of a failed fork(2).
    #[must_use]
    pub fn fork(source: io::Error) -> Error {
        match source.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOMEM) => Error::ForkShortage { source },
            _ => Error::os("fork", source),
        }
    }

    /// Returns the system's error number, if a system call failed.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Error::Os { source, .. } | Error::ForkShortage { source } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Returns whether the call failed because the system was short of processes or memory
    /// (`EAGAIN`, `ENOMEM`). The same call may succeed later. fork(2) has no other temporary
    /// errors.
    #[must_use]
    pub fn is_resource_shortage(&self) -> bool {
        matches!(self, Error::ForkShortage { .. })
    }

    /// Returns whether the call failed because this process (`EMFILE`) or the whole system
    /// (`ENFILE`) has reached its limit on descriptors, or because there was no memory to map a
    /// file (`ENOMEM`). Calls that need no descriptor may still succeed.
    #[must_use]
    pub fn is_descriptor_shortage(&self) -> bool {
        matches!(self.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
    }
}

/// Displays a system error with its first letter in lower case, for example `permission denied`. A
/// message that starts with an acronym is not changed, for example `I/O error`.
struct LowercaseMessage<'a>(&'a io::Error);

impl fmt::Display for LowercaseMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(number) = self.0.raw_os_error() else {
            return self.0.fmt(f);
        };
        let description = nix::errno::Errno::from_raw(number).desc();
        let mut rest = description.chars();
        match (rest.next(), description.chars().nth(1)) {
            (Some(first), Some(second)) if second.is_lowercase() => {
                write!(f, "{}{}", first.to_ascii_lowercase(), rest.as_str())
            }
            _ => f.write_str(description),
        }
    }
}

struct HolderSuffix<'a>(&'a Option<Pid>);

impl fmt::Display for HolderSuffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, " as process {pid}"),
            None => Ok(()),
        }
    }
}

/// A thread of this process other than the calling thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The kernel's thread id.
    pub tid: i32,
    /// The thread's name, at most 15 bytes; empty if the thread exited before its name was read.
    pub name: String,
}

/// The other threads that prevent a fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherThreads {
    /// The other threads. Empty if the system reports that other threads exist, but does not list
    /// them.
    pub threads: Vec<Thread>,
}

impl fmt::Display for OtherThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.threads.len() {
            0 => return f.write_str("refusing to fork: other threads are running"),
            1 => f.write_str("refusing to fork: 1 other thread is running: ")?,
            n => write!(f, "refusing to fork: {n} other threads are running: ")?,
        }
        for (i, Thread { tid, name }) in self.threads.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}\"{name}\" (tid {tid})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn threads_named(names: &[&str]) -> OtherThreads {
        let thread =
            |(i, name): (usize, &&str)| Thread { tid: 12 + i as i32, name: (*name).into() };
        OtherThreads { threads: names.iter().enumerate().map(thread).collect() }
    }

    #[test]
    fn the_error_names_every_thread() {
        assert_eq!(
            threads_named(&["tokio-runtime-w", "log"]).to_string(),
            "refusing to fork: 2 other threads are running: \
             \"tokio-runtime-w\" (tid 12), \"log\" (tid 13)"
        );
        assert_eq!(
            threads_named(&["log"]).to_string(),
            "refusing to fork: 1 other thread is running: \"log\" (tid 12)"
        );
        assert_eq!(threads_named(&[]).to_string(), "refusing to fork: other threads are running");
    }

    #[test]
    fn the_error_of_a_failed_call_names_the_action_the_object_and_the_cause() {
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let error = Error::os("open log file /var/log/x.log", denied);
        assert_eq!(error.to_string(), "cannot open log file /var/log/x.log: permission denied");
        assert!(error.source().is_some());
    }

    #[test]
    fn an_error_message_that_starts_with_an_acronym_keeps_its_capitals() {
        let broken = io::Error::from_raw_os_error(libc::EIO);
        assert_eq!(Error::os("read x", broken).to_string(), "cannot read x: I/O error");
    }

    #[test]
    fn the_error_already_running_names_the_pid_and_the_pid_file() {
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
    fn only_a_lack_of_processes_or_memory_is_a_resource_shortage() {
        let of = |number| Error::fork(io::Error::from_raw_os_error(number)).is_resource_shortage();
        assert!(of(libc::EAGAIN) && of(libc::ENOMEM));
        assert!(!of(libc::ENOSYS));
    }
}
