//! The trait of a program that runs as a daemon, and its launch, which sets up the process, starts
//! the fork server, and then runs the System.
//!
//! All functions here run before a runtime is started, except [`Launched::run`] and
//! [`Launched::start`].

mod kept_signals;

use std::cell::RefCell;
use std::error::Error;
use std::ops::Range;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient, System};
use daemon_core::{ChildKind, Jitter, RequestLimit, Signal};
use daemon_forkserver::{ChildProgram, ChildStart, ForkServer, ForkServerBuilder, Transfer, now};
use daemon_protocol::ModelKind;
use daemon_sys::detach::{ReadinessNotifier, detach, leave_terminal};
use daemon_sys::init::leave_process_1;
use daemon_sys::limits::Resource;
use daemon_sys::listen::record_inherited;
use daemon_sys::pidfile::PidFile;
use daemon_sys::privileges::{self, Privileges};
use daemon_sys::process::{number_of, this_pid};
use daemon_sys::socketfile::SocketFile;
use daemon_sys::stdio::{self, LogFile, SavedStderr};
use daemon_sys::title::Title;
use daemon_sys::trace::{BacktraceChannel, BacktraceRequester};
use daemon_sys::{fork, limits};
use futures::channel::oneshot;
use slog::{Logger, info};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use crate::babysitter::{BabysitterConfig, SlowLog};
use crate::child::{ChildActor, ChildHandle, Confinement, ProcessContext, ProcessTitle, run_child};
use crate::connection_queue::ConnectionQueue;
use crate::control::ControlSocket;
#[cfg(feature = "sandbox")]
use crate::error::ConfigError;
use crate::error::DaemonError;
use crate::listener::move_pending;
use crate::log;
use crate::messages::{DaemonChild, RegisterWith, SignalReceived, WaitUntilStopped};
use crate::model::Rules;
use crate::panics;
use crate::parent::{DaemonActor, Panicked, Parent, Processes, end_on_panic};
use crate::service;
use crate::settings::DaemonSettings;
use crate::start_files::StartFiles;
use crate::supervisor::{Supervisor, SupervisorTimeouts};
use crate::system::catch_shortage;
use kept_signals::KeptSignals;

/// A program that runs as a daemon.
///
/// Before the launch there is one value of this type. After the launch the parent and each child
/// have a copy, because fork(2) copies memory. Each process uses the parts that it needs and drops
/// the others. For example, a listener that is bound before the launch is open in every process
/// until the process drops it.
///
/// # Examples
///
/// See the [crate's front page](crate).
pub trait Program: Sized + 'static {
    /// The request that a child receives when it is forked; `()` if the children accept their
    /// requests themselves.
    type Request: Transfer + Send;

    /// Loads data that all children share. Runs once in the fork server, before the first child is
    /// forked.
    ///
    /// The data takes no memory in the parent. This method must not start threads. It has no time
    /// limit: the launch waits until it returns, or until a signal stops the start.
    ///
    /// # Errors
    ///
    /// If this method returns an error, the launch fails and
    /// [`DaemonBuilder::launch`](crate::DaemonBuilder::launch) returns the error.
    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    /// Starts the parent's sessions, inside the parent's System. The daemon's actor is running
    /// already.
    ///
    /// The parent may keep or drop the program. A pre-forking parent does not need the listener. If
    /// the parent drops the listener here, the listener stays open only in the fork server and in
    /// the children, which accept the connections.
    fn parent(self, daemon: Addr<DaemonActor<Self::Request>>) {
        let _nothing_to_start = (self, daemon);
    }

    /// Starts the session of a child, inside the child's own System, and returns the recipient of
    /// its [`DaemonChild`].
    ///
    /// A post-forked child does not need the listener. If the child drops the listener here, the
    /// listener is closed in this child before the request is handled.
    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<Self::Request>>;
}

/// A launched daemon: the process is set up and the fork server runs. [`run`](Launched::run) or
/// [`start`](Launched::start) starts the daemon's actor.
///
/// If this value is dropped instead, the fork server exits, and the files that the launch has made
/// are removed. Until the daemon is started, the signals that it handles are blocked, so they are
/// handled when it has started.
#[derive(Debug)]
#[must_use = "the daemon runs only after `run` or `start` is called"]
pub struct Launched<P: Program> {
    program: P,
    rules: Rules<P::Request>,
    settings: DaemonSettings,
    context: ProcessContext,
    log: Logger,
    parents: Rc<RefCell<Option<ParentResources>>>,
    fork_server: Option<ForkServer<P::Request>>,
    kept_signals: KeptSignals,
    /// Requests backtraces from children.
    backtraces: Option<BacktraceRequester>,
    slowlog: SlowLog,
}

