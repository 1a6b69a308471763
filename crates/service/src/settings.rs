//! The settings of a service.

use std::path::Path;
use std::time::Duration;

use slog::Logger;

use crate::error::ServiceError;
use crate::log::default_logger;
use crate::messages::Callbacks;

/// The default alias if the name of the program is unknown.
const FALLBACK_ALIAS: &str = "service";

/// The settings of a service: the parameters of `spawn` in `POE::Component::Daemon::Win32`.
#[derive(Debug)]
pub struct ServiceSettings {
    pub(crate) callbacks: Callbacks,
    pub(crate) alias: String,
    pub(crate) poll_interval: Duration,
    pub(crate) wait_hint: Duration,
    /// Whether the service waits for a participant to register before the service runs.
    pub(crate) awaits_registration: bool,
    pub(crate) logger: Option<Logger>,
}

impl ServiceSettings {
    /// Creates the settings of a service with these callbacks.
    #[must_use]
    pub fn new(callbacks: Callbacks) -> ServiceSettings {
        ServiceSettings {
            callbacks,
            alias: program_name(),
            poll_interval: Duration::from_secs(1),
            wait_hint: Duration::from_secs(30),
            awaits_registration: false,
            logger: None,
        }
    }

    /// Sets the name of the service. Its log records contain the name under the key `service`.
    /// Default: the file name of the running program, without `.exe`.
    ///
    /// Actors send messages to the address that [`spawn`](crate::ServiceActor::spawn) returns, not
    /// to this name.
    #[must_use]
    pub fn alias(self, alias: impl Into<String>) -> Self {
        ServiceSettings { alias: alias.into(), ..self }
    }

    /// Sets the time between two calls of a callback that has not answered. Default: 1 s.
    ///
    /// While a callback has not answered, the service also checks at this interval whether actors
    /// that were [registered](crate::Register) have ended. When a control or an answer arrives, the
    /// state changes without delay.
    #[must_use]
    pub fn poll_interval(self, poll_interval: Duration) -> Self {
        ServiceSettings { poll_interval, ..self }
    }

    /// Sets how long a pending state may take unless its callback sets a delay. Default: 30 s.
    #[must_use]
    pub fn wait_hint(self, wait_hint: Duration) -> Self {
        ServiceSettings { wait_hint, ..self }
    }

    /// Keeps the service in `StartPending` until a participant has [registered](crate::Register)
    /// and answered. Without this setting, a service that has no `StartPending` callback runs at
    /// once.
    #[must_use]
    pub fn await_registration(self) -> Self {
        ServiceSettings { awaits_registration: true, ..self }
    }

    /// Sets the logger. Default: standard error. On Unix the default logger does not wait if nobody
    /// reads standard error: records wait in memory, or are dropped and counted.
    #[must_use]
    pub fn logger(self, logger: Logger) -> Self {
        ServiceSettings { logger: Some(logger), ..self }
    }

    pub(crate) fn check(&self) -> Result<(), ServiceError> {
        if self.alias.is_empty() {
            return Err(ServiceError::EmptyAlias);
        }
        if self.poll_interval.is_zero() {
            return Err(ServiceError::ZeroPollInterval);
        }
        Ok(())
    }

    pub(crate) fn log(&self) -> Logger {
        self.logger.clone().unwrap_or_else(default_logger)
    }
}

fn program_name() -> String {
    let first = std::env::args_os().next().unwrap_or_default();
    name_of(Path::new(&first)).unwrap_or_else(|| FALLBACK_ALIAS.to_owned())
}

fn name_of(program: &Path) -> Option<String> {
    let name = program.file_name()?.to_string_lossy().into_owned();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_alias_is_the_name_of_the_program() {
        let named = |program: &str| name_of(Path::new(program));
        assert_eq!(named("/usr/sbin/echo"), Some("echo".to_owned()));
        assert_eq!(named("echo.exe"), Some("echo".to_owned()));
        assert_eq!(named("./my.service"), Some("my.service".to_owned()));
        assert_eq!(named(""), None);
        assert_eq!(named(".exe"), None);
    }
}
