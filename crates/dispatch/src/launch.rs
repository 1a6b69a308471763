//! Launches a dispatcher: first the daemon, then the actors.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use actix::{Actor, Addr, Recipient, System};
use actix_daemon::dispatching::{self, OnDemand};
use actix_daemon::{
    ChildActor, ChildHandle, DaemonActor, DaemonChild, DaemonError, Launched as LaunchedDaemon,
    Program, Solo, WaitUntilStopped,
};

use daemon_core::slots_for;

use crate::builder::{DispatcherBuilder, Recipients};
use crate::claims::SharedClaims;
use crate::control_actor::{Cancel, ControlActor};
use crate::dispatcher::DispatcherActor;
use crate::engine::{self, Engine, EngineConfig};
use crate::link::{LinkFactory, NewLinks};
use crate::methods::Methods;
use crate::panics;
use crate::talkback::{self, TalkbackQueue, Verbosity, report};
use crate::worker::{self, WorkerFds};

impl DispatcherBuilder {
    /// Sets up the daemon and forks the fork server.
    ///
    /// Call `launch` before any thread or runtime is started. `launch` also raises the soft limit
    /// of open files to the hard limit, unless the daemon settings contain a
    /// [limit](actix_daemon::DaemonBuilder::limit) for open files.
    ///
    /// # Errors
    ///
    /// Returns [`DaemonError::Config`] if the configuration is invalid; nothing has been changed or
    /// forked in this case. Otherwise returns the errors of
    /// [`actix_daemon::DaemonBuilder::launch`].
    pub fn launch(mut self) -> Result<LaunchedDispatcher, DaemonError> {
        self.check()?;
        let DispatcherBuilder {
            daemon,
            max_forks,
            pre_fork,
            max_requests,
            jitter,
            fork_interval,
            fork_name,
            alias,
            verbosity,
            queue_capacity,
            result_limit,
            lanes,
            defaults,
            output_limit,
            mut methods,
            error: _checked,
            recipients,
        } = self;
        // Ignore an error: with a lower limit of open files, fewer memory files are used.
        let _ = daemon_sys::limits::raise_open_files_limit();
        let mut daemon = daemon;
        let boot_timeout = dispatching::boot_timeout(&daemon);
        if let Some(alias) = alias {
            daemon = daemon.title(alias.clone()).alias(alias);
        }
        if let Some(title) = fork_name {
            daemon = daemon.title(title);
        }
        if verbosity == Verbosity::Verbose {
            daemon = daemon.verbose();
        }
        methods.result_limit = result_limit;
        let methods = Rc::new(methods);
        let links = Rc::new(NewLinks::default());
        // The claims need as many slots as the daemon's scoreboard has.
        let claims = SharedClaims::new(slots_for(max_forks) as usize)?;
        let program = WorkerProgram { methods: Rc::clone(&methods), claims };
        let daemon = if max_forks == 0 {
            daemon.model(Solo).launch(program)?
        } else {
            let linker = LinkFactory::new(Rc::clone(&methods), Rc::clone(&links));
            let model = OnDemand::new(max_forks, linker)
                .start_children(pre_fork)
                .interval(fork_interval)
                .requests(max_requests)
                .jitter(jitter);
            daemon.model(model).launch(program)?
        };
        let setup = EngineConfig {
            methods,
            claims,
            lanes,
            queue_max: queue_capacity,
            defaults,
            verbosity,
            max_forks: max_forks as usize,
            pre_fork,
            fork_interval,
            output_limit,
            boot_timeout,
        };
        Ok(LaunchedDispatcher { daemon, links, setup, recipients })
    }

    /// Launches the dispatcher and runs it in a new actix System until it has stopped.
    ///
    /// `start` is called once in that System. It receives the addresses of the running dispatcher,
    /// and typically spawns the program's own actors and tasks.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`launch`](DispatcherBuilder::launch) and
    /// [`actix_daemon::Launched::run`].
    pub fn run(self, start: impl FnOnce(RunningDispatcher)) -> Result<(), DaemonError> {
        let launched = self.launch()?;
        System::new().block_on(async move {
            let started = launched.start()?;
            let daemon = started.daemon.clone();
            start(started);
            daemon.send(WaitUntilStopped).await.unwrap_or(Err(DaemonError::ActorLost))
        })
    }
}

