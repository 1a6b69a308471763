//! From a configuration to a dispatcher that runs: the daemon's launch, and then its actors.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use actix::{Actor, Addr, Recipient, System};
use actix_daemon::dispatching::OnDemand;
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
use crate::talkback::{Verbosity, report};
use crate::worker::{self, WorkerFds};

impl DispatcherBuilder {
    /// Does the housework and forks the fork server, before any runtime. The soft limit of open files
    /// is raised to the hard one, unless the daemon was given a
    /// [limit](actix_daemon::Builder::limit) of its own.
    ///
    /// # Errors
    ///
    /// As [`actix_daemon::DispatcherBuilder::launch`]; [`DaemonError::Config`] also when numbers or names of
    /// the dispatcher do not go together, and nothing has happened then.
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
            detail,
            queue,
            lanes,
            defaults,
            methods,
            trouble: _none,
            outside,
        } = self;
        // What the system does not give is done without: letters are as many as there may be.
        let _ = daemon_sys::limits::raise_open_files_limit();
        let title = fork_name.unwrap_or_else(|| alias.clone());
        let mut daemon = daemon.alias(alias).title(title);
        if detail == Verbosity::Verbose {
            daemon = daemon.verbose();
        }
        let methods = Rc::new(methods);
        let links = Rc::new(NewLinks::default());
        // As many as the daemon's scoreboard has.
        let claims = SharedClaims::make(slots_for(max_forks) as usize)?;
        let program = Workers { methods: Rc::clone(&methods), claims };
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
            queue_max: queue,
            defaults,
            detail,
            max_forks: max_forks as usize,
            pre_fork,
            fork_interval,
        };
        Ok(LaunchedDispatcher { daemon, links, setup, outside })
    }

    /// Launches the dispatcher and runs it in a System of its own until it has stopped; this is
    /// called in it once, to start the parent's sessions.
    ///
    /// # Errors
    ///
    /// As [`launch`](DispatcherBuilder::launch) and [`actix_daemon::Launched::run`].
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

/// A dispatcher whose housework is done and whose fork server stands; its actors are still to be
/// started.
#[must_use = "the dispatcher works only when it is started"]
pub struct LaunchedDispatcher {
    daemon: LaunchedDaemon<Workers>,
    links: Rc<NewLinks>,
    setup: EngineConfig,
    outside: Recipients,
}

impl fmt::Debug for LaunchedDispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchedDispatcher").field("daemon", &self.daemon).finish_non_exhaustive()
    }
}

/// The daemon whose children are a dispatcher's workers, for who keeps its address.
pub type WorkerDaemon = DaemonActor<WorkerFds>;

/// A dispatcher that runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunningDispatcher {
    /// Where requests go.
    pub dispatcher: Addr<DispatcherActor>,
    /// Where requests are cancelled: not behind those that wait for room.
    pub cancel: Recipient<Cancel>,
    /// The daemon that its workers are children of: it is asked for status, reload, shutdown.
    pub daemon: Addr<WorkerDaemon>,
}

impl LaunchedDispatcher {
    /// Starts the dispatcher's actors, and the daemon's, in the System of this thread.
    ///
    /// # Errors
    ///
    /// As [`actix_daemon::Launched::start`].
    pub fn start(self) -> Result<RunningDispatcher, DaemonError> {
        let LaunchedDispatcher { daemon, links, setup, outside } = self;
        let daemon = daemon.start()?;
        if setup.max_forks == 0 {
            // Methods run here.
            panics::note();
        }
        let shared = Rc::new(RefCell::new(Engine::new(setup, daemon.clone())));
        engine::run(&shared, &links);
        let dispatcher = DispatcherActor::begin(&shared);
        let cancel = ControlActor::begin(&shared, &daemon, dispatcher.clone());
        // Each may send requests at once: the engine is not held meanwhile.
        let Recipients { upon_result, fallback, talkback } = outside;
        let upon_result = upon_result.map(|make| make(dispatcher.clone()));
        let fallback = fallback.map(|make| make(dispatcher.clone()));
        let talkback = talkback.map(|make| make(dispatcher.clone()));
        let mut engine = shared.borrow_mut();
        (engine.upon_result, engine.fallback) = (upon_result, fallback);
        engine.events.recipient = talkback;
        report!(engine.events, info, "dispatcher started");
        drop(engine);
        Ok(RunningDispatcher { dispatcher, cancel, daemon })
    }
}

/// The program whose children are workers.
#[derive(Debug)]
pub(crate) struct Workers {
    methods: Rc<Methods>,
    claims: SharedClaims,
}

impl Program for Workers {
    type Request = WorkerFds;

    fn child(self, _daemon: Addr<ChildActor>) -> Recipient<DaemonChild<WorkerFds>> {
        Session { workers: Some(self) }.start().recipient()
    }
}

/// A worker's session: it begins to work when it gets its link.
struct Session {
    workers: Option<Workers>,
}

impl Actor for Session {
    type Context = actix::Context<Self>;
}

impl actix::Handler<DaemonChild<WorkerFds>> for Session {
    type Result = ();

    fn handle(&mut self, born: DaemonChild<WorkerFds>, _ctx: &mut Self::Context) {
        let (Some(workers), Some(child)) = (self.workers.take(), ChildHandle::current()) else {
            return;
        };
        let Workers { methods, claims } = workers;
        let log = actix_daemon::logger();
        child.work(worker::live(child.clone(), born.request, methods, claims, log));
    }
}
