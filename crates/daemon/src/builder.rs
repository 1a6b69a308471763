//! How a daemon is configured. The builder is consumed step by step.

use std::path::PathBuf;
use std::time::Duration;

use daemon_sys::limits::Resource;
use slog::Logger;

use crate::babysitter::Babysit;
use crate::error::DaemonError;
use crate::launch::{self, Launched};
use crate::log::Verbosity;
use crate::model::{Model, Solo};
use crate::program::Program;
use crate::settings::{DaemonSettings, OnHup, Supervised, TerminalMode};

/// The way to a daemon: see [`Daemon::builder`].
#[derive(Debug, Clone, Copy)]
pub struct Daemon;

impl Daemon {
    /// Begins to configure a daemon; without a [`model`](DaemonBuilder::model) it has no children.
    pub fn builder() -> DaemonBuilder<Solo> {
        DaemonBuilder { model: Solo, settings: DaemonSettings::default() }
    }
}

/// A daemon that is being configured.
///
/// Nothing happens before [`launch`](DaemonBuilder::launch), and there everything is checked before
/// anything forks.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before launch"]
pub struct DaemonBuilder<M> {
    model: M,
    settings: DaemonSettings,
}

impl<M> DaemonBuilder<M> {
    /// Sets the model: [`PreFork`](crate::PreFork), [`PostFork`](crate::PostFork) or [`Solo`].
    pub fn model<N>(self, model: N) -> DaemonBuilder<N> {
        DaemonBuilder { model, settings: self.settings }
    }

    /// Names the daemon, in logs, status and process titles. By default it is called what the program was
    /// started as, without its directories.
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.settings.alias = alias.into();
        self
    }

    /// Tells systemd, or any supervisor that speaks sd_notify(3), of the daemon's states: READY when the
    /// initial children are up, STATUS with the counts, RELOADING, STOPPING, more time while it drains,
    /// and WATCHDOG while the pool is healthy. Without a `NOTIFY_SOCKET` in the environment nobody is told.
    ///
    /// It is a service without callbacks of its own. With some, spawn a
    /// [`ServiceActor`](daemon_service::ServiceActor) and [register](crate::RegisterWith) the daemon.
    pub fn supervised(mut self) -> Self {
        self.settings.supervised = Supervised::Yes;
        self
    }

    /// Leaves the terminal: the launching process exits 0 once the daemon is ready, that is, once
    /// the initial children are up; otherwise it prints the daemon's error and exits 1.
    ///
    /// It needs a [`logfile`](DaemonBuilder::logfile), or a [`logger`](DaemonBuilder::logger) of yours.
    pub fn detach(mut self) -> Self {
        self.settings.stay = TerminalMode::Detached;
        self
    }

    /// Sends standard output and error, and with them the default logger's lines, to this file,
    /// by appending. It is reopened on HUP in all processes.
    pub fn logfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.logfile = Some(path.into());
        self
    }

    /// Logs to this logger instead of the default one, in all processes.
    ///
    /// It must not have a thread of its own: a forked child has only the one that forked.
    pub fn logger(mut self, logger: Logger) -> Self {
        self.settings.logger = Some(logger);
        self
    }

    /// Has the default logger tell of births, departures and signals too.
    pub fn verbose(mut self) -> Self {
        self.settings.verbosity = Verbosity::Verbose;
        self
    }

    /// Runs as this user, by name or number, once the housework that needs root is done: with its
    /// primary and supplementary groups unless a [`group`](DaemonBuilder::group) is set. The original's
    /// `UID`.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.settings.user = Some(user.into());
        self
    }

    /// Runs as this group, by name or number. The original's `GID`.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.settings.group = Some(group.into());
        self
    }

    /// Sets how long children have to finish what they do when the daemon stops, before they are
    /// killed. 30 seconds by default.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Sets how long the initial children have to come up. 30 seconds by default.
    pub fn boot_timeout(mut self, timeout: Duration) -> Self {
        self.settings.boot_timeout = timeout;
        self
    }

    /// Writes the parent's pid to this file and holds a lock on it, so that a second start is
    /// refused.
    pub fn pidfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.pidfile = Some(path.into());
        self
    }

    /// Opens a control socket at this path: a Unix socket, for this daemon's user and root alone, on
    /// which the parent tells its state and takes orders. Off by default. What is said there is in
    /// [`control::protocol`](crate::control::protocol).
    ///
    /// A socket that a dead daemon has left there is replaced; a start where a living one answers is
    /// refused. The socket is removed when the daemon has stopped.
    pub fn control(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.control = Some(path.into());
        self
    }

    /// Sets the file mode creation mask, see umask(2).
    pub fn umask(mut self, mode: u32) -> Self {
        self.settings.umask = Some(mode);
        self
    }

    /// Changes to this directory. Relative paths of other settings mean the directory before it.
    pub fn workdir(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.workdir = Some(path.into());
        self
    }

    /// Limits a resource of each process, soft and hard, see setrlimit(2).
    pub fn limit(mut self, resource: Resource, most: u64) -> Self {
        self.settings.limits.push((resource, most));
        self
    }

    /// Sets the niceness, -20 to 19, see setpriority(2).
    pub fn nice(mut self, niceness: i32) -> Self {
        self.settings.nice = Some(niceness);
        self
    }

    /// Sets how readily the kernel kills the processes when memory is short, -1000 to 1000, see
    /// `oom_score_adj` in proc(5).
    pub fn oom_score_adj(mut self, score: i32) -> Self {
        self.settings.oom_score_adj = Some(score);
        self
    }

    /// Sets the name that process titles begin with; the alias by default.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.settings.title = Some(title.into());
        self
    }

    /// Sets what HUP does. Reopens the logs by default.
    pub fn on_hup(mut self, what: OnHup) -> Self {
        self.settings.on_hup = what;
        self
    }

    /// Sets how children are watched and what they may use. By default the process table is looked
    /// at every 30 seconds, and a child may use 10 minutes of processor time in a request.
    pub fn babysit(mut self, babysit: Babysit) -> Self {
        self.settings.babysit = babysit;
        self
    }

    /// Keeps the scoreboard in this file, where it can be read from outside.
    pub fn board_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.board_file = Some(path.into());
        self
    }

    /// Sets the size in bytes of the largest request that is handed over. 64 MiB by default.
    pub fn request_limit(mut self, bytes: usize) -> Self {
        self.settings.request_limit = Some(bytes);
        self
    }

    /// Does the housework, forks the fork server, and answers in the parent, before any runtime.
    ///
    /// # Errors
    ///
    /// - [`DaemonError::Config`] when the configuration is wrong; nothing has happened then.
    /// - [`DaemonError::InsideRuntime`] when a runtime is running in this thread.
    /// - [`DaemonError::System`] when the process has other threads, or a piece of housework is
    ///   refused.
    /// - [`DaemonError::ForkServer`] when the program's preload step fails.
    pub fn launch<P>(self, program: P) -> Result<Launched<P>, DaemonError>
    where
        P: Program,
        M: Model<P::Request>,
    {
        launch::launch(self.model.check()?.0, self.settings, program)
    }
}
