//! How a dispatcher is configured, launched and started.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr, Recipient, System};
use actix_daemon::{
    Builder as DaemonBuilder, ChildActor, ChildHandle, ConfigError, Daemon, DaemonActor,
    DaemonChild, DaemonError, Jitter, Launched as LaunchedDaemon, OnDemand, Pid, Program, Solo,
    UntilStopped,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::claims::Board;
use crate::dispatcher::{DispatcherActor, Steward};
use crate::engine::{self, Defaults, Engine, Parts, Staff};
use crate::ledger::Lane;
use crate::link::{Linker, NewLinks};
use crate::methods::{Class, Method, Methods, OwnMethod, Unfit};
use crate::request::RequestDone;
use crate::talkback::{Detail, Talkback, Voice};
use crate::task::Task;
use crate::transaction::Transaction;
use crate::worker::{self, Endowed};

/// The way to a dispatcher: see [`Dispatcher::builder`].
#[derive(Debug, Clone, Copy)]
pub struct Dispatcher;

impl Dispatcher {
    /// Begins to configure a dispatcher; without [`max_forks`](Builder::max_forks) it runs methods
    /// in place.
    pub fn builder() -> Builder {
        Builder {
            daemon: Daemon::builder(),
            max_forks: 0,
            pre_fork: 0,
            max_requests: 0,
            jitter: Jitter::default(),
            fork_interval: Duration::ZERO,
            fork_name: None,
            alias: "PreforkDispatch".to_owned(),
            detail: Detail::default(),
            queue: 10_000,
            lanes: Vec::new(),
            defaults: Defaults { attempts: 1, ..Defaults::default() },
            methods: Methods::default(),
            trouble: None,
            outside: Outside::default(),
        }
    }
}

/// Makes a recipient, once there is a System and the dispatcher's address.
type Make<M> = Box<dyn FnOnce(Addr<DispatcherActor>) -> Recipient<M>>;

/// Who hears of things in the parent.
#[derive(Default)]
struct Outside {
    upon_result: Option<Make<RequestDone>>,
    fallback: Option<Make<Transaction>>,
    talkback: Option<Make<Talkback>>,
}

/// A dispatcher that is being configured.
///
/// Nothing happens before [`launch`](Builder::launch), and there everything is checked before
/// anything forks.
#[must_use = "nothing happens before launch"]
pub struct Builder {
    daemon: DaemonBuilder<Solo>,
    max_forks: u32,
    pre_fork: u32,
    max_requests: u32,
    jitter: Jitter,
    fork_interval: Duration,
    fork_name: Option<String>,
    alias: String,
    detail: Detail,
    queue: usize,
    lanes: Vec<Lane>,
    defaults: Defaults,
    methods: Methods,
    trouble: Option<ConfigError>,
    outside: Outside,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("alias", &self.alias)
            .field("max_forks", &self.max_forks)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Sets how many workers there may be. 0, the default, means none: methods run in place, in the
    /// parent, one after the other, before the sender goes on.
    pub fn max_forks(mut self, workers: u32) -> Self {
        self.max_forks = workers;
        self
    }

    /// Sets how many workers there are from the start, and are replaced when they die. 0 by default:
    /// the first is forked for the first request.
    pub fn pre_fork(mut self, workers: u32) -> Self {
        self.pre_fork = workers;
        self
    }

    /// Sets after how many requests a worker is replaced; 0 means never, which is the default.
    pub fn max_requests(mut self, requests: u32) -> Self {
        self.max_requests = requests;
        self
    }

    /// Sets by how many percent at most a worker's share of `max_requests` is smaller than that. 10
    /// by default, at most 50.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how long after a worker was forked for work that waits the next one may be. Zero by
    /// default: our forks are cheap. The original's is 2 s.
    pub fn fork_interval(mut self, interval: Duration) -> Self {
        self.fork_interval = interval;
        self
    }

    /// Sets what workers are called in ps(1); the alias by default.
    pub fn fork_name(mut self, name: impl Into<String>) -> Self {
        self.fork_name = Some(name.into());
        self
    }

    /// Names the dispatcher, in logs, status and process titles. `PreforkDispatch` by default, as
    /// the original.
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.alias = alias.into();
        self
    }

    /// Talks of each request and each fork too.
    pub fn verbose(mut self) -> Self {
        self.detail = Detail::Verbose;
        self
    }

    /// Does the daemon's housework as this says: log file, control socket, privileges, babysitting.
    /// Its alias and title are the dispatcher's.
    pub fn daemon(mut self, daemon: DaemonBuilder<Solo>) -> Self {
        self.daemon = daemon;
        self
    }

    /// Sets how many requests may wait; 10,000 by default, at least one. Past that `send` waits.
    pub fn queue(mut self, requests: usize) -> Self {
        self.queue = requests;
        self
    }

    /// Adds a lane.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lanes.push(lane);
        self
    }

    /// Sets after how long a handler is told that it takes too long, unless its request says
    /// otherwise. Never by default.
    pub fn soft_limit(mut self, limit: Duration) -> Self {
        self.defaults.soft = Some(limit);
        self
    }

    /// Sets after how long a worker is killed over a request, unless that says otherwise. Never by
    /// default.
    pub fn hard_limit(mut self, limit: Duration) -> Self {
        self.defaults.hard = Some(limit);
        self
    }

    /// Sets how often a request is tried when its worker dies over it, unless it says otherwise.
    /// Once by default.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.defaults.attempts = attempts;
        self
    }

    fn noted(&mut self, name: &str, added: Result<(), Unfit>) {
        let why = match added {
            Ok(()) => return,
            Err(Unfit::Twice) => "it is there twice",
            Err(Unfit::TooMany) => "there are more than 65536",
        };
        self.trouble.get_or_insert(ConfigError::value("method", name, why));
    }

    /// Adds a method: a function of the call and its parameters, which is run in a worker.
    ///
    /// Parameters are one serde value, a tuple for several. Its error's words are the answer where
    /// there is no value.
    ///
    /// # Examples
    ///
    /// ```
    /// use actix_dispatch::Dispatcher;
    ///
    /// let builder = Dispatcher::builder()
    ///     .max_forks(4)
    ///     .method("add", |_call, (a, b): (i64, i64)| a.checked_add(b).ok_or("too large"));
    /// ```
    pub fn method<P, T, E>(
        mut self,
        name: impl Into<String>,
        act: impl Fn(&Call, P) -> Result<T, E> + 'static,
    ) -> Self
    where
        P: DeserializeOwned,
        T: Serialize,
        E: Display,
    {
        let name = name.into();
        let added = self.methods.add(name.clone(), Method::now(act));
        self.noted(&name, added);
        self
    }

    /// Adds an async method. A worker does one request at a time all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use actix_dispatch::{Call, Dispatcher};
    ///
    /// let builder = Dispatcher::builder().max_forks(4).async_method(
    ///     "nap",
    ///     async |call: Call, seconds: u64| {
    ///         tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    ///         Ok::<_, String>(call.attempt())
    ///     },
    /// );
    /// ```
    pub fn async_method<P, T, E>(
        mut self,
        name: impl Into<String>,
        act: impl AsyncFn(Call, P) -> Result<T, E> + 'static,
    ) -> Self
    where
        P: DeserializeOwned + 'static,
        T: Serialize,
        E: Display,
    {
        let name = name.into();
        let added = self.methods.add(name.clone(), Method::later(act));
        self.noted(&name, added);
        self
    }

    /// Adds the methods of a class: they are looked for when no method has the name.
    pub fn class(mut self, class: Class) -> Self {
        for (method, code) in class.methods {
            let name = format!("{}::{method}", class.name);
            let added = self.methods.add_to_class(name.clone(), code);
            self.noted(&name, added);
        }
        self
    }

    /// Adds a [`Task`], under its name.
    pub fn task<T: Task>(self) -> Self {
        self.method(T::NAME, |call: &Call, task: T| task.run(call))
    }

    /// Adds a method without a name, for requests that bring it along.
    ///
    /// # Examples
    ///
    /// ```
    /// use actix_dispatch::{Dispatcher, NewRequest};
    ///
    /// let mut builder = Dispatcher::builder().max_forks(2);
    /// let double = builder.own_method(|_call, n: u32| Ok::<_, String>(2 * n));
    /// let request = NewRequest::with(double).params(21_u32);
    /// ```
    pub fn own_method<P, T, E>(
        &mut self,
        act: impl Fn(&Call, P) -> Result<T, E> + 'static,
    ) -> OwnMethod
    where
        P: DeserializeOwned,
        T: Serialize,
        E: Display,
    {
        self.methods.add_own(Method::now(act)).unwrap_or_else(|unfit| {
            self.noted("anonymous method", Err(unfit));
            OwnMethod(u16::MAX)
        })
    }

    /// Runs this before each call, in the worker; an error refuses the call, and is its answer. The
    /// original's `_precall`.
    pub fn precall<E: Display>(mut self, hook: impl Fn(&Call) -> Result<(), E> + 'static) -> Self {
        let hook = move |call: &Call| hook(call).map_err(|error| error.to_string());
        self.methods.hooks.precall = Some(Rc::new(hook));
        self
    }

    /// Runs this after each call, in the worker. The original's `_postcall`.
    pub fn postcall(mut self, hook: impl Fn(&Call) + 'static) -> Self {
        self.methods.hooks.postcall = Some(Rc::new(hook));
        self
    }

    /// Runs this in the parent before each fork. The original's `_fork_preinit`.
    pub fn fork_preinit(mut self, hook: impl Fn() + 'static) -> Self {
        self.methods.hooks.fork_preinit = Some(Rc::new(hook));
        self
    }

    /// Runs this in the parent after each fork, with the worker's process. The original's
    /// `_fork_postinit`.
    pub fn fork_postinit(mut self, hook: impl Fn(Pid) + 'static) -> Self {
        self.methods.hooks.fork_postinit = Some(Rc::new(hook));
        self
    }

    /// Runs this once in each worker, before its first request. The original's `_fork_init`.
    pub fn fork_init(mut self, hook: impl Fn() + 'static) -> Self {
        self.methods.hooks.fork_init = Some(Rc::new(hook));
        self
    }

    /// Sets who gets results that nobody else waits for: of requests without a future and without a
    /// recipient of their own. It is made when the dispatcher starts.
    pub fn upon_result(
        mut self,
        make: impl FnOnce(Addr<DispatcherActor>) -> Recipient<RequestDone> + 'static,
    ) -> Self {
        self.outside.upon_result = Some(Box::new(make));
        self
    }

    /// Sets who gets requests that no method is found for. It is made when the dispatcher starts.
    pub fn fallback(
        mut self,
        make: impl FnOnce(Addr<DispatcherActor>) -> Recipient<Transaction> + 'static,
    ) -> Self {
        self.outside.fallback = Some(Box::new(make));
        self
    }

    /// Sets who gets every line of the dispatcher's, and what workers print; the daemon's logger by
    /// default. It is made when the dispatcher starts.
    pub fn talkback(
        mut self,
        make: impl FnOnce(Addr<DispatcherActor>) -> Recipient<Talkback> + 'static,
    ) -> Self {
        self.outside.talkback = Some(Box::new(make));
        self
    }

    fn check(&mut self) -> Result<(), ConfigError> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        if self.pre_fork > self.max_forks {
            let why = format!("it must not be more than max_forks, which is {}", self.max_forks);
            return Err(ConfigError::value("pre_fork", self.pre_fork, why));
        }
        let more_than_nothing = "it must be more than nothing";
        if self.queue == 0 {
            return Err(ConfigError::value("queue", 0, more_than_nothing));
        }
        if self.defaults.attempts == 0 {
            return Err(ConfigError::value("attempts", 0, more_than_nothing));
        }
        for (field, limit) in
            [("soft_limit", self.defaults.soft), ("hard_limit", self.defaults.hard)]
        {
            if limit == Some(Duration::ZERO) {
                return Err(ConfigError::value(field, "0s", more_than_nothing));
            }
        }
        for (nth, lane) in self.lanes.iter().enumerate() {
            let others = self.lanes.iter().take(nth);
            if lane.name.is_empty() || others.into_iter().any(|other| other.name == lane.name) {
                let why = "it must be a name, and no other lane's";
                return Err(ConfigError::value("lane", format_args!("{:?}", lane.name), why));
            }
            if lane.at_most == Some(0) {
                let why = "nothing would ever get through";
                return Err(ConfigError::value(
                    "at_most",
                    format_args!("0 in lane {}", lane.name),
                    why,
                ));
            }
        }
        Ok(())
    }

    /// Does the housework and forks the nursery, before any runtime.
    ///
    /// # Errors
    ///
    /// As [`actix_daemon::Builder::launch`]; [`DaemonError::Config`] also when numbers or names of
    /// the dispatcher do not go together, and nothing has happened then.
    pub fn launch(mut self) -> Result<Launched, DaemonError> {
        self.check()?;
        let Builder {
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
        let title = fork_name.unwrap_or_else(|| alias.clone());
        let mut daemon = daemon.alias(alias).title(title);
        if detail == Detail::Verbose {
            daemon = daemon.verbose();
        }
        let methods = Rc::new(methods);
        let links = Rc::new(NewLinks::default());
        // As many as the scoreboard of such a daemon has, so that it can be resized.
        let slots = (max_forks.saturating_mul(2).clamp(16, daemon_core::MAX_SLOTS)) as usize;
        let board = Board::make(slots)?;
        let program = Workers { methods: Rc::clone(&methods), board };
        let daemon = if max_forks == 0 {
            daemon.model(Solo).launch(program)?
        } else {
            let linker = Linker::new(Rc::clone(&methods), Rc::clone(&links));
            let model = OnDemand::max_children(max_forks, linker)
                .start_children(pre_fork)
                .interval(fork_interval)
                .requests(max_requests)
                .jitter(jitter);
            daemon.model(model).launch(program)?
        };
        Ok(Launched {
            daemon,
            methods,
            links,
            board,
            slots,
            lanes,
            queue,
            defaults,
            detail,
            outside,
            max_forks: max_forks as usize,
        })
    }

    /// Launches the dispatcher and runs it in a System of its own until it has stopped; this is
    /// called in it once, to start the parent's sessions.
    ///
    /// # Errors
    ///
    /// As [`launch`](Builder::launch) and [`actix_daemon::Launched::run`].
    pub fn run(self, start: impl FnOnce(Started)) -> Result<(), DaemonError> {
        let launched = self.launch()?;
        System::new().block_on(async move {
            let started = launched.start()?;
            let daemon = started.daemon.clone();
            start(started);
            daemon.send(UntilStopped).await.unwrap_or(Err(DaemonError::ActorLost))
        })
    }
}

