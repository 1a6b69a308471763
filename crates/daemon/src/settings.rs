//! The settings that are common to all models, and their validation.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_core::Descendants;
use daemon_sys::capabilities::{Availability, Capability, availability};
use daemon_sys::limits::Resource;
use daemon_sys::privileges::{self, Group, Privileges, User};
#[cfg(feature = "sandbox")]
use daemon_sys::sandbox::Sandbox;
use daemon_sys::socketfile::SOCKET_PATH_MAX;
use slog::Logger;

use crate::babysitter::Babysit;
use crate::error::{ConfigError, DaemonError};
use crate::inheritance::{Environment, InheritedDescriptors};
use crate::log::default_logger;
use crate::panics::catching_logger;

/// What the daemon does on HUP, in addition to broadcasting [`DaemonHup`](crate::DaemonHup).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnHup {
    /// Reopens the log in all processes.
    #[default]
    ReopenLogs,
    /// Reopens the log and replaces all children of a pool, a few at a time.
    Reload,
}

/// All settings except the model.
#[derive(Debug, Clone)]
pub(crate) struct DaemonSettings {
    pub(crate) alias: String,
    /// Whether the daemon detaches from its terminal.
    pub(crate) detach: bool,
    /// Whether the daemon reports its state to a service manager.
    pub(crate) supervised: bool,
    pub(crate) logfile: Option<PathBuf>,
    pub(crate) logger: Option<Logger>,
    pub(crate) verbose: bool,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) no_new_privs: Option<bool>,
    pub(crate) keep_capabilities: Option<Vec<Capability>>,
    pub(crate) core_dumps: Option<bool>,
    pub(crate) ptrace: Option<bool>,
    pub(crate) environment: Option<Environment>,
    pub(crate) inherited_descriptors: Option<InheritedDescriptors>,
    #[cfg(feature = "sandbox")]
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) grace: Duration,
    pub(crate) boot_timeout: Duration,
    pub(crate) descendants: Descendants,
    pub(crate) pidfile: Option<PathBuf>,
    pub(crate) control: Option<PathBuf>,
    pub(crate) umask: Option<u32>,
    pub(crate) workdir: Option<PathBuf>,
    pub(crate) limits: Vec<(Resource, u64)>,
    pub(crate) nice: Option<i32>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) title: Option<String>,
    pub(crate) on_hup: OnHup,
    pub(crate) board_file: Option<PathBuf>,
    pub(crate) request_limit: Option<usize>,
    pub(crate) babysit: Babysit,
}

impl Default for DaemonSettings {
    fn default() -> Self {
        DaemonSettings {
            alias: program_name(std::env::args_os().next()),
            detach: false,
            supervised: false,
            logfile: None,
            logger: None,
            verbose: false,
            user: None,
            group: None,
            no_new_privs: None,
            keep_capabilities: None,
            core_dumps: None,
            ptrace: None,
            environment: None,
            inherited_descriptors: None,
            #[cfg(feature = "sandbox")]
            sandbox: None,
            grace: Duration::from_secs(30),
            boot_timeout: Duration::from_secs(30),
            descendants: Descendants::default(),
            pidfile: None,
            control: None,
            umask: None,
            workdir: None,
            limits: Vec::new(),
            nice: None,
            oom_score_adj: None,
            title: None,
            on_hup: OnHup::default(),
            board_file: None,
            request_limit: None,
            babysit: Babysit::default(),
        }
    }
}

/// Returns the name of the program file without its directory, or `Daemon` if the file name is not
/// a valid alias.
fn program_name(started_as: Option<OsString>) -> String {
    let path = started_as.map(PathBuf::from).unwrap_or_default();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| is_name(name)).unwrap_or_else(|| "Daemon".to_owned())
}

fn is_name(alias: &str) -> bool {
    !alias.trim().is_empty() && !alias.contains(['\n', '\0'])
}

impl DaemonSettings {
    /// Validates the settings without side effects, and returns the privileges to drop to.
    pub(crate) fn check(&self) -> Result<Option<Privileges>, DaemonError> {
        self.check_values()?;
        if self.supervised {
            daemon_service::systemd::check_environment()?;
        }
        let privileges = self.privileges()?;
        if let Some(privileges) = &privileges {
            privileges.check()?;
        }
        for capability in self.keep_capabilities.iter().flatten() {
            check_availability(*capability)?;
        }
        Ok(privileges)
    }