/// Resources that only the parent needs. The fork server drops its copies.
#[derive(Debug)]
struct ParentResources {
    readiness: Option<ReadinessNotifier>,
    /// Only the parent has the lock of the pid file, and serves the control socket.
    files: StartFiles,
    /// The former standard error. It is restored if the start fails after standard error was
    /// redirected to the log, so that the error reaches the terminal.
    terminal: Option<SavedStderr>,
}

impl ParentResources {
    /// Removes the files of a start that has failed, and then reports the error to the launching
    /// process, so that it does not end before they are gone.
    fn fail(self, error: &DaemonError) {
        let ParentResources { readiness, files, terminal } = self;
        drop(files);
        if let Some(readiness) = readiness {
            readiness.notify_failure(&error.to_string());
        }
        log::restore_terminal(terminal);
    }
}

/// The program, and the data about the daemon that a child needs.
struct DaemonChildProgram<P> {
    program: P,
    context: ProcessContext,
    process_title: ProcessTitle,
    parents: Rc<RefCell<Option<ParentResources>>>,
    backtrace_channel: Option<BacktraceChannel>,
    confinement: Confinement,
    /// Whether the fork server and the children give up the launcher's controlling terminal.
    /// Another user's process could otherwise insert input into it.
    leaves_terminal: bool,
}

impl<P: Program> ChildProgram for DaemonChildProgram<P> {
    type Request = P::Request;

    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        log::become_fork_server();
        // An open copy in the fork server would, for example, keep the pid file locked after the
        // parent has exited.
        drop(self.parents.take());
        if let Some(backtrace_channel) = self.backtrace_channel.take() {
            // Children inherit this handler, which answers requests for a backtrace.
            backtrace_channel.install_handler()?;
        }
        if self.leaves_terminal {
            leave_terminal()?;
        }
        set_up_this_thread();
        self.program.preload()?;
        self.context.log = log::of_children(&self.context.log);
        // A child must not write these records once more.
        log::flush_before_exit();
        Ok(())
    }

    fn reopen_logs(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(self.context.reopen_log()?)
    }

    fn release(self) {
        // Before the program is dropped, and the listeners with it.
        if let Some(queue) = &self.context.queue {
            move_pending(queue, &self.context.log);
        }
    }

    fn run_child(self, start: ChildStart<P::Request>) -> i32 {
        let DaemonChildProgram { program, context, process_title, confinement, .. } = self;
        run_child(|daemon| program.child(daemon), context, process_title, confinement, start)
    }
}

/// Initializes lazy thread-locals once in the fork server, so that each child inherits them.
fn set_up_this_thread() {
    let _ = std::thread::current();
    let _ = tokio::runtime::Handle::try_current();
    drop(tokio::task::LocalSet::new().enter());
    let _ = System::try_current();
    let _ = actix_rt::Arbiter::try_current();
    let _ = ChildHandle::current();
}

/// Checks all settings, sets up the process and starts the fork server. Before all checks have
/// passed, only process 1 of a container forks.
pub(crate) fn launch<P: Program>(
    rules: Rules<P::Request>,
    mut settings: DaemonSettings,
    program: P,
) -> Result<Launched<P>, DaemonError> {
    record_inherited()?;
    let privileges = settings.check()?;
    if System::is_registered() || tokio::runtime::Handle::try_current().is_ok() {
        return Err(DaemonError::InsideRuntime);
    }
    if let Some(other_threads) = fork::other_threads()? {
        return Err(daemon_sys::Error::OtherThreads(other_threads).into());
    }
    let init_title = format!("{}: init", settings.title.as_ref().unwrap_or(&settings.alias));
    if leave_process_1(&init_title, settings.grace)? && std::mem::take(&mut settings.detach) {
        // If this process exited, so would process 1, and with it the container.
        info!(settings.log(), "not detaching from process 1 of a container");
    }
    let confinement = confine_children(&settings, rules.kind(), privileges.as_ref())?;
    let kept_signals = KeptSignals::new()?;
    require_resources()?;
    let mut start_files = StartFiles::new(privileges.as_ref());
    let files = OpenFiles::open(&settings, privileges.as_ref(), &mut start_files)?;
    let detached = settings.detach.then(detach).transpose();
    start_files.own();
    let own = ParentResources { readiness: detached?, files: start_files, terminal: None };
    let own = Rc::new(RefCell::new(Some(own)));
    let title = Rc::new(Title::claim());
    let done = set_up_process(&settings, &files, privileges.as_ref(), own.borrow_mut().as_mut());
    let launched = done
        .and_then(|()| spawn(rules, settings, files, title, confinement, program, Rc::clone(&own)));
    match launched {
        Ok(launched) => Ok(launched(kept_signals)),
        Err(error) => {
            if let Some(own) = own.take() {
                own.fail(&error);
            }
            Err(error)
        }
    }
}

