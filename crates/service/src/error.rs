//! What goes wrong.

use std::io;

/// Why a service does not start, or cannot do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The alias names nothing.
    #[error("cannot spawn a service: its alias is empty")]
    NoAlias,
    /// A cycle without length would never rest.
    #[error("cannot spawn a service: its poll interval is zero")]
    NoInterval,
    /// There is no actix System in this thread.
    #[error("cannot spawn a service: there is no actix System in this thread")]
    NoSystem,
    /// The supervisor has said where to notify it, and it cannot be done.
    #[error("cannot {act}: {source}")]
    System {
        /// What was tried.
        act: &'static str,
        /// Why it cannot be.
        #[source]
        source: io::Error,
    },
    /// The environment says something about the supervisor that makes no sense.
    #[error("cannot heed {variable}={value:?}: {why}")]
    Environment {
        /// Which variable.
        variable: &'static str,
        /// What it says.
        value: String,
        /// Why it makes no sense.
        why: String,
    },
    /// The program has not started its service.
    #[error("cannot start the service: {0}")]
    Program(String),
    /// The service's actor has ended before the service had stopped.
    #[error("the service's actor has ended before the service had stopped")]
    ActorLost,
    /// A service of this process runs already: its service manager knows one.
    #[error("cannot run the service: this process runs one already")]
    Second,
}