    /// Returns the variables that the daemon takes over from its launcher.
    pub(crate) fn environment(&self) -> Environment {
        match (&self.environment, &self.user) {
            (Some(environment), _) => environment.clone(),
            (None, Some(_)) => Environment::reduced(),
            (None, None) => Environment::Keep,
        }
    }

    /// Returns the descriptors that the daemon takes over from its launcher.
    pub(crate) fn inherited_descriptors(&self) -> InheritedDescriptors {
        match (&self.inherited_descriptors, &self.user) {
            (Some(descriptors), _) => descriptors.clone(),
            (None, Some(_)) => InheritedDescriptors::Only(Vec::new()),
            (None, None) => InheritedDescriptors::Keep,
        }
    }

    /// Returns whether the daemon gives up gaining privileges by executing programs. By default it
    /// does if it changes its user and the system supports it.
    pub(crate) fn no_new_privs(&self) -> bool {
        self.no_new_privs
            .unwrap_or_else(|| self.user.is_some() && privileges::supports_no_new_privs())
    }

    /// Returns whether tracing is forbidden in all processes of the daemon.
    pub(crate) fn forbids_tracing(&self) -> bool {
        // A program that receives core dumps receives them regardless of the limit.
        self.ptrace == Some(false) || (self.core_dumps == Some(false) && self.ptrace.is_none())
    }

    /// Returns whether tracing of children is permitted, even if the system forbids it by default.
    pub(crate) fn permits_tracing_of_children(&self) -> bool {
        self.ptrace == Some(true) || self.core_dumps == Some(true)
    }

    /// Returns the configured logger, or the default logger if none is configured.
    pub(crate) fn log(&self) -> Logger {
        match &self.logger {
            Some(logger) => catching_logger(logger.clone()),
            None => default_logger(self.verbose),
        }
    }

    fn check_values(&self) -> Result<(), ConfigError> {
        if !is_name(&self.alias) {
            let value = format!("{:?}", self.alias);
            return Err(ConfigError::value("alias", &value, "it must be one line and not empty"));
        }
        if self.detach && self.logfile.is_none() && self.logger.is_none() {
            let why = "a daemon that detaches needs a logfile or a logger";
            return Err(ConfigError::value("logfile", "not set", why));
        }
        if let Some(mode) = self.umask.filter(|mode| *mode > 0o777) {
            return Err(ConfigError::value(
                "umask",
                format_args!("{mode:o}"),
                "it must be at most 777",
            ));
        }
        if let Some(nice) = self.nice.filter(|nice| !(-20..=19).contains(nice)) {
            return Err(ConfigError::value("nice", nice, "it must be between -20 and 19"));
        }
        if let Some(score) = self.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
            return Err(ConfigError::value(
                "oom_score_adj",
                score,
                "it must be between -1000 and 1000",
            ));
        }
        self.babysit.check()?;
        if self.boot_timeout.is_zero() {
            return Err(ConfigError::value("boot_timeout", "0", "it must be greater than 0"));
        }
        if self.group.is_some() && self.user.is_none() {
            let group = self.group.as_deref().unwrap_or_default();
            return Err(ConfigError::value("group", group, "it requires a user"));
        }
        self.check_privileges()?;
        if let Some(workdir) = self.workdir.as_deref().filter(|path| !path.is_dir()) {
            return Err(ConfigError::value("workdir", workdir.display(), "it is not a directory"));
        }
        for (field, path) in [
            ("logfile", &self.logfile),
            ("pidfile", &self.pidfile),
            ("control", &self.control),
            ("board_file", &self.board_file),
            ("slowlog", &self.babysit.slowlog),
        ] {
            if let Some(path) = path {
                check_path(field, path)?;
            }
        }
        self.control.as_deref().map_or(Ok(()), check_length)
    }

    fn check_privileges(&self) -> Result<(), ConfigError> {
        if let Some(kept) = &self.keep_capabilities {
            let names: Vec<&str> = kept.iter().map(|kept| kept.name()).collect();
            if self.user.is_none() {
                let why = "it requires a user";
                return Err(ConfigError::value("keep_capabilities", names.join(" "), why));
            }
            if let Some(root) = kept.iter().find(|kept| kept.restores_root()) {
                let why = "the daemon could become root again with it";
                return Err(ConfigError::value("keep_capabilities", root, why));
            }
        }
        if self.no_new_privs == Some(true) && !privileges::supports_no_new_privs() {
            let why = "this operating system does not support it";
            return Err(ConfigError::value("no_new_privs", true, why));
        }
        if let Some(ptrace) = self.ptrace.filter(|_| !privileges::supports_traceable()) {
            let why = "this operating system does not support it";
            return Err(ConfigError::value("ptrace", ptrace, why));
        }
        if (self.core_dumps, self.ptrace) == (Some(true), Some(false)) {
            let why = "ptrace is false, which forbids core dumps, too";
            return Err(ConfigError::value("core_dumps", true, why));
        }
        if let Some(name) = self.environment.as_ref().and_then(Environment::invalid_name) {
            let value = format!("{name:?}");
            let why = "it cannot be the name of an environment variable";
            return Err(ConfigError::value("environment", value, why));
        }
        Ok(())
    }

    fn privileges(&self) -> Result<Option<Privileges>, DaemonError> {
        let Some(user) = &self.user else {
            return Ok(None);
        };
        let user = User::named(user)?;
        Ok(Some(match &self.group {
            None => Privileges::of(user)?,
            Some(group) => Privileges::with_group(user, Group::named(group)?)?,
        }))
    }
}

