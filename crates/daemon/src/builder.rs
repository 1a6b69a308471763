//! The builder that configures a daemon.

use std::path::PathBuf;
use std::time::Duration;

use daemon_core::Descendants;
use daemon_sys::capabilities::Capability;
use daemon_sys::limits::Resource;
#[cfg(feature = "sandbox")]
use daemon_sys::sandbox::Sandbox;
use slog::Logger;

use crate::babysitter::Babysit;
use crate::error::DaemonError;
use crate::inheritance::{Environment, InheritedDescriptors};
use crate::launch::{self, Launched, Program};
use crate::model::{Model, Solo};
use crate::settings::{DaemonSettings, OnHup};

/// The entry point: see [`Daemon::builder`].
#[derive(Debug, Clone, Copy)]
pub struct Daemon;

impl Daemon {
    /// Returns a builder with default settings. Without a [`model`](DaemonBuilder::model) the
    /// daemon has no children.
    pub fn builder() -> DaemonBuilder<Solo> {
        DaemonBuilder { model: Solo, settings: DaemonSettings::default() }
    }
}

/// Configures a daemon.
///
/// Nothing takes effect before [`launch`](DaemonBuilder::launch), which checks all settings before
/// it changes or forks anything.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before launch"]
pub struct DaemonBuilder<M> {
    model: M,
    pub(crate) settings: DaemonSettings,
}

impl<M> DaemonBuilder<M> {
    /// Sets the model: [`PreFork`](crate::PreFork), [`PostFork`](crate::PostFork) or [`Solo`].
    pub fn model<N>(self, model: N) -> DaemonBuilder<N> {
        DaemonBuilder { model, settings: self.settings }
    }