/// Prepares the restrictions of children, before anything is changed or forked.
fn confine_children(
    settings: &DaemonSettings,
    model: ModelKind,
    privileges: Option<&Privileges>,
) -> Result<Confinement, DaemonError> {
    let traceable = settings.permits_tracing_of_children() && privileges::supports_traceable();
    #[cfg(feature = "sandbox")]
    let sandbox = match (&settings.sandbox, model) {
        (None, _) => None,
        (Some(_), ModelKind::Solo) => {
            return Err(ConfigError::value("sandbox", "set", "the daemon has no children").into());
        }
        (Some(sandbox), ModelKind::PostFork | ModelKind::PreFork) => {
            let mut sandbox = sandbox.clone();
            if let Some(logfile) = &settings.logfile {
                let absolute = std::path::absolute(logfile).unwrap_or_else(|_| logfile.clone());
                sandbox = sandbox.append(absolute.parent().unwrap_or(&absolute));
            }
            // The path of a program that was replaced while it runs does not exist.
            if let Some(program) = std::env::current_exe().ok().filter(|path| path.exists()) {
                sandbox = sandbox.read(program);
            }
            Some(sandbox.prepare(privileges)?)
        }
    };
    #[cfg(not(feature = "sandbox"))]
    let _ = (model, privileges);
    Ok(Confinement {
        traceable,
        #[cfg(feature = "sandbox")]
        sandbox,
    })
}

/// The files and the absolute paths of a launch. The files are opened, and the paths are made
/// absolute, before the other steps of the launch, while relative paths are still valid and errors
/// still reach the terminal.
struct OpenFiles {
    log_file: Option<Arc<LogFile>>,
    board_file: Option<PathBuf>,
    slowlog: Option<LogFile>,
    /// The descriptors that the service manager passes.
    service_fds: Range<RawFd>,
}

impl OpenFiles {
    /// Opens files with the permissions of the daemon's user where possible, see
    /// [`LogFile::open_for`].
    ///
    /// The pid file and the control socket come first: if a daemon has them, the start fails before
    /// it has touched the log of that daemon.
    fn open(
        settings: &DaemonSettings,
        privileges: Option<&Privileges>,
        start_files: &mut StartFiles,
    ) -> Result<Self, DaemonError> {
        let absolute = |path: &Option<PathBuf>, action| {
            let path = path.as_ref().map(std::path::absolute).transpose();
            path.map_err(|source| DaemonError::Runtime { action, source })
        };
        let service_fds = daemon_service::systemd::inherited_fd_numbers()?;
        let board_file = absolute(&settings.board_file, "find the directory of the board file")?;
        let control = absolute(&settings.control, "find the directory of the control socket")?;
        if let Some(path) = &settings.pidfile {
            start_files.add_pidfile(match privileges {
                Some(user) => PidFile::claim_for(path, user)?,
                None => PidFile::claim(path)?,
            });
        }
        if let Some(path) = &control {
            start_files.add_control(SocketFile::claim(path, privileges)?);
        }
        let mut log_at = |path: &PathBuf| {
            start_files.add_log(path);
            match privileges {
                Some(user) => LogFile::open_for(path, user),
                None => LogFile::open(path),
            }
        };
        let log_file = settings.logfile.as_ref().map(&mut log_at).transpose()?.map(Arc::new);
        let slowlog = settings.babysit.slowlog.as_ref().map(&mut log_at).transpose()?;
        if let Some(path) = &board_file {
            start_files.add_board(path);
        }
        Ok(OpenFiles { log_file, board_file, slowlog, service_fds })
    }
}

