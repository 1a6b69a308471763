//! The settings that all models share, and their check.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_sys::limits::Resource;
use daemon_sys::privileges::{Group, Privileges, User};
use daemon_sys::socketfile::SOCKET_PATH_MAX;
use slog::Logger;

use crate::babysitter::Babysit;
use crate::error::{ConfigError, DaemonError};
use crate::log::{Verbosity, default_logger};

/// What HUP does, beside the broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnHup {
    /// Reopens the log in all processes.
    #[default]
    ReopenLogs,
    /// Reopens the log and replaces all children of a pool, a few at a time.
    Reload,
}

/// Whether the daemon leaves its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TerminalMode {
    Attached,
    Detached,
}

/// Whether the daemon tells a supervisor of its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supervised {
    No,
    Yes,
}

/// All settings but the model.
#[derive(Debug, Clone)]
pub(crate) struct DaemonSettings {
    pub(crate) alias: String,
    pub(crate) stay: TerminalMode,
    pub(crate) supervised: Supervised,
    pub(crate) logfile: Option<PathBuf>,
    pub(crate) logger: Option<Logger>,
    pub(crate) verbosity: Verbosity,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) grace: Duration,
    pub(crate) boot_timeout: Duration,
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
            stay: TerminalMode::Attached,
            supervised: Supervised::No,
            logfile: None,
            logger: None,
            verbosity: Verbosity::Normal,
            user: None,
            group: None,
            grace: Duration::from_secs(30),
            boot_timeout: Duration::from_secs(30),
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

/// What the program was started as, without its directories; `Daemon` where that is no name.
fn program_name(started_as: Option<OsString>) -> String {
    let path = started_as.map(PathBuf::from).unwrap_or_default();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| is_name(name)).unwrap_or_else(|| "Daemon".to_owned())
}

fn is_name(alias: &str) -> bool {
    !alias.trim().is_empty() && !alias.contains(['\n', '\0'])
}

impl DaemonSettings {
    /// Checks what can be checked without doing anything, and answers with the privileges to drop
    /// to.
    pub(crate) fn check(&self) -> Result<Option<Privileges>, DaemonError> {
        self.check_values()?;
        match self.supervised {
            Supervised::Yes => daemon_service::systemd::check_environment()?,
            Supervised::No => {}
        }
        let privileges = self.privileges()?;
        if let Some(privileges) = &privileges {
            privileges.check()?;
        }
        Ok(privileges)
    }

    /// The user's logger, or the default one.
    pub(crate) fn log(&self) -> Logger {
        self.logger.clone().unwrap_or_else(|| default_logger(self.verbosity))
    }

    fn check_values(&self) -> Result<(), ConfigError> {
        if !is_name(&self.alias) {
            let value = format!("{:?}", self.alias);
            return Err(ConfigError::value("alias", &value, "it must be a name of one line"));
        }
        if self.stay == TerminalMode::Detached && self.logfile.is_none() && self.logger.is_none() {
            let why = "a daemon that leaves its terminal needs a logfile, or a logger of yours";
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
            return Err(ConfigError::value(
                "boot_timeout",
                "0",
                "no child can be ready in no time",
            ));
        }
        if self.group.is_some() && self.user.is_none() {
            let group = self.group.as_deref().unwrap_or_default();
            return Err(ConfigError::value("group", group, "it needs a user"));
        }
        if let Some(workdir) = self.workdir.as_deref().filter(|path| !path.is_dir()) {
            return Err(ConfigError::value("workdir", workdir.display(), "it is no directory"));
        }
        for (field, path) in [
            ("logfile", &self.logfile),
            ("pidfile", &self.pidfile),
            ("control", &self.control),
            ("board_file", &self.board_file),
            ("slowlog", &self.babysit.slowlog),
        ] {
            if let Some(path) = path {
                check_place(field, path)?;
            }
        }
        self.control.as_deref().map_or(Ok(()), check_length)
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

/// A file that shall be made needs a directory that is there.
fn check_place(field: &'static str, path: &Path) -> Result<(), ConfigError> {
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

/// A socket's path has little room in the system, counted from the root.
fn check_length(path: &Path) -> Result<(), ConfigError> {
    let length = std::path::absolute(path).map_or(0, |path| path.as_os_str().len());
    if length > SOCKET_PATH_MAX {
        let why = format!(
            "it has {length} bytes from the root; a socket's has at most {SOCKET_PATH_MAX}"
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
    fn nonsense_is_refused_by_field_and_value() {
        let cases = [
            (refusal(|s| s.alias = " ".into()), "alias is \" \": it must be a name of one line"),
            (refusal(|s| s.umask = Some(0o7777)), "umask is 7777: it must be at most 777"),
            (refusal(|s| s.nice = Some(20)), "nice is 20: it must be between -20 and 19"),
            (
                refusal(|s| s.oom_score_adj = Some(-1001)),
                "oom_score_adj is -1001: it must be between -1000 and 1000",
            ),
            (
                refusal(|s| s.workdir = Some("/no/such".into())),
                "workdir is /no/such: it is no directory",
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
            (refusal(|s| s.group = Some("www".into())), "group is www: it needs a user"),
            (
                refusal(|s| s.boot_timeout = Duration::ZERO),
                "boot_timeout is 0: no child can be ready in no time",
            ),
            (
                refusal(|s| s.stay = TerminalMode::Detached),
                "logfile is not set: a daemon that leaves its terminal needs a logfile, or a \
                 logger of yours",
            ),
        ];
        for (sentence, expected) in cases {
            assert_eq!(sentence, expected);
        }
    }

    #[test]
    fn a_daemon_is_called_what_its_program_was_started_as() {
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
    fn a_socket_s_path_must_fit() {
        let at = |length: usize| PathBuf::from(format!("/{}", "x".repeat(length - 1)));
        assert!(check_length(&at(SOCKET_PATH_MAX)).is_ok());
        let error = check_length(&at(SOCKET_PATH_MAX + 1)).unwrap_err().to_string();
        assert!(error.contains("108 bytes") && error.contains("at most 107"), "{error}");
    }

    #[test]
    fn an_unknown_user_is_refused_by_name() {
        assert!(
            refusal(|s| s.user = Some("nobody-of-that-name".into())).contains("nobody-of-that")
        );
    }
}