    /// Sets the daemon's name in logs, status and process titles. By default it is the name of the
    /// program file, without its directory.
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.settings.alias = alias.into();
        self
    }

    /// Reports the daemon's state to systemd, or to any service manager that supports sd_notify(3):
    /// READY when the initial children are ready, STATUS with the numbers of children and requests,
    /// RELOADING, STOPPING, extensions of the timeout while the daemon starts or stops, and
    /// WATCHDOG while the pool is healthy. Does nothing if `NOTIFY_SOCKET` is not set.
    ///
    /// A program that needs callbacks for the service's states spawns a
    /// [`ServiceActor`](daemon_service::ServiceActor) instead and
    /// [registers](crate::RegisterWith) the daemon with it.
    pub fn supervised(mut self) -> Self {
        self.settings.supervised = true;
        self
    }

    /// Detaches from the terminal. The launching process exits with 0 when the initial children are
    /// ready. If the launch fails or the initial children do not become ready, the launching
    /// process prints the daemon's error and exits with 1.
    ///
    /// A daemon that detaches requires a [`logfile`](DaemonBuilder::logfile) or a
    /// [`logger`](DaemonBuilder::logger).
    pub fn detach(mut self) -> Self {
        self.settings.detach = true;
        self
    }

    /// Appends standard output, standard error and the default logger's lines to this file. All
    /// processes reopen the file on HUP.
    pub fn logfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.logfile = Some(path.into());
        self
    }

    /// Uses this logger instead of the default one, in all processes.
    ///
    /// The logger must not use a thread, because a forked child has only the thread that called
    /// fork(2). It must not wait for its output either, because the parent has one thread, which
    /// would then neither replace children nor stop. A drain that writes to a
    /// [`LogWriter`](crate::LogWriter) does not wait.
    pub fn logger(mut self, logger: Logger) -> Self {
        self.settings.logger = Some(logger);
        self
    }

    /// Makes the default logger also write debug records: signals, the start and exit of each
    /// child, pauses, and clients that disconnect.
    pub fn verbose(mut self) -> Self {
        self.settings.verbose = true;
        self
    }

    /// Runs the daemon as this user, given by name or number. The process changes to the user as
    /// soon as the setup that requires root is done. It gets the user's supplementary groups, and
    /// the user's primary group unless a [`group`](DaemonBuilder::group) is set. This is the
    /// parameter `UID` of `POE::Component::Daemon`.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.settings.user = Some(user.into());
        self
    }

    /// Runs the daemon as this group, given by name or number. This is the parameter `GID` of
    /// `POE::Component::Daemon`.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.settings.group = Some(group.into());
        self
    }

    /// Sets whether the processes of the daemon give up gaining privileges by executing a program:
    /// set-user-id programs such as sudo(8), and capabilities of files, then have no effect. By
    /// default they do if a [`user`](DaemonBuilder::user) is set and the system supports it (Linux,
    /// FreeBSD 14). See `PR_SET_NO_NEW_PRIVS` in prctl(2).
    pub fn no_new_privs(mut self, no_new_privs: bool) -> Self {
        self.settings.no_new_privs = Some(no_new_privs);
        self
    }

    /// Keeps these capabilities when the daemon changes its [`user`](DaemonBuilder::user), for
    /// example [`Capability::NetBindService`] to bind ports below 1024. By default none is kept.
    /// Linux only.
    ///
    /// The capabilities are permitted and effective in the parent, the fork server and the
    /// children. Programs that they execute do not inherit them. All other capabilities are dropped
    /// for good. [`Capability::Setuid`] and [`Capability::Setgid`] are refused, because the daemon
    /// could become root again.
    pub fn keep_capabilities(mut self, keep: impl IntoIterator<Item = Capability>) -> Self {
        self.settings.keep_capabilities = Some(keep.into_iter().collect());
        self
    }

    /// Sets whether children that crash dump core. By default the launcher's limit applies, and the
    /// system forbids dumps of a daemon that has changed its [`user`](DaemonBuilder::user), because
    /// they may contain root's data.
    ///
    /// `true` permits dumps of children, up to the hard limit of [`Resource::Core`], and so also
    /// permits [`ptrace`](DaemonBuilder::ptrace). `false` forbids dumps in all processes of the
    /// daemon.
    pub fn core_dumps(mut self, core_dumps: bool) -> Self {
        self.settings.core_dumps = Some(core_dumps);
        self
    }

    /// Sets whether other processes of the daemon's user, for example another child that was broken
    /// into, may trace children with ptrace(2) and read their memory in `/proc`. By default the
    /// system forbids it if the daemon has changed its [`user`](DaemonBuilder::user), and permits
    /// it otherwise. Linux and FreeBSD only.
    ///
    /// `true` permits it for children, for example to debug them, and to measure their proportional
    /// set size ([`MemoryMeasure::Pss`](crate::MemoryMeasure::Pss)). `false` forbids it in all
    /// processes of the daemon, and forbids [`core_dumps`](DaemonBuilder::core_dumps), too.
    pub fn ptrace(mut self, ptrace: bool) -> Self {
        self.settings.ptrace = Some(ptrace);
        self
    }

    /// Sets which environment variables the daemon takes over from the process that launches it. By
    /// default all, and with a [`user`](DaemonBuilder::user) those of [`Environment::reduced`].
    pub fn environment(mut self, environment: Environment) -> Self {
        self.settings.environment = Some(environment);
        self
    }

    /// Sets which open descriptors the daemon takes over from the process that launches it, besides
    /// standard input, output and error. By default all, and with a [`user`](DaemonBuilder::user)
    /// only those that systemd passes with `LISTEN_FDS`.
    pub fn inherited_descriptors(mut self, descriptors: InheritedDescriptors) -> Self {
        self.settings.inherited_descriptors = Some(descriptors);
        self
    }

    /// Restricts what children may do: the files that they may open, new network connections and
    /// the execution of programs. Off by default. Requires the cargo feature `sandbox`. Linux only.
    ///
    /// Each child enters the sandbox before it runs code of the program. The parent, the fork
    /// server and [`Program::preload`] are not restricted. A child may also reopen the daemon's
    /// [`logfile`](DaemonBuilder::logfile), so files in the directory of this file may be created
    /// and written, and read the program's own file, which contains the names for backtraces.
    ///
    /// The launch fails if a path does not exist, or if the system does not support a restriction
    /// and the sandbox is not [`best_effort`](Sandbox::best_effort).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use actix_daemon::{Daemon, PreFork, Sandbox};
    ///
    /// let builder = Daemon::builder().model(PreFork::new(4)).user("www-data").sandbox(
    ///     Sandbox::new().read("/usr").read("/srv/www").no_new_connections().no_exec(),
    /// );
    /// ```
    #[cfg(feature = "sandbox")]
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.settings.sandbox = Some(sandbox);
        self
    }

    /// Sets the grace period: when the daemon stops, children that have not finished their requests
    /// after this time are killed. 30 seconds by default.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Sets how long a child may take to become ready. 30 seconds by default.
    ///
    /// The start fails if the initial children are not ready within this time. Each child that is
    /// forked later is killed as a [rogue](crate::RogueChild) if it is not ready within this time
    /// after its fork, and the next fork is delayed as after other early deaths. A child of a pool
    /// is ready when it waits for its first request, a post-forked child when it begins its
    /// request, and a dispatcher's worker when it accepts tasks.
    pub fn boot_timeout(mut self, timeout: Duration) -> Self {
        self.settings.boot_timeout = timeout;
        self
    }

    /// Sets what happens to processes that a child has started and that still run when the child
    /// ends. By default they are killed with a child that the daemon kills, they end with the
    /// daemon, and otherwise they are left alone with a warning in the log, see [`Descendants`].
    ///
    /// # Examples
    ///
    /// ```
    /// use actix_daemon::{Daemon, Descendants};
    ///
    /// let builder = Daemon::builder().descendants(Descendants::EndWithChild);
    /// ```
    pub fn descendants(mut self, descendants: Descendants) -> Self {
        self.settings.descendants = descendants;
        self
    }

    /// Writes the parent's pid to this file and keeps it locked, so that the daemon cannot be
    /// started twice.
    pub fn pidfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.pidfile = Some(path.into());
        self
    }

    /// Opens a control socket at this path: a Unix socket on which the parent reports its status
    /// and accepts commands. Only root and the daemon's user may use the socket. Off by default.
    /// See [`control::protocol`](crate::control::protocol) for the protocol.
    ///
    /// The launch replaces a stale socket of a daemon that has died, and fails if another daemon
    /// listens at this path. The socket is removed when the daemon has stopped.
    pub fn control(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.control = Some(path.into());
        self
    }

    /// Sets the file mode creation mask, see umask(2).
    pub fn umask(mut self, mode: u32) -> Self {
        self.settings.umask = Some(mode);
        self
    }

    /// Changes the working directory. Relative paths in other settings are resolved before the
    /// change.
    pub fn workdir(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.workdir = Some(path.into());
        self
    }

    /// Sets both the soft and the hard limit of a resource to `most`, for each process of the
    /// daemon. See setrlimit(2).
    pub fn limit(mut self, resource: Resource, most: u64) -> Self {
        self.settings.limits.push((resource, most));
        self
    }

    /// Sets the niceness, -20 to 19, see setpriority(2).
    pub fn nice(mut self, niceness: i32) -> Self {
        self.settings.nice = Some(niceness);
        self
    }

    /// Sets how likely the kernel is to kill the daemon's processes when memory runs out, -1000 to
    /// 1000. See `oom_score_adj` in proc(5).
    pub fn oom_score_adj(mut self, score: i32) -> Self {
        self.settings.oom_score_adj = Some(score);
        self
    }

    /// Sets the name at the start of process titles. By default it is the alias.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.settings.title = Some(title.into());
        self
    }

    /// Sets what the daemon does on HUP. By default it reopens the logs.
    pub fn on_hup(mut self, what: OnHup) -> Self {
        self.settings.on_hup = what;
        self
    }

    /// Sets the limits of children, and how often the children are checked. By default the process
    /// table is read every 30 seconds, and a child may use 10 minutes of CPU time in a request.
    pub fn babysit(mut self, babysit: Babysit) -> Self {
        self.settings.babysit = babysit;
        self
    }

    /// Keeps the scoreboard in this file, where other programs can read it.
    pub fn board_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.board_file = Some(path.into());
        self
    }

    /// Sets the maximum size in bytes of a request that is handed over to a child. 64 MiB by
    /// default.
    pub fn request_limit(mut self, bytes: usize) -> Self {
        self.settings.request_limit = Some(bytes);
        self
    }

    /// Sets up the process, forks the fork server and returns in the parent.
    ///
    /// Call this method before any runtime is started.
    ///
    /// # Errors
    ///
    /// - [`DaemonError::Config`] if a setting is invalid. Nothing has been changed then.
    /// - [`DaemonError::InsideRuntime`] if a runtime is running in this thread.
    /// - [`DaemonError::System`] if the process has other threads, or if a step of the setup fails.
    /// - [`DaemonError::Runtime`] if a relative path cannot be made absolute.
    /// - [`DaemonError::Service`] if the daemon is [supervised](DaemonBuilder::supervised) and the
    ///   service manager has set an environment variable to an invalid value.
    /// - [`DaemonError::ForkServer`] if the fork server cannot be started, or if the program's
    ///   [`preload`](Program::preload) fails.
    pub fn launch<P>(self, program: P) -> Result<Launched<P>, DaemonError>
    where
        P: Program,
        M: Model<P::Request>,
    {
        launch::launch(self.model.check()?.0, self.settings, program)
    }
}