/// How many descriptors the parent opens until the daemon is ready, with its log, control socket
/// and board file.
const DESCRIPTORS_MIN: u32 = 24;

/// The smallest stack, in bytes, that is sufficient for the launch and for a child without a
/// program.
const STACK_MIN: u64 = 128 << 10;

/// Refuses limits with which the daemon cannot start.
fn require_resources() -> Result<(), daemon_sys::Error> {
    limits::require_descriptors(DESCRIPTORS_MIN)?;
    limits::require_stack(STACK_MIN)
}

/// The signals that end a start before the daemon can handle them.
const STOP_SIGNALS: [Signal; 3] = [Signal::Term, Signal::Int, Signal::Quit];

/// How many of the closed descriptors are listed in the log.
const LISTED_MAX: usize = 20;

/// Sets up the process. The steps that require root come before privileges are dropped.
fn set_up_process(
    settings: &DaemonSettings,
    files: &OpenFiles,
    privileges: Option<&Privileges>,
    mut own: Option<&mut ParentResources>,
) -> Result<(), DaemonError> {
    settings.environment().apply(privileges)?;
    let closed = settings.inherited_descriptors().apply(&files.service_fds)?;
    if let Some(pidfile) = own.as_mut().and_then(|own| own.files.pidfile_mut()) {
        pidfile.write(this_pid())?;
    }
    if let Some(mode) = settings.umask {
        limits::umask(mode);
    }
    for (resource, most) in &settings.limits {
        limits::set_limit(*resource, *most, *most)?;
    }
    require_resources()?;
    match settings.core_dumps {
        None => {}
        Some(true) => limits::raise_limit(Resource::Core)?,
        Some(false) => limits::set_limit(Resource::Core, 0, 0)?,
    }
    if let Some(niceness) = settings.nice {
        limits::nice(niceness)?;
    }
    if let Some(score) = settings.oom_score_adj {
        limits::oom_score_adj(score)?;
    }
    match &files.log_file {
        Some(log_file) => {
            if let (false, Some(own)) = (settings.detach, own) {
                own.terminal = SavedStderr::save().ok();
            }
            log_file.redirect()?;
        }
        None if settings.detach => stdio::all_to_null()?,
        None => {}
    }
    log::examine_target();
    log::share_counters()?;
    if let Some(workdir) = &settings.workdir {
        match privileges {
            Some(user) => limits::change_dir_for(workdir, user)?,
            None => limits::change_dir(workdir)?,
        }
    }
    if settings.no_new_privs() {
        privileges::set_no_new_privs()?;
    }
    if let Some(privileges) = privileges {
        match &settings.keep_capabilities {
            None => privileges::drop_to(privileges)?,
            Some(keep) => privileges::drop_to_keeping(privileges, keep)?,
        }
    }
    if settings.forbids_tracing() && privileges::supports_traceable() {
        privileges::set_traceable(false)?;
    }
    if !closed.is_empty() {
        let listed = closed[..closed.len().min(LISTED_MAX)].join(", ");
        let count = closed.len();
        info!(settings.log(), "closed inherited descriptors"; "count" => count, "descriptors" => listed);
    }
    Ok(())
}