/// A dispatcher whose housework is done and whose nursery stands; its actors are still to be
/// started.
#[must_use = "the dispatcher works only when it is started"]
pub struct Launched {
    daemon: LaunchedDaemon<Workers>,
    methods: Rc<Methods>,
    links: Rc<NewLinks>,
    board: Board,
    slots: usize,
    lanes: Vec<Lane>,
    queue: usize,
    defaults: Defaults,
    detail: Detail,
    outside: Outside,
    max_forks: usize,
}

impl fmt::Debug for Launched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launched").field("daemon", &self.daemon).finish_non_exhaustive()
    }
}

/// A dispatcher that runs.
#[derive(Debug, Clone)]
pub struct Started {
    /// Where requests go.
    pub dispatcher: Addr<DispatcherActor>,
    /// The daemon that its workers are children of: it is asked for status, reload, shutdown.
    pub daemon: Addr<DaemonActor<Endowed>>,
}

impl Launched {
    /// Starts the dispatcher's actors, and the daemon's, in the System of this thread.
    ///
    /// # Errors
    ///
    /// As [`actix_daemon::Launched::start`].
    pub fn start(self) -> Result<Started, DaemonError> {
        let Launched {
            daemon,
            methods,
            links,
            board,
            slots,
            lanes,
            queue,
            defaults,
            detail,
            outside,
            max_forks,
        } = self;
        let daemon = daemon.start()?;
        let staff = match max_forks {
            0 => Staff::Parent,
            most => Staff::Workers { most, daemon: daemon.clone() },
        };
        let voice = Voice { log: actix_daemon::logger(), recipient: None, detail };
        let parts =
            Parts { methods, board, slots, lanes, queue_max: queue, staff, voice, defaults };
        let shared = Rc::new(RefCell::new(Engine::new(parts)));
        engine::run(&shared, &links);
        Steward::subscribe(&shared, &daemon);
        let dispatcher = DispatcherActor::new(Rc::clone(&shared)).start();
        // Each may send requests at once: the engine is not held meanwhile.
        let Outside { upon_result, fallback, talkback } = outside;
        let upon_result = upon_result.map(|make| make(dispatcher.clone()));
        let fallback = fallback.map(|make| make(dispatcher.clone()));
        let talkback = talkback.map(|make| make(dispatcher.clone()));
        let mut engine = shared.borrow_mut();
        (engine.upon_result, engine.fallback) = (upon_result, fallback);
        engine.voice.recipient = talkback;
        engine.voice.say(format_args!("Started prefork dispatcher"));
        drop(engine);
        Ok(Started { dispatcher, daemon })
    }
}

/// The program whose children are workers.
#[derive(Debug)]
pub(crate) struct Workers {
    methods: Rc<Methods>,
    board: Board,
}

impl Program for Workers {
    type Request = Endowed;

    fn child(self, _daemon: Addr<ChildActor>) -> Recipient<DaemonChild<Endowed>> {
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

impl actix::Handler<DaemonChild<Endowed>> for Session {
    type Result = ();

    fn handle(&mut self, born: DaemonChild<Endowed>, _ctx: &mut Self::Context) {
        let (Some(workers), Some(child)) = (self.workers.take(), ChildHandle::current()) else {
            return;
        };
        let Workers { methods, board } = workers;
        let log = actix_daemon::logger();
        child.work(worker::live(child.clone(), born.request, methods, board, log));
    }
}
