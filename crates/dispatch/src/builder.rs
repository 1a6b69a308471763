//! Configuration of a dispatcher.

use std::fmt::{self, Display};
use std::rc::Rc;
use std::time::Duration;

use actix::{Addr, Recipient};
use actix_daemon::{ConfigError, Daemon, DaemonBuilder, Jitter, Pid, Solo};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body::BODY_MAX;
use crate::call::Call;
use crate::dispatcher::DispatcherActor;
use crate::engine::RequestDefaults;
use crate::fallback::FallbackRequest;

use crate::methods::{AddMethodError, Class, Method, Methods};
use crate::output_limit::DEFAULT_OUTPUT_LIMIT;
use crate::request::{AnonymousMethod, RequestDone};
use crate::scheduler::{IdleOrder, Lane};
use crate::talkback::Talkback;
use crate::task::Task;

/// The default size of the largest result, in bytes. The same size is the default of
/// [`DaemonBuilder::request_limit`].
const RESULT_LIMIT: usize = 64 * 1024 * 1024;

/// Entry point of the crate: see [`Dispatcher::builder`].
#[derive(Debug, Clone, Copy)]
pub struct Dispatcher;

impl Dispatcher {
    /// Returns a builder with the default configuration.
    ///
    /// Where methods run has no default: call [`max_forks`](DispatcherBuilder::max_forks) or
    /// [`in_place`](DispatcherBuilder::in_place).
    pub fn builder() -> DispatcherBuilder {
        DispatcherBuilder {
            daemon: Daemon::builder(),
            max_forks: None,
            is_in_place: false,
            pre_fork: 0,
            max_requests: 0,
            jitter: Jitter::default(),
            fork_interval: Duration::ZERO,
            fork_name: None,
            alias: None,
            is_verbose: false,
            queue_capacity: 10_000,
            idle_order: IdleOrder::default(),
            result_limit: RESULT_LIMIT,
            lanes: Vec::new(),
            defaults: RequestDefaults { attempts: 1, ..RequestDefaults::default() },
            output_limit: DEFAULT_OUTPUT_LIMIT,
            methods: Methods::default(),
            error: None,
            recipients: Recipients::default(),
        }
    }
}

/// Creates a recipient. Called when the System runs and the dispatcher's address is known.
pub(crate) type MakeRecipient<M> = Box<dyn FnOnce(Addr<DispatcherActor>) -> Recipient<M>>;

/// The functions that create the recipients in the parent process.
#[derive(Default)]
pub(crate) struct Recipients {
    pub(crate) upon_result: Option<MakeRecipient<RequestDone>>,
    pub(crate) fallback: Option<MakeRecipient<FallbackRequest>>,
    pub(crate) talkback: Option<MakeRecipient<Talkback>>,
}

/// Configures and launches a dispatcher.
///
/// Created by [`Dispatcher::builder`]. The builder itself has no side effects.
/// [`launch`](DispatcherBuilder::launch) and [`run`](DispatcherBuilder::run) check the whole
/// configuration before they fork any process.
#[must_use = "nothing happens before launch"]
pub struct DispatcherBuilder {
    pub(crate) daemon: DaemonBuilder<Solo>,
    pub(crate) max_forks: Option<u32>,
    pub(crate) is_in_place: bool,
    pub(crate) pre_fork: u32,
    pub(crate) max_requests: u32,
    pub(crate) jitter: Jitter,
    pub(crate) fork_interval: Duration,
    pub(crate) fork_name: Option<String>,
    pub(crate) alias: Option<String>,
    pub(crate) is_verbose: bool,
    pub(crate) queue_capacity: usize,
    pub(crate) idle_order: IdleOrder,
    pub(crate) result_limit: usize,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) defaults: RequestDefaults,
    pub(crate) output_limit: u64,
    pub(crate) methods: Methods,
    /// The first error found while the builder was filled in.
    pub(crate) error: Option<ConfigError>,
    pub(crate) recipients: Recipients,
}

impl fmt::Debug for DispatcherBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatcherBuilder")
            .field("alias", &self.alias)
            .field("max_forks", &self.max_forks)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

