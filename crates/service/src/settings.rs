//! What a service is spawned with.

use std::time::Duration;

use slog::{Level, Logger};

use crate::callback::Callbacks;
use crate::error::ServiceError;

/// Whether somebody will register, and is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registration {
    None,
    Awaited,
}

/// What a service is spawned with. The original's parameters of `spawn`.
#[derive(Debug)]
pub struct Settings {
    pub(crate) callbacks: Callbacks,
    pub(crate) alias: String,
    pub(crate) poll_interval: Duration,
    pub(crate) wait_hint: Duration,
    pub(crate) registration: Registration,
    pub(crate) logger: Option<Logger>,
}

impl Settings {
    /// A service with these callbacks.
    #[must_use]
    pub fn new(callbacks: Callbacks) -> Settings {
        Settings {
            callbacks,
            alias: "win32daemon".to_owned(),
            poll_interval: Duration::from_secs(1),
            wait_hint: Duration::from_secs(30),
            registration: Registration::None,
            logger: None,
        }
    }

    /// The name of the service, `service` in each record of its log. Default: `win32daemon`. The
    /// original's sessions post to it by this name; here they hold the address that
    /// [`spawn`](crate::ServiceActor::spawn) returns.
    #[must_use]
    pub fn alias(self, alias: impl Into<String>) -> Self {
        Settings { alias: alias.into(), ..self }
    }

    /// The time between two calls of a callback that has not answered. Default: 1 s. Nothing else
    /// waits for it: states change as controls and answers come.
    #[must_use]
    pub fn poll_interval(self, poll_interval: Duration) -> Self {
        Settings { poll_interval, ..self }
    }

    /// How long a pending state may last unless its callback says otherwise. Default: 30 s.
    #[must_use]
    pub fn wait_hint(self, wait_hint: Duration) -> Self {
        Settings { wait_hint, ..self }
    }

    /// The service starts, but does not run before somebody has [registered](crate::Register) and
    /// answered. Without it, a service that has no callback for its start runs at once.
    #[must_use]
    pub fn await_registration(self) -> Self {
        Settings { registration: Registration::Awaited, ..self }
    }

    /// Where it logs. Default: to standard error.
    #[must_use]
    pub fn logger(self, logger: Logger) -> Self {
        Settings { logger: Some(logger), ..self }
    }

    pub(crate) fn check(&self) -> Result<(), ServiceError> {
        if self.alias.is_empty() {
            return Err(ServiceError::NoAlias);
        }
        if self.poll_interval.is_zero() {
            return Err(ServiceError::NoInterval);
        }
        Ok(())
    }

    pub(crate) fn log(&self) -> Logger {
        let default = || daemon_log::logger(daemon_log::to_stderr, Level::Info);
        self.logger.clone().unwrap_or_else(default)
    }
}
