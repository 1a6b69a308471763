//! Launches a dispatcher: first the daemon, then the actors.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use actix::{Actor, Addr, AsyncContext, MailboxError, Recipient};
use actix_daemon::dispatching::{self, OnDemand, RequestFactory};
use actix_daemon::{
    ChildActor, ChildHandle, ChildId, DaemonActor, DaemonChild, DaemonError,
    Launched as LaunchedDaemon, Program, Solo, panics,
};
use daemon_core::slots_for;
use daemon_sys::stdio::output_pipe;
use daemon_sys::{limits, link, watch};

use crate::answer::TaskResult;
use crate::body;
use crate::builder::{DispatcherBuilder, Recipients};
use crate::claims::SharedClaims;
use crate::control_actor::{Cancel, ControlActor};
use crate::dispatcher::DispatcherActor;
use crate::engine::{self, Engine, EngineConfig, Input, InputSender};
use crate::link::{NewLink, ParentEnds};
use crate::methods::{self, Methods};
use crate::request::NewRequest;
use crate::talkback::{TalkbackSender, report};
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
        let workers = self.check()?;
        let DispatcherBuilder {
            daemon,
            max_forks: _checked,
            is_in_place: _checked_too,
            pre_fork,
            max_requests,
            jitter,
            fork_interval,
            fork_name,
            alias,
            is_verbose,
            queue_capacity,
            idle_order,
            result_limit,
            lanes,
            defaults,
            output_limit,
            mut methods,
            error: _none,
            recipients,
        } = self;
        // Ignore an error: with a lower limit of open files, fewer memory files are used.
        let _ = limits::raise_limit(limits::Resource::OpenFiles);
        let mut daemon = daemon;
        let boot_timeout = dispatching::boot_timeout(&daemon);
        if let Some(alias) = alias {
            daemon = daemon.title(alias.clone()).alias(alias);
        }
        if let Some(title) = fork_name {
            daemon = daemon.title(title);
        }
        if is_verbose {
            daemon = daemon.verbose();
        }
        methods.result_limit = result_limit;
        let methods = Rc::new(methods);
        let (sender, inputs) = engine::channel();
        // The claims need as many slots as the daemon's scoreboard has.
        let claims = SharedClaims::new(slots_for(workers.unwrap_or(0)) as usize)?;
        let program = WorkerProgram { methods: Rc::clone(&methods), claims };
        let daemon = match workers {
            None => daemon.model(Solo).launch(program)?,
            Some(max_forks) => {
                let linker = LinkFactory::new(Rc::clone(&methods), sender.clone());
                let model = OnDemand::new(max_forks, linker)
                    .start_children(pre_fork)
                    .interval(fork_interval)
                    .requests(max_requests)
                    .jitter(jitter);
                daemon.model(model).launch(program)?
            }
        };
        let setup = EngineConfig {
            methods,
            claims,
            lanes,
            queue_max: queue_capacity,
            idle_order,
            defaults,
            is_verbose,
            max_forks: workers,
            pre_fork,
            fork_interval,
            output_limit,
            boot_timeout,
            sender,
            inputs,
        };
        Ok(LaunchedDispatcher { daemon, setup, recipients })
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
        let LaunchedDispatcher { daemon, setup, recipients } = self.launch()?;
        dispatching::run(daemon, |daemon| {
            let started = LaunchedDispatcher { daemon, setup, recipients }.start()?;
            let daemon = started.daemon.clone();
            if let Err(panic) = panics::catch(|| start(started)) {
                dispatching::fail(&daemon, panic);
            }
            Ok(daemon)
        })
    }
}

