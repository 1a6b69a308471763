//! What the daemon takes over from the process that launches it: environment variables and open
//! descriptors.

use std::ffi::OsStr;
use std::os::fd::RawFd;

use daemon_service::systemd;
use daemon_sys::privileges::Privileges;
use daemon_sys::{environment, fds};

/// The variables that a daemon with a [`user`](crate::DaemonBuilder::user) keeps by default. A name
/// that ends with `*` stands for all names that start with the rest.
const DEFAULT_VARIABLES: [&str; 17] = [
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    // systemd describes the service in these, see systemd.exec(5).
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "CACHE_DIRECTORY",
    "LOGS_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "SYSTEMD_EXEC_PID",
];

/// The environment variables that the daemon takes over from the process that launches it.
///
/// The variables through which a supervisor communicates with the process that it starts are
/// removed at the launch, unless [`Only`](Environment::Only) names them without a `*`: those of
/// sd_notify(3) (`NOTIFY_SOCKET`, `WATCHDOG_*`, `LISTEN_*`, `FDSTORE`, `MAINPID`, `MANAGERPID`,
/// `MONITOR_*`), of Server::Starter (`SERVER_STARTER_*`) and of Einhorn (`EINHORN_*`). The parent
/// remembers those that `daemon_service` needs. So no process of the daemon, and nothing that it
/// starts, can speak for the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environment {
    /// All variables, except those of the supervisor.
    Keep,
    /// Only these variables. A name that ends with `*` stands for all names that start with the
    /// rest, for example `LC_*`.
    ///
    /// If the daemon changes its [`user`](crate::DaemonBuilder::user), `HOME`, `USER` and `LOGNAME`
    /// are set to this user's.
    Only(Vec<String>),
}

impl Environment {
    /// Creates [`Environment::Only`] from a list of names.
    pub fn only<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Environment::Only(names.into_iter().map(Into::into).collect())
    }

    /// Returns the default of a daemon that changes its user: `PATH`, `LANG`, `LANGUAGE`, `LC_*`,
    /// `TZ`, `RUST_LOG`, `RUST_BACKTRACE`, `RUST_LIB_BACKTRACE`, and the variables in which systemd
    /// describes the service (`INVOCATION_ID`, `JOURNAL_STREAM`, `SYSTEMD_EXEC_PID`,
    /// `RUNTIME_DIRECTORY`, `STATE_DIRECTORY`, `CACHE_DIRECTORY`, `LOGS_DIRECTORY`,
    /// `CONFIGURATION_DIRECTORY`, `CREDENTIALS_DIRECTORY`).
    #[must_use]
    pub fn reduced() -> Self {
        Environment::only(DEFAULT_VARIABLES)
    }

    /// Returns the first name that cannot be the name of a variable.
    pub(crate) fn invalid_name(&self) -> Option<&str> {
        let Environment::Only(names) = self else { return None };
        let is_valid = |name: &&String| !name.is_empty() && !name.contains(['=', '\0']);
        names.iter().find(|name| !is_valid(name)).map(String::as_str)
    }

    /// Returns whether the daemon keeps the variable.
    fn keeps(&self, name: &OsStr) -> bool {
        match self {
            Environment::Keep => !environment::is_of_supervisor(name),
            Environment::Only(names) => {
                names.iter().any(|pattern| match pattern.strip_suffix('*') {
                    Some(start) => {
                        name.as_encoded_bytes().starts_with(start.as_bytes())
                            && !environment::is_of_supervisor(name)
                    }
                    None => name == OsStr::new(pattern),
                })
            }
        }
    }

    /// Changes the environment of this process, which becomes the parent.
    pub(crate) fn apply(&self, user: Option<&Privileges>) -> Result<(), daemon_sys::Error> {
        systemd::remember_environment();
        environment::retain(|name| self.keeps(name))?;
        match self {
            Environment::Keep => return Ok(()),
            Environment::Only(_) => {}
        }
        let Some(Privileges { user, .. }) = user else { return Ok(()) };
        environment::retain(|name| !["HOME", "USER", "LOGNAME"].iter().any(|own| name == *own))?;
        let Some(home) = &user.home else { return Ok(()) };
        environment::set("HOME", home)?;
        environment::set("USER", &user.name)?;
        environment::set("LOGNAME", &user.name)
    }
}

/// The descriptors that the daemon takes over from the process that launches it, besides standard
/// input, output and error.
///
/// A descriptor is inherited if its close-on-exec flag is not set: everything that Rust opens has
/// this flag. A descriptor that a C library has opened without the flag before the launch therefore
/// counts as inherited, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InheritedDescriptors {
    /// All descriptors.
    Keep,
    /// Only these descriptors, and those that systemd passes with `LISTEN_FDS`. The others are
    /// closed at the launch, and a log record lists them.
    Only(Vec<RawFd>),
}

impl InheritedDescriptors {
    /// Closes the descriptors that the daemon does not take over, and returns a description of
    /// each.
    pub(crate) fn apply(
        &self,
        from_service_manager: &std::ops::Range<RawFd>,
    ) -> Result<Vec<String>, daemon_sys::Error> {
        let InheritedDescriptors::Only(kept) = self else { return Ok(Vec::new()) };
        let is_kept = |fd: RawFd| kept.contains(&fd) || from_service_manager.contains(&fd);
        let closed = fds::close_inherited(is_kept)?;
        Ok(closed.into_iter().map(|(fd, target)| format!("{fd} {target}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_variables_are_kept() {
        let kept = |environment: &Environment, name: &str| environment.keeps(OsStr::new(name));
        let reduced = Environment::reduced();
        for name in ["PATH", "LC_ALL", "LC_", "RUST_LOG", "INVOCATION_ID"] {
            assert!(kept(&reduced, name), "{name}");
            assert!(kept(&Environment::Keep, name), "{name}");
        }
        for name in ["AWS_SECRET_ACCESS_KEY", "PATHS", "LC", "LD_PRELOAD", "HOME", "SSH_AUTH_SOCK"]
        {
            assert!(!kept(&reduced, name), "{name}");
            assert!(kept(&Environment::Keep, name), "{name}");
        }
        let some = Environment::only(["APP_*", "HOME"]);
        assert!(kept(&some, "APP_MODE") && kept(&some, "HOME"));
        assert!(!kept(&some, "PATH") && !kept(&some, "APP"));
        assert!(kept(&Environment::only(["*"]), "ANYTHING"));
    }

    #[test]
    fn a_variable_of_the_supervisor_is_kept_only_if_it_is_named() {
        for name in systemd::VARIABLES.iter().chain(&["LISTEN_PIDFDID", "EINHORN_FDS"]) {
            let kept = |environment: Environment| environment.keeps(OsStr::new(name));
            assert!(!kept(Environment::Keep), "{name}");
            assert!(!kept(Environment::reduced()), "{name}");
            assert!(!kept(Environment::only(["*"])), "{name}");
            assert!(kept(Environment::only([*name])), "{name}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_a_variable_is_found() {
        assert_eq!(Environment::only(["A", "B=1"]).invalid_name(), Some("B=1"));
        assert_eq!(Environment::only(["", "A"]).invalid_name(), Some(""));
        assert_eq!(Environment::reduced().invalid_name(), None);
        assert_eq!(Environment::Keep.invalid_name(), None);
    }
}
