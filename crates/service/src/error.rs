//! The errors of a service.

use std::io;

/// The reason why a service cannot start or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The alias is empty.
    #[error("cannot spawn the service: its alias is empty")]
    EmptyAlias,
    /// The poll interval is zero. With this interval, the service would call an unanswered callback
    /// in a busy loop.
    #[error("cannot spawn the service: poll_interval must be greater than 0")]
    ZeroPollInterval,
    /// This thread has no actix System.
    #[error("cannot spawn the service: no actix System is running in this thread")]
    NoSystem,
    /// A system call or a call to the service manager failed.
    #[error("cannot {action}: {source}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// An environment variable that the service manager sets has an invalid value.
    #[error("invalid environment variable {variable}={value:?}: {reason}")]
    Environment {
        /// The name of the variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// Why the value is invalid.
        reason: String,
    },
    /// The program's `start` function failed.
    #[error("cannot start the service: {0}")]
    Program(String),
    /// The service's actor ended before the service had stopped.
    #[error("the service's actor ended before the service had stopped")]
    ActorLost,
    /// Code of the program has panicked in the thread of the service, in an actor, in a task or in
    /// the `start` function.
    #[error("the service panicked at {location}: {message}")]
    Panicked {
        /// The message of the panic; `no message` if the payload is not a text.
        message: String,
        /// The file, line and column of the panic.
        location: String,
    },
    /// This process already runs a service. On Windows, [`run`](crate::run()) allows one service
    /// per process.
    #[error("cannot run the service: this process already runs one")]
    AlreadyRunning,
}