/// Checks that this process can keep the capability.
fn check_availability(capability: Capability) -> Result<(), DaemonError> {
    let why = match availability(capability)? {
        Availability::Available => return Ok(()),
        Availability::Missing => "this process does not have it",
        Availability::Unknown => "this kernel does not know it",
        Availability::Unsupported => "this operating system has no capabilities",
    };
    Err(ConfigError::value("keep_capabilities", capability, why).into())
}

/// Checks that the path is not a directory and that the directory that contains it exists.
fn check_path(field: &'static str, path: &Path) -> Result<(), ConfigError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if path.is_dir() {
        return Err(ConfigError::value(field, path.display(), "it is a directory"));
    }
    match parent {
        Some(parent) if !parent.is_dir() => {
            Err(ConfigError::value(field, path.display(), "its directory does not exist"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks that the absolute path of the control socket is not too long for the system.
fn check_length(path: &Path) -> Result<(), ConfigError> {
    let length = std::path::absolute(path).map_or(0, |path| path.as_os_str().len());
    if length > SOCKET_PATH_MAX {
        let why = format!(
            "its absolute path has {length} bytes, but a socket path has at most {SOCKET_PATH_MAX}"
        );
        return Err(ConfigError::value("control", path.display(), why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut DaemonSettings)) -> String {
        let mut settings = DaemonSettings::default();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn the_error_for_an_invalid_setting_contains_its_name_and_value() {
        let cases = [
            (
                refusal(|s| s.alias = " ".into()),
                "alias is \" \": it must be one line and not empty",
            ),
            (refusal(|s| s.umask = Some(0o7777)), "umask is 7777: it must be at most 777"),
            (refusal(|s| s.nice = Some(20)), "nice is 20: it must be between -20 and 19"),
            (
                refusal(|s| s.oom_score_adj = Some(-1001)),
                "oom_score_adj is -1001: it must be between -1000 and 1000",
            ),
            (
                refusal(|s| s.workdir = Some("/no/such".into())),
                "workdir is /no/such: it is not a directory",
            ),
            (
                refusal(|s| s.logfile = Some("/no/such/log".into())),
                "logfile is /no/such/log: its directory does not exist",
            ),
            (refusal(|s| s.pidfile = Some("/tmp".into())), "pidfile is /tmp: it is a directory"),
            (
                refusal(|s| s.control = Some("/no/such/socket".into())),
                "control is /no/such/socket: its directory does not exist",
            ),
            (refusal(|s| s.group = Some("www".into())), "group is www: it requires a user"),
            (
                refusal(|s| s.keep_capabilities = Some(vec![Capability::NetBindService])),
                "keep_capabilities is CAP_NET_BIND_SERVICE: it requires a user",
            ),
            (
                refusal(|s| {
                    s.user = Some("root".into());
                    s.keep_capabilities = Some(vec![Capability::Setuid]);
                }),
                "keep_capabilities is CAP_SETUID: the daemon could become root again with it",
            ),
            (
                refusal(|s| s.environment = Some(Environment::only(["A=B"]))),
                "environment is \"A=B\": it cannot be the name of an environment variable",
            ),
            (
                refusal(|s| s.boot_timeout = Duration::ZERO),
                "boot_timeout is 0: it must be greater than 0",
            ),
            (
                refusal(|s| s.detach = true),
                "logfile is not set: a daemon that detaches needs a logfile or a logger",
            ),
        ];
        for (sentence, expected) in cases {
            assert_eq!(sentence, expected);
        }
    }

    #[test]
    fn what_is_taken_over_from_the_launcher_depends_on_the_user_unless_it_is_set() {
        let mut settings = DaemonSettings::default();
        assert_eq!(settings.environment(), Environment::Keep);
        assert_eq!(settings.inherited_descriptors(), InheritedDescriptors::Keep);
        assert!(!settings.no_new_privs());
        settings.user = Some("www".into());
        assert_eq!(settings.environment(), Environment::reduced());
        assert_eq!(settings.inherited_descriptors(), InheritedDescriptors::Only(Vec::new()));
        assert_eq!(settings.no_new_privs(), privileges::supports_no_new_privs());
        settings.environment = Some(Environment::Keep);
        settings.inherited_descriptors = Some(InheritedDescriptors::Keep);
        settings.no_new_privs = Some(false);
        assert_eq!(settings.environment(), Environment::Keep);
        assert_eq!(settings.inherited_descriptors(), InheritedDescriptors::Keep);
        assert!(!settings.no_new_privs());
    }

    #[test]
    fn core_dumps_and_tracing_are_permitted_and_forbidden_together_unless_both_are_set() {
        // core_dumps, ptrace, forbidden in all processes, permitted in children
        let table = [
            (None, None, false, false),
            (None, Some(true), false, true),
            (None, Some(false), true, false),
            (Some(true), None, false, true),
            (Some(true), Some(true), false, true),
            (Some(false), None, true, false),
            (Some(false), Some(true), false, true),
            (Some(false), Some(false), true, false),
        ];
        for (core_dumps, ptrace, forbidden, permitted) in table {
            let settings = DaemonSettings { core_dumps, ptrace, ..DaemonSettings::default() };
            let found = (settings.forbids_tracing(), settings.permits_tracing_of_children());
            assert_eq!(found, (forbidden, permitted), "{core_dumps:?} {ptrace:?}");
        }
    }

    #[test]
    fn the_default_alias_is_the_name_of_the_program_file() {
        let cases = [
            (Some("/opt/bin/echo"), "echo"),
            (Some("./echo"), "echo"),
            (Some("-echo"), "-echo"),
            (Some("two words"), "two words"),
            (Some("two\nlines"), "Daemon"),
            (Some("/"), "Daemon"),
            (Some(""), "Daemon"),
            (None, "Daemon"),
        ];
        for (started_as, name) in cases {
            assert_eq!(program_name(started_as.map(OsString::from)), name, "{started_as:?}");
        }
    }

    #[test]
    fn a_socket_path_that_is_longer_than_the_limit_is_refused() {
        let at = |length: usize| PathBuf::from(format!("/{}", "x".repeat(length - 1)));
        assert!(check_length(&at(SOCKET_PATH_MAX)).is_ok());
        let error = check_length(&at(SOCKET_PATH_MAX + 1)).unwrap_err().to_string();
        assert!(error.contains("108 bytes") && error.contains("at most 107"), "{error}");
    }

    #[test]
    fn the_error_for_an_unknown_user_contains_the_users_name() {
        assert!(
            refusal(|s| s.user = Some("nobody-of-that-name".into())).contains("nobody-of-that")
        );
    }
}