impl DispatcherBuilder {
    /// Sets the maximum number of worker processes, in which methods run. It must be at least 1.
    ///
    /// Required, unless methods run [`in_place`](DispatcherBuilder::in_place).
    pub fn max_forks(mut self, workers: u32) -> Self {
        self.max_forks = Some(workers);
        self
    }

    /// Runs methods in the dispatcher's own process, without workers: for tests, and for programs
    /// whose methods are all quick and harmless.
    ///
    /// A synchronous method blocks the parent's event loop while it runs, and one that ends or
    /// crashes its process ends the daemon. Settings of workers, such as
    /// [`hard_limit`](DispatcherBuilder::hard_limit), are then errors.
    pub fn in_place(mut self) -> Self {
        self.is_in_place = true;
        self
    }

    /// Sets the number of workers that are started in advance. A worker that exits is replaced if
    /// fewer than this number remain.
    ///
    /// 0 by default, so the first worker is started for the first request.
    pub fn pre_fork(mut self, workers: u32) -> Self {
        self.pre_fork = workers;
        self
    }

    /// Sets the number of requests after which a worker is replaced.
    ///
    /// 0, the default, means that workers are never replaced for this reason. The limits of
    /// individual workers are lower by up to the [`jitter`](DispatcherBuilder::jitter).
    pub fn max_requests(mut self, requests: u32) -> Self {
        self.max_requests = requests;
        self
    }

    /// Sets by how many percent the request limit of a worker can be lower than
    /// [`max_requests`](DispatcherBuilder::max_requests).
    ///
    /// The limits of workers that are started together are spread over this range, so that the
    /// workers are not replaced together. 10 % by default, at most 50 %.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the minimum time between two workers that are started because requests are waiting.
    ///
    /// Zero by default, because starting a worker is cheap. In `POE::Component::PreforkDispatch` it
    /// is 2 s. Workers started by [`pre_fork`](DispatcherBuilder::pre_fork) are not delayed.
    pub fn fork_interval(mut self, interval: Duration) -> Self {
        self.fork_interval = interval;
        self
    }

    /// Sets the process title of workers, as shown by ps(1). Defaults to the alias.
    pub fn fork_name(mut self, name: impl Into<String>) -> Self {
        self.fork_name = Some(name.into());
        self
    }

