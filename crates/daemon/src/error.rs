//! The errors of a daemon: why it did not start, or why it ended.

use std::fmt;
use std::io;

use daemon_core::PoolError;
use daemon_forkserver::ForkServerError;

use crate::panics::Panic;

/// Why a daemon did not start, or ended with a failure.
///
/// `Debug` prints the same text as `Display`, so that a `main` function that returns this error
/// prints a readable message.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// A setting is invalid. The launch returned this error before it opened files, detached, or
    /// changed anything else in the process.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A system call of the setup failed, or other threads were running at the launch.
    #[error(transparent)]
    System(#[from] daemon_sys::Error),
    /// The fork server could not be started.
    #[error(transparent)]
    ForkServer(#[from] ForkServerError),
    /// [`launch`](crate::DaemonBuilder::launch) was called inside a runtime.
    #[error(
        "cannot launch inside an actix System or a tokio runtime: forked children would share its \
         event queue. Call launch before you start the runtime"
    )]
    InsideRuntime,
    /// [`start`](crate::Launched::start) was called outside of an actix System.
    #[error("cannot start the daemon: there is no actix System in this thread")]
    NoSystem,
    /// A step of the launch or of the start failed with an I/O error.
    #[error("cannot {action}: {source}")]
    Runtime {
        /// What was attempted.
        action: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The daemon is [supervised](crate::DaemonBuilder::supervised), and the service manager cannot
    /// be notified.
    #[error(transparent)]
    Service(#[from] daemon_service::ServiceError),
    /// The initial children did not become ready.
    #[error("{0}")]
    NotReady(String),
    /// The fork server has died while the daemon was running. The children have been stopped.
    #[error("{0}; the children were stopped")]
    ForkServerLost(String),
    /// The daemon has ended with an error that was returned to an earlier sender of
    /// [`WaitUntilStopped`](crate::WaitUntilStopped). `Ended` contains only the message of that
    /// error.
    #[error("the daemon has failed: {0}")]
    Ended(String),
    /// Code of the program that runs in the parent has panicked, and nothing else would do its
    /// work. The daemon has stopped. See [`panics`](crate::panics).
    #[error("the parent {0}")]
    Panicked(Panic),
    /// The daemon's actor has panicked. The log has the message and the location.
    #[error("the daemon's actor has panicked")]
    ActorLost,
}

impl fmt::Debug for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a setting is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A size of a pool is out of range, or two sizes contradict each other.
    #[error("{0}")]
    Pool(#[from] PoolError),
    /// A setting has an invalid value.
    #[error("{field} is {value}: {reason}")]
    Value {
        /// The name of the setting.
        field: &'static str,
        /// The value of the setting.
        value: String,
        /// Why the value is invalid.
        reason: String,
    },
}

impl ConfigError {
    /// Creates an error for a setting with an invalid value.
    ///
    /// Crates that build on the daemon use this function for their own settings.
    pub fn value(field: &'static str, value: impl fmt::Display, reason: impl fmt::Display) -> Self {
        ConfigError::Value { field, value: value.to_string(), reason: reason.to_string() }
    }
}