/// Starts the fork server, if the model needs one.
fn spawn<P: Program>(
    rules: Rules<P::Request>,
    settings: DaemonSettings,
    files: OpenFiles,
    title: Rc<Title>,
    confinement: Confinement,
    program: P,
    parents: Rc<RefCell<Option<ParentResources>>>,
) -> Result<impl FnOnce(KeptSignals) -> Launched<P>, DaemonError> {
    let OpenFiles { log_file, board_file, slowlog, .. } = files;
    let slowlog = SlowLog::new(slowlog.map(|file| file.path().to_owned()));
    let logger = settings.log();
    let name = settings.title.clone().unwrap_or_else(|| settings.alias.clone());
    let (child_kind, requests, jitter) = match &rules {
        Rules::Solo | Rules::PostFork { .. } => {
            (ChildKind::OneRequest, RequestLimit::Unlimited, Jitter::default())
        }
        Rules::PreFork { requests, jitter, .. } | Rules::OnDemand { requests, jitter, .. } => {
            (ChildKind::Pool, *requests, *jitter)
        }
    };
    let context = ProcessContext {
        alias: settings.alias.clone(),
        parent: std::process::id(),
        grace: settings.grace,
        model: rules.kind(),
        child_kind,
        requests,
        jitter,
        log: logger.clone(),
        heartbeat: settings.babysit.heartbeat(),
        log_file,
        queue: match &rules {
            Rules::PreFork { .. } => Some(Rc::new(ConnectionQueue::new()?)),
            Rules::Solo | Rules::PostFork { .. } | Rules::OnDemand { .. } => None,
        },
    };
    let (program, fork_server, backtraces) = match rules.kind() {
        ModelKind::Solo => (program, None, None),
        ModelKind::PostFork | ModelKind::PreFork => {
            let mut builder = ForkServerBuilder::new(rules.slots())
                .grace(settings.grace)
                .stop_signals(&STOP_SIGNALS)
                .descendants(settings.descendants)
                .title(Rc::clone(&title), format!("{name}: fork server"));
            if let Some(path) = board_file {
                builder = builder.board_file(path);
            }
            if let Some(bytes) = settings.request_limit {
                builder = builder.request_limit(bytes);
            }
            let (context, parents) = (context.clone(), Rc::clone(&parents));
            let backtrace_channel = Some(BacktraceChannel::open()?);
            let process_title = ProcessTitle::new(Rc::clone(&title), &name);
            let child_program = DaemonChildProgram {
                program,
                context,
                process_title,
                parents,
                backtrace_channel,
                confinement,
                leaves_terminal: settings.user.is_some(),
            };
            let (fork_server, child_program) = builder.spawn(child_program)?;
            (
                child_program.program,
                Some(fork_server),
                child_program.backtrace_channel.map(BacktraceChannel::into_requester),
            )
        }
    };
    title.set(&format!("{name}: parent"));
    let log = log::of_parent(&logger);
    Ok(move |kept_signals| Launched {
        program,
        rules,
        settings,
        context,
        log,
        parents,
        fork_server,
        kept_signals,
        backtraces,
        slowlog,
    })
}

/// How long the end of the parent waits for the blocking threads of its runtime.
const BLOCKING_CALLS_MAX: Duration = Duration::from_secs(1);

impl<P: Program> Launched<P> {
    /// Runs the daemon in a new System until it has stopped. The daemon handles the signals of the
    /// process.
    ///
    /// When the daemon has stopped, calls on blocking threads of the runtime (a name lookup, for
    /// example) have one more second to return. They do not hold up the end of the process.
    ///
    /// # Errors
    ///
    /// - [`DaemonError::NotReady`] if the initial children do not become ready.
    /// - [`DaemonError::ForkServerLost`] if the fork server has died. The children have been
    ///   stopped.
    /// - [`DaemonError::Runtime`] if the runtime cannot be started, or cannot watch the signals,
    ///   the control socket or the fork server.
    /// - [`DaemonError::Service`] as for [`start`](Launched::start).
    /// - [`DaemonError::Panicked`] if code of the program panics in the parent, see
    ///   [`panics`](crate::panics). The daemon has stopped gracefully.
    /// - [`DaemonError::ActorLost`] if the daemon's actor panics.
    pub fn run(self) -> Result<(), DaemonError> {
        self.run_with(Launched::start)
    }

    /// Runs the daemon as [`run`](Launched::run) does, but `start` starts it.
    pub(crate) fn run_with(
        self,
        start: impl FnOnce(Self) -> Result<Addr<DaemonActor<P::Request>>, DaemonError>,
    ) -> Result<(), DaemonError> {
        // Until `start` installs another one.
        panics::install_hook(&self.log, drop);
        let runtime =
            catch_shortage(|| tokio::runtime::Builder::new_current_thread().enable_all().build());
        let runtime = match runtime.map(Arc::new) {
            Ok(runtime) => runtime,
            Err(source) => {
                let error = DaemonError::Runtime { action: "start the runtime", source };
                if let Some(own) = self.parents.take() {
                    own.fail(&error);
                }
                return Err(error);
            }
        };
        let system = System::with_tokio_rt(|| Arc::clone(&runtime));
        let result = system.block_on(async move {
            let daemon = start(self)?;
            daemon.send(WaitUntilStopped).await.unwrap_or(Err(DaemonError::ActorLost))
        });
        drop(system);
        // If the program has kept the runtime, it shuts the runtime down.
        if let Some(runtime) = Arc::into_inner(runtime) {
            runtime.shutdown_timeout(BLOCKING_CALLS_MAX);
        }
        log::flush_before_exit();
        result
    }