    /// Sets the name of the dispatcher in logs, status reports and process titles.
    ///
    /// Defaults to the alias of the [`daemon`](DispatcherBuilder::daemon) settings, which is the
    /// name of the program by default.
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.alias = Some(alias.into());
        self
    }

    /// Logs each request, and each worker that starts or exits, at debug level.
    ///
    /// This also makes the daemon itself verbose.
    pub fn verbose(mut self) -> Self {
        self.is_verbose = true;
        self
    }

    /// Sets the daemon settings: log file, control socket, user and group, limits, babysitter.
    ///
    /// [`alias`](DispatcherBuilder::alias), [`fork_name`](DispatcherBuilder::fork_name) and
    /// [`verbose`](DispatcherBuilder::verbose) of the dispatcher override the daemon settings of
    /// the same names.
    ///
    /// # Examples
    ///
    /// ```
    /// use actix_daemon::Daemon;
    /// use actix_dispatch::Dispatcher;
    ///
    /// let builder = Dispatcher::builder()
    ///     .max_forks(4)
    ///     .daemon(Daemon::builder().control("resizer.sock"));
    /// ```
    pub fn daemon(mut self, daemon: DaemonBuilder<Solo>) -> Self {
        self.daemon = daemon;
        self
    }

    /// Sets how many requests can be queued; 10,000 by default, at least 1.
    ///
    /// When the queue is full, further requests wait in the mailbox of the [`DispatcherActor`],
    /// which has no limit. A request with [`refuse_if_full`](crate::NewRequest::refuse_if_full) is
    /// rejected instead.
    pub fn queue_capacity(mut self, requests: usize) -> Self {
        self.queue_capacity = requests;
        self
    }

    /// Sets which of several idle workers receives a task;
    /// [`MostRecent`](IdleOrder::MostRecent) by default.
    ///
    /// `POE::Component::PreforkDispatch` gives each task to the child that has been idle longest,
    /// which is [`LongestIdle`](IdleOrder::LongestIdle).
    pub fn idle_order(mut self, order: IdleOrder) -> Self {
        self.idle_order = order;
        self
    }

    /// Sets the size of the largest encoded result in bytes; 64 MiB by default, at least 1, less
    /// than 4 GiB.
    ///
    /// If a method returns a larger value, the request fails with
    /// [`Failure::Failed`](crate::Failure::Failed), whose text has both sizes. If a worker sends a
    /// larger result nevertheless, the dispatcher does not read it, and kills the worker. A worker
    /// can make the dispatcher use this much memory for each of its requests.
    pub fn result_limit(mut self, bytes: usize) -> Self {
        self.result_limit = bytes;
        self
    }

    /// Adds a [`Lane`], a separate queue with its own concurrency limit.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lanes.push(lane);
        self
    }

    /// Sets the default soft time limit, for requests that set none themselves.
    ///
    /// A method can check with [`Call::is_overdue`] whether the limit has passed, and is expected
    /// to return an error in that case. No limit by default.
    pub fn soft_limit(mut self, limit: Duration) -> Self {
        self.defaults.soft = Some(limit);
        self
    }

    /// Sets the default hard time limit, for requests that set none themselves.
    ///
    /// A worker whose task exceeds the limit is killed. The time is measured from the start of the
    /// task, not from its arrival in the queue. No limit by default.
    pub fn hard_limit(mut self, limit: Duration) -> Self {
        self.defaults.hard = Some(limit);
        self
    }

    /// Sets the default number of attempts, for requests that set none themselves.
    ///
    /// A task is attempted again only if a worker died while running the task. 1 by default, which
    /// means no retries.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.defaults.attempts = attempts;
        self
    }

    /// Sets how much of the output of each worker is logged or sent to the
    /// [`talkback`](DispatcherBuilder::talkback) recipient, in bytes per second. 1 MiB per second
    /// by default, at least 1.
    ///
    /// A worker can exceed the limit in bursts, by what it allows in four seconds. Each line counts
    /// as 128 bytes more than it has, which limits the number of lines. All workers together have
    /// four times the limit of one worker. Output beyond the limit is read, dropped and counted in
    /// [`Stats`](crate::Stats), and a warning is logged for each worker, at most every 10 s.
    ///
    /// A worker that prints more than 4 MiB per second, or more than four times the limit if that
    /// is more, waits in write(2).
    pub fn output_limit(mut self, bytes_per_second: u64) -> Self {
        self.output_limit = bytes_per_second;
        self
    }

    /// Records the error if a method could not be added. `check` returns the first recorded error.
    fn note_error(&mut self, name: &str, added: Result<(), AddMethodError>) {
        let reason = match added {
            Ok(()) => return,
            Err(AddMethodError::Duplicate) => "another method has the same name",
            Err(AddMethodError::TooMany) => "a dispatcher can have at most 65536 methods",
        };
        self.error.get_or_insert(ConfigError::value("method", name, reason));
    }

    /// Adds a method: a function that runs in a worker and receives the call and its parameters.
    ///
    /// The parameters are one serde value. Use a tuple for several parameters. If the function
    /// returns an error, the request fails with [`Failure::Failed`](crate::Failure::Failed) and the
    /// error's text.
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
        let added = self.methods.add(name.clone(), Method::sync(act));
        self.note_error(&name, added);
        self
    }

    /// Adds an async method.
    ///
    /// A worker runs only one task at a time, even if its methods are async.
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
        let added = self.methods.add(name.clone(), Method::from_async(act));
        self.note_error(&name, added);
        self
    }

    /// Adds the methods of a [`Class`]. A request calls such a method as `CLASS::METHOD`.
    ///
    /// A method added by [`method`](DispatcherBuilder::method) under the same full name takes
    /// precedence.
    pub fn class(mut self, class: Class) -> Self {
        for (method, code) in class.methods {
            let name = format!("{}::{method}", class.name);
            let added = self.methods.add_to_class(name.clone(), code);
            self.note_error(&name, added);
        }
        self
    }

    /// Adds a [`Task`] as a method with the name [`Task::NAME`].
    pub fn task<T: Task>(self) -> Self {
        self.method(T::NAME, |call: &Call, task: T| task.run(call))
    }

    /// Adds a method without a name, and returns the handle by which requests call the method.
    ///
    /// See [`AnonymousMethod`].
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
        self.methods.add_own(Method::sync(act)).unwrap_or_else(|error| {
            self.note_error("anonymous method", Err(error));
            AnonymousMethod(u16::MAX)
        })
    }

    /// Sets a hook that runs in the worker before each call.
    ///
    /// If the hook returns an error, the method is not called and the request fails with that
    /// error. In the original, `POE::Component::PreforkDispatch`, this hook is called `_precall`.
    pub fn precall<E: Display>(mut self, hook: impl Fn(&Call) -> Result<(), E> + 'static) -> Self {
        let hook = move |call: &Call| hook(call).map_err(|error| error.to_string());
        self.methods.hooks.precall = Some(Rc::new(hook));
        self
    }

    /// Sets a hook that runs in the worker after each call, also after one that failed or panicked.
    ///
    /// This hook does not run if the [`precall`](DispatcherBuilder::precall) hook refused the call.
    /// In the original it is called `_postcall`.
    pub fn postcall(mut self, hook: impl Fn(&Call) + 'static) -> Self {
        self.methods.hooks.postcall = Some(Rc::new(hook));
        self
    }

    /// Sets a hook that runs in the parent before each worker is started.
    ///
    /// If the hook panics, no worker is forked, and the next attempt comes after a delay. If five
    /// attempts fail in a row and there is no worker, the waiting requests are rejected with
    /// [`Rejection::NoWorker`](crate::Rejection::NoWorker). The parent waits for the hook, so it
    /// must not block.
    ///
    /// In the original, this hook is called `_fork_preinit`.
    pub fn fork_preinit(mut self, hook: impl Fn() + 'static) -> Self {
        self.methods.hooks.fork_preinit = Some(Rc::new(hook));
        self
    }

    /// Sets a hook that runs in the parent after each worker was started. The hook receives the
    /// worker's process id.
    ///
    /// If the hook panics, the worker is killed, because it may lack what the hook sets up. The
    /// next one is forked after a delay. If five workers fail in a row and there is no other, the
    /// waiting requests are rejected with [`Rejection::NoWorker`](crate::Rejection::NoWorker). The
    /// parent waits for the hook, so it must not block.
    ///
    /// In the original, this hook is called `_fork_postinit`.
    pub fn fork_postinit(mut self, hook: impl Fn(Pid) + 'static) -> Self {
        self.methods.hooks.fork_postinit = Some(Rc::new(hook));
        self
    }

    /// Sets a hook that runs once in each worker, before its first task.
    ///
    /// If the hook panics or exits, or does not return within the daemon's `boot_timeout`, the
    /// worker ends and the next one is forked after a delay. If five workers fail in a row and
    /// there is no other, the waiting requests are rejected with
    /// [`Rejection::NoWorker`](crate::Rejection::NoWorker).
    ///
    /// In the original, this hook is called `_fork_init`.
    pub fn fork_init(mut self, hook: impl Fn() + 'static) -> Self {
        self.methods.hooks.fork_init = Some(Rc::new(hook));
        self
    }

    /// Sets the recipient of results that have no other consumer.
    ///
    /// These are the results of requests that were sent with `do_send` and have no
    /// [`upon_result`](crate::NewRequest::upon_result) recipient. `make` is called when the
    /// dispatcher starts. Without this recipient, such a result is dropped, and is logged if it is
    /// a failure.
    pub fn upon_result(
        mut self,
        make: impl FnOnce(Addr<DispatcherActor>) -> Recipient<RequestDone> + 'static,
    ) -> Self {
        self.recipients.upon_result = Some(Box::new(make));
        self
    }

    /// Sets the recipient of requests for unknown methods.
    ///
    /// The recipient answers the requests itself, see [`FallbackRequest`]. `make` is called when
    /// the dispatcher starts. Without a fallback such requests are rejected with
    /// [`Rejection::UnknownMethod`](crate::Rejection::UnknownMethod).
    pub fn fallback(
        mut self,
        make: impl FnOnce(Addr<DispatcherActor>) -> Recipient<FallbackRequest> + 'static,
    ) -> Self {
        self.recipients.fallback = Some(Box::new(make));
        self
    }

    /// Sets the recipient of the dispatcher's log messages and of the output of workers.
    ///
    /// Both are sent to this recipient instead of the daemon's logger. See [`Talkback`] for the
    /// format. `make` is called when the dispatcher starts.
    pub fn talkback(
        mut self,
        make: impl FnOnce(Addr<DispatcherActor>) -> Recipient<Talkback> + 'static,
    ) -> Self {
        self.recipients.talkback = Some(Box::new(make));
        self
    }

    /// Returns the maximum number of workers, or `None` if methods run in this process.
    fn workers(&self) -> Result<Option<u32>, ConfigError> {
        let refuse =
            |value: &dyn Display, reason| Err(ConfigError::value("max_forks", value, reason));
        match (self.max_forks, self.is_in_place) {
            (None, false) => refuse(
                &"not set",
                "set the maximum number of workers, or run methods in this process with in_place()",
            ),
            (Some(0), _) => {
                refuse(&0, "must be greater than 0; in_place() runs methods in this process")
            }
            (Some(workers), true) => {
                refuse(&workers, "in_place() runs methods in this process, without workers")
            }
            (workers, _) => Ok(workers),
        }
    }

    /// Checks the settings that concern workers, and returns the maximum number of workers.
    fn check_workers(&self) -> Result<Option<u32>, ConfigError> {
        let workers = self.workers()?;
        let Some(max_forks) = workers else {
            let settings = [
                ("pre_fork", self.pre_fork > 0),
                ("max_requests", self.max_requests > 0),
                ("fork_interval", self.fork_interval > Duration::ZERO),
                ("hard_limit", self.defaults.hard.is_some()),
                ("attempts", self.defaults.attempts > 1),
            ];
            return match settings.into_iter().find(|(_, is_set)| *is_set) {
                Some((field, _)) => {
                    let reason = "it concerns workers, and with in_place() there are none";
                    Err(ConfigError::value(field, "set", reason))
                }
                None => Ok(None),
            };
        };
        if self.pre_fork > max_forks {
            let reason = format!("must not be greater than max_forks ({max_forks})");
            return Err(ConfigError::value("pre_fork", self.pre_fork, reason));
        }
        Ok(workers)
    }

    /// Checks the configuration before any process is forked. Returns the maximum number of
    /// workers, or `None` if methods run in this process.
    pub(crate) fn check(&mut self) -> Result<Option<u32>, ConfigError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let workers = self.check_workers()?;
        let greater_than_0 = "must be greater than 0";
        if self.queue_capacity == 0 {
            return Err(ConfigError::value("queue_capacity", 0, greater_than_0));
        }
        if self.output_limit == 0 {
            return Err(ConfigError::value("output_limit", 0, greater_than_0));
        }
        if self.result_limit == 0 {
            return Err(ConfigError::value("result_limit", 0, greater_than_0));
        }
        if self.result_limit > BODY_MAX {
            let reason = format!("must not be greater than {BODY_MAX}");
            return Err(ConfigError::value("result_limit", self.result_limit, reason));
        }
        if self.defaults.attempts == 0 {
            return Err(ConfigError::value("attempts", 0, greater_than_0));
        }
        for (field, limit) in
            [("soft_limit", self.defaults.soft), ("hard_limit", self.defaults.hard)]
        {
            if limit == Some(Duration::ZERO) {
                return Err(ConfigError::value(field, "0s", greater_than_0));
            }
        }
        for (nth, lane) in self.lanes.iter().enumerate() {
            let others = self.lanes.iter().take(nth);
            if lane.name.is_empty() || others.into_iter().any(|other| other.name == lane.name) {
                let reason = "must be a unique, non-empty name";
                return Err(ConfigError::value("lane", format_args!("{:?}", lane.name), reason));
            }
            if lane.max_running == Some(0) {
                return Err(ConfigError::value(
                    "max_running",
                    format_args!("0 in lane {:?}", lane.name),
                    greater_than_0,
                ));
            }
        }
        Ok(workers)
    }
}