/// A dispatcher that has been launched, and whose actors have not been started yet.
///
/// The daemon is set up and the fork server runs.
#[must_use = "the dispatcher accepts requests only after `start`"]
pub struct LaunchedDispatcher {
    daemon: LaunchedDaemon<WorkerProgram>,
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

impl RunningDispatcher {
    /// Sends many requests at once, and returns their results in the order of the requests.
    ///
    /// The requests are sent by this call, before the future is polled. Dropping the future cancels
    /// those that have not started. This is the fastest way to run many requests whose results are
    /// all needed: `join_all` is several times slower for 100,000 requests, because tokio's
    /// cooperative budget makes it poll all of them again and again.
    ///
    /// # Errors
    ///
    /// [`MailboxError::Closed`] if the dispatcher has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use actix::MailboxError;
    /// use actix_dispatch::{NewRequest, RunningDispatcher};
    ///
    /// async fn lengths(
    ///     running: &RunningDispatcher,
    ///     words: &[String],
    /// ) -> Result<u64, MailboxError> {
    ///     let requests = words.iter().map(|word| NewRequest::to("length").params(word));
    ///     let results = running.send_all(requests).await?;
    ///     Ok(results.into_iter().flatten().flat_map(|reply| reply.value::<u64>()).sum())
    /// }
    /// ```
    pub fn send_all<I: IntoIterator<Item = NewRequest>>(
        &self,
        requests: I,
    ) -> impl Future<Output = Result<Vec<TaskResult>, MailboxError>> + use<I> {
        let sent: Vec<_> =
            requests.into_iter().map(|request| self.dispatcher.send(request)).collect();
        async move {
            let mut results = Vec::with_capacity(sent.len());
            for result in sent {
                results.push(result.await?);
            }
            Ok(results)
        }
    }
}

impl LaunchedDispatcher {
    /// Starts the actors of the dispatcher and the daemon in the current thread's System.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`actix_daemon::Launched::start`].
    pub fn start(self) -> Result<RunningDispatcher, DaemonError> {
        let LaunchedDispatcher { daemon, setup, recipients } = self;
        let daemon = daemon.start()?;
        if setup.max_forks.is_none() {
            // Methods run in this process.
            methods::install_panic_hook();
        }
        actix_rt::spawn(body::trim());
        let inputs = setup.sender.clone();
        let mut engine = Engine::new(setup, daemon.clone());
        let dispatcher = DispatcherActor::create(|ctx| {
            // Without a limit: a request for which the mailbox has no room is sent only when its
            // future is polled, so requests would run one by one if their futures are awaited one
            // by one. The queue has a limit of its own.
            ctx.set_mailbox_capacity(0);
            let dispatcher = ctx.address();
            let Recipients { upon_result, fallback, talkback } = recipients;
            engine.upon_result = upon_result.and_then(|make| make_with(make, &dispatcher, &daemon));
            engine.fallback = fallback.and_then(|make| make_with(make, &dispatcher, &daemon));
            let talkback = talkback.and_then(|make| make_with(make, &dispatcher, &daemon));
            engine.events.recipient = talkback.map(TalkbackSender::new);
            report!(engine.events, info, "dispatcher started");
            DispatcherActor { engine: Box::new(engine) }
        });
        let cancel = ControlActor::begin(inputs, &daemon);
        Ok(RunningDispatcher { dispatcher, cancel, daemon })
    }
}

/// Calls a function of the program that makes a recipient. If it panics, the daemon stops.
fn make_with<T>(
    make: impl FnOnce(Addr<DispatcherActor>) -> T,
    dispatcher: &Addr<DispatcherActor>,
    daemon: &Addr<WorkerDaemon>,
) -> Option<T> {
    match panics::catch(|| make(dispatcher.clone())) {
        Ok(recipient) => Some(recipient),
        Err(panic) => {
            dispatching::fail(daemon, panic);
            None
        }
    }
}

/// Creates links for new workers. Calls the hook `fork_preinit` before it creates each link. In
/// `POE::Component::PreforkDispatch`, this hook is called `_fork_preinit`.
struct LinkFactory {
    methods: Rc<Methods>,
    inputs: InputSender,
    parent_ends: Option<ParentEnds>,
}

impl LinkFactory {
    fn new(methods: Rc<Methods>, inputs: InputSender) -> LinkFactory {
        LinkFactory { methods, inputs, parent_ends: None }
    }
}

impl fmt::Debug for LinkFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkFactory")
    }
}

impl RequestFactory<WorkerFds> for LinkFactory {
    fn make_request(&mut self) -> io::Result<WorkerFds> {
        if let Some(preinit) = &self.methods.hooks.fork_preinit
            && let Err(panic) = panics::catch(|| preinit())
        {
            return Err(io::Error::other(format!("fork_preinit {panic}")));
        }
        let (orders, worker_orders) = link::pair().map_err(io::Error::other)?;
        let (answers, worker_answers) = link::pair().map_err(io::Error::other)?;
        let (out, worker_out) = output_pipe().map_err(io::Error::other)?;
        let (err, worker_err) = output_pipe().map_err(io::Error::other)?;
        let copy = answers.as_fd().try_clone_to_owned()?;
        let watch = watch::readable(copy).map_err(io::Error::other)?;
        self.parent_ends = Some(ParentEnds { orders, answers, watch, out, err });
        Ok((worker_answers.into(), worker_orders.into(), worker_out, worker_err))
    }

    fn fork_requested(&mut self, child: ChildId) {
        if let Some(parent) = self.parent_ends.take() {
            self.inputs.send(Input::LinkAdded(NewLink { child, parent }));
        }
    }

    fn fork_failed(&mut self, child: Option<ChildId>, reason: &dyn fmt::Display) {
        self.parent_ends = None;
        self.inputs.send(Input::ForkFailed(child, reason.to_string()));
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