    /// Starts the daemon's actor in the System of this thread, and the program's parent sessions.
    /// If this fails, the files that the launch has made are removed.
    ///
    /// From now on the daemon handles the signals of the process. The System continues to run after
    /// the daemon has stopped. The message [`WaitUntilStopped`] waits until the daemon has stopped.
    ///
    /// The daemon runs in this thread. For calls that can block (reading the process table,
    /// checking its files, reopening its log) it starts threads named `blocking-call`, which end
    /// with the call. Only the records of the [`slowlog`](crate::Babysit::slowlog) are written on
    /// the blocking threads of the runtime, which waits for them when it is dropped.
    ///
    /// # Errors
    ///
    /// - [`DaemonError::NoSystem`] outside of an actix System.
    /// - [`DaemonError::Runtime`] if the runtime cannot watch the signals or the control socket.
    /// - [`DaemonError::Service`] if the daemon is [supervised](crate::DaemonBuilder::supervised)
    ///   and the service manager has set an environment variable to an invalid value.
    pub fn start(self) -> Result<Addr<DaemonActor<P::Request>>, DaemonError> {
        let parents = Rc::clone(&self.parents);
        self.start_actor().inspect_err(|error| {
            if let Some(own) = parents.take() {
                own.fail(error);
            }
        })
    }

    fn start_actor(self) -> Result<Addr<DaemonActor<P::Request>>, DaemonError> {
        let Launched {
            program,
            rules,
            settings,
            context,
            log,
            parents,
            fork_server,
            kept_signals,
            backtraces,
            slowlog,
        } = self;
        if !System::is_registered() {
            return Err(DaemonError::NoSystem);
        }
        let signals = SignalListener::open(&Signal::PARENT_SIGNALS)
            .map_err(|source| DaemonError::Runtime { action: "listen for signals", source })?;
        let control = parents.borrow_mut().as_mut().and_then(|own| own.files.take_control());
        let control = control
            .map(ControlSocket::open)
            .transpose()
            .map_err(|source| DaemonError::Runtime { action: "open the control socket", source })?;
        let service = settings.supervised.then(|| service::spawn(&context.alias, &log)).transpose();
        let service = match service {
            Ok(service) => service,
            Err(error) => {
                if let Some(control) = control {
                    control.discard();
                }
                return Err(error.into());
            }
        };
        let times =
            SupervisorTimeouts { grace: settings.grace, boot_timeout: settings.boot_timeout };
        let (stopped_sender, stopped) = oneshot::channel();
        let (readiness, files, terminal) = match parents.take() {
            Some(own) => (own.readiness, Some(own.files), own.terminal),
            None => (None, None, None),
        };
        let daemon = DaemonActor::start(Parent {
            context,
            on_hup: settings.on_hup,
            readiness,
            files,
            terminal,
            supervisor: Supervisor::new(rules, times, now()),
            processes: Processes::new(fork_server, log.clone()),
            babysit: BabysitterConfig { babysit: settings.babysit, backtraces, slowlog },
            control,
            stopped: stopped_sender,
            log: log.clone(),
        });
        kept_signals.deliver();
        end_on_panic(daemon.clone(), stopped, log);
        signals.forward(&daemon.clone().recipient());
        if let Some(service) = service {
            daemon.do_send(RegisterWith(service));
        }
        if let Err(panic) = panics::catch(|| program.parent(daemon.clone())) {
            daemon.do_send(Panicked(panic));
        }
        Ok(daemon)
    }
}

/// The signal handlers of the parent. They are those of tokio, so other listeners in the program
/// receive the signals too. From the installation on, none of these signals has its default
/// effect.
struct SignalListener(Vec<(Signal, SignalStream)>);

impl SignalListener {
    fn open(signals: &[Signal]) -> std::io::Result<Self> {
        signals
            .iter()
            .map(|known| Ok((*known, signal(SignalKind::from_raw(number_of(*known)))?)))
            .collect::<std::io::Result<_>>()
            .map(SignalListener)
    }

    /// Sends a message for each received signal, until the recipient stops.
    fn forward(self, recipient: &Recipient<SignalReceived>) {
        for (known, mut stream) in self.0 {
            let recipient = recipient.clone();
            actix_rt::spawn(async move {
                while stream.recv().await.is_some() && recipient.connected() {
                    recipient.do_send(SignalReceived(known));
                }
            });
        }
    }
}