/// A dispatcher that has been launched, and whose actors have not been started yet.
///
/// The daemon is set up and the fork server runs.
#[must_use = "the dispatcher accepts requests only after `start`"]
pub struct LaunchedDispatcher {
    daemon: LaunchedDaemon<WorkerProgram>,
    links: Rc<NewLinks>,
    setup: EngineConfig,
    recipients: Recipients,
}

impl fmt::Debug for LaunchedDispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchedDispatcher").field("daemon", &self.daemon).finish_non_exhaustive()
    }
}

/// The daemon whose children are a dispatcher's workers.
///
/// The type of its address is `Addr<WorkerDaemon>`.
pub type WorkerDaemon = DaemonActor<WorkerFds>;

/// The addresses of a running dispatcher.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunningDispatcher {
    /// Accepts requests.
    pub dispatcher: Addr<DispatcherActor>,
    /// Accepts [`Cancel`] messages. They do not wait behind requests in the dispatcher's mailbox.
    pub cancel: Recipient<Cancel>,
    /// The daemon that manages the workers, for status, reload, resizing and shutdown.
    pub daemon: Addr<WorkerDaemon>,
}

impl LaunchedDispatcher {
    /// Starts the actors of the dispatcher and the daemon in the current thread's System.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`actix_daemon::Launched::start`].
    pub fn start(self) -> Result<RunningDispatcher, DaemonError> {
        let LaunchedDispatcher { daemon, links, setup, recipients } = self;
        let daemon = daemon.start()?;
        if setup.max_forks == 0 {
            // Methods run in this process.
            panics::install_hook();
        }
        let shared = Rc::new(RefCell::new(Engine::new(setup, daemon.clone())));
        engine::run(&shared, &links);
        let dispatcher = DispatcherActor::start_with(&shared);
        let cancel = ControlActor::begin(&shared, &daemon, dispatcher.clone());
        // Each closure may send requests immediately, so the engine must not be borrowed here.
        let Recipients { upon_result, fallback, talkback } = recipients;
        let upon_result = upon_result.map(|make| make(dispatcher.clone()));
        let fallback = fallback.map(|make| make(dispatcher.clone()));
        let talkback = talkback.map(|make| make(dispatcher.clone()));
        let mut engine = shared.borrow_mut();
        (engine.upon_result, engine.fallback) = (upon_result, fallback);
        engine.events.recipient = talkback.map(|recipient| {
            let queue = TalkbackQueue::default();
            talkback::forward(&queue, recipient, engine.events.log.clone());
            queue
        });
        report!(engine.events, info, "dispatcher started");
        drop(engine);
        Ok(RunningDispatcher { dispatcher, cancel, daemon })
    }
}

/// The daemon program whose children are workers.
#[derive(Debug)]
pub(crate) struct WorkerProgram {
    methods: Rc<Methods>,
    claims: SharedClaims,
}

impl Program for WorkerProgram {
    type Request = WorkerFds;

    fn child(self, _daemon: Addr<ChildActor>) -> Recipient<DaemonChild<WorkerFds>> {
        WorkerSession { program: Some(self) }.start().recipient()
    }
}

/// The actor of a worker process. It starts the task loop when it receives its link.
struct WorkerSession {
    program: Option<WorkerProgram>,
}

impl Actor for WorkerSession {
    type Context = actix::Context<Self>;
}

impl actix::Handler<DaemonChild<WorkerFds>> for WorkerSession {
    type Result = ();

    fn handle(&mut self, message: DaemonChild<WorkerFds>, _ctx: &mut Self::Context) {
        let (Some(program), Some(child)) = (self.program.take(), ChildHandle::current()) else {
            return;
        };
        let WorkerProgram { methods, claims } = program;
        let log = actix_daemon::logger();
        child.work(worker::run(child.clone(), message.request, methods, claims, log));
    }
}
