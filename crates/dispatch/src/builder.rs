//! How a dispatcher is configured.

mod check;

use std::fmt::{self, Display};
use std::rc::Rc;
use std::time::Duration;

use actix::{Addr, Recipient};
use actix_daemon::{ConfigError, Daemon, DaemonBuilder, Jitter, Pid, Solo};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::dispatcher::DispatcherActor;
use crate::engine::RequestDefaults;
use crate::fallback::FallbackRequest;
use crate::methods::{AnonymousMethod, Class, Method, Methods, Unfit};
use crate::request::RequestDone;
use crate::scheduler::Lane;
use crate::talkback::{Talkback, Verbosity};
use crate::task::Task;

/// The way to a dispatcher: see [`Dispatcher::builder`].
#[derive(Debug, Clone, Copy)]
pub struct Dispatcher;

impl Dispatcher {
    /// Begins to configure a dispatcher; without [`max_forks`](DispatcherBuilder::max_forks) it runs methods
    /// in place.
    pub fn builder() -> DispatcherBuilder {
        DispatcherBuilder {
            daemon: Daemon::builder(),
            max_forks: 0,
            pre_fork: 0,
            max_requests: 0,
            jitter: Jitter::default(),
            fork_interval: Duration::ZERO,
            fork_name: None,
            alias: "PreforkDispatch".to_owned(),
            detail: Verbosity::default(),
            queue: 10_000,
            lanes: Vec::new(),
            defaults: RequestDefaults { attempts: 1, ..RequestDefaults::default() },
            methods: Methods::default(),
            trouble: None,
            outside: Recipients::default(),
        }
    }
}

/// Makes a recipient, once there is a System and the dispatcher's address.
pub(crate) type MakeRecipient<M> = Box<dyn FnOnce(Addr<DispatcherActor>) -> Recipient<M>>;

/// Who hears of things in the parent.
#[derive(Default)]
pub(crate) struct Recipients {
    pub(crate) upon_result: Option<MakeRecipient<RequestDone>>,
    pub(crate) fallback: Option<MakeRecipient<FallbackRequest>>,
    pub(crate) talkback: Option<MakeRecipient<Talkback>>,
}

/// A dispatcher that is being configured.
///
/// Nothing happens before [`launch`](DispatcherBuilder::launch), and there everything is checked before
/// anything forks.
#[must_use = "nothing happens before launch"]
pub struct DispatcherBuilder {
    pub(crate) daemon: DaemonBuilder<Solo>,
    pub(crate) max_forks: u32,
    pub(crate) pre_fork: u32,
    pub(crate) max_requests: u32,
    pub(crate) jitter: Jitter,
    pub(crate) fork_interval: Duration,
    pub(crate) fork_name: Option<String>,
    pub(crate) alias: String,
    pub(crate) detail: Verbosity,
    pub(crate) queue: usize,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) defaults: RequestDefaults,
    pub(crate) methods: Methods,
    pub(crate) trouble: Option<ConfigError>,
    pub(crate) outside: Recipients,
}

impl fmt::Debug for DispatcherBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("alias", &self.alias)
            .field("max_forks", &self.max_forks)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

impl DispatcherBuilder {
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
        self.detail = Verbosity::Verbose;
        self
    }

    /// Does the daemon's housework as this says: log file, control socket, privileges, babysitting.
    /// Its alias and title are the dispatcher's.
    pub fn daemon(mut self, daemon: DaemonBuilder<Solo>) -> Self {
        self.daemon = daemon;
        self
    }

    /// Sets how many requests may wait; 10,000 by default, at least one. Past that `send` waits.
    pub fn queue_capacity(mut self, requests: usize) -> Self {
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
    /// let double = builder.anonymous_method(|_call, n: u32| Ok::<_, String>(2 * n));
    /// let request = NewRequest::to_anonymous(double).params(21_u32);
    /// ```
    pub fn anonymous_method<P, T, E>(
        &mut self,
        act: impl Fn(&Call, P) -> Result<T, E> + 'static,
    ) -> AnonymousMethod
    where
        P: DeserializeOwned,
        T: Serialize,
        E: Display,
    {
        self.methods.add_own(Method::now(act)).unwrap_or_else(|unfit| {
            self.noted("anonymous method", Err(unfit));
            AnonymousMethod(u16::MAX)
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
        make: impl FnOnce(Addr<DispatcherActor>) -> Recipient<FallbackRequest> + 'static,
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
}
