//! What can keep a daemon from starting, or end it before its time.

use std::fmt;
use std::io;

use daemon_core::PoolError;
use daemon_forkserver::ForkServerError;

/// Why a daemon did not start, or did not end well.
///
/// Its `Debug` is its sentence, so that a `main` that returns it prints what an operator can read.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The configuration is wrong; nothing was done yet.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system refused a piece of housework.
    #[error(transparent)]
    System(#[from] daemon_sys::Error),
    /// The fork server could not be founded.
    #[error(transparent)]
    ForkServer(#[from] ForkServerError),
    /// [`launch`](crate::DaemonBuilder::launch) was called inside a runtime.
    #[error(
        "cannot launch inside an actix System or a tokio runtime: a forked child would share its \
         event queue. Launch first, then start the runtime"
    )]
    InsideRuntime,
    /// [`start`](crate::Launched::start) was called outside of an actix System.
    #[error("cannot start the daemon: there is no actix System in this thread")]
    NoSystem,
    /// The runtime could not be made, or signals not be watched.
    #[error("cannot {action}: {source}")]
    Runtime {
        /// What was tried.
        action: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// The supervisor of a [supervised](crate::DaemonBuilder::supervised) daemon cannot be told of it.
    #[error(transparent)]
    Service(#[from] daemon_service::ServiceError),
    /// The initial children did not come up.
    #[error("{0}")]
    NotReady(String),
    /// The daemon's fork server was lost while it ran; its children have been ended.
    #[error("{0}; its children were ended")]
    ForkServerLost(String),
    /// The daemon has ended with an error that another asker was told in full.
    #[error("the daemon has ended: {0}")]
    Ended(String),
    /// The daemon's actor has ended by a panic.
    #[error("the daemon's actor has ended before the daemon was stopped: it has panicked")]
    ActorLost,
}

impl fmt::Debug for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A configuration that is refused, before anything forks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The numbers of a pool do not go together.
    #[error("{0}")]
    Pool(#[from] PoolError),
    /// A field has a value that makes no sense.
    #[error("{field} is {value}: {reason}")]
    Value {
        /// The field's name.
        field: &'static str,
        /// What it was set to.
        value: String,
        /// What is wrong with that.
        reason: String,
    },
}

impl ConfigError {
    /// Says of a field that its value is wrong, and why: for who builds on the daemon, and checks
    /// settings of its own beside it.
    pub fn value(field: &'static str, value: impl fmt::Display, reason: impl fmt::Display) -> Self {
        ConfigError::Value { field, value: value.to_string(), reason: reason.to_string() }
    }
}
