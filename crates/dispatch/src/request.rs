//! Requests: as the sender creates them, and as they are delivered with their result.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix::{Message, Recipient};
use actix_daemon::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::{Rejection, TaskResult};
use crate::body::{Body, EncodeError};

/// The id of a request, unique within the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl RequestId {
    fn next() -> RequestId {
        RequestId(NEXT_ID.fetch_add(1, Ordering::Relaxed))
    }
}

/// Identifies a request in a [`Cancel`](crate::Cancel) message, also if the request has not arrived
/// at the dispatcher. Made with the request, see [`NewRequest::cancellation_token`].
#[derive(Debug, Clone)]
pub struct CancellationToken {
    pub(crate) id: RequestId,
    is_cancelled: Arc<AtomicBool>,
}

impl CancellationToken {
    fn new() -> CancellationToken {
        CancellationToken { id: RequestId::next(), is_cancelled: Arc::default() }
    }

    /// Cancels the request if it has not arrived at the dispatcher.
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Returns whether the request was cancelled, possibly before it has arrived.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}

/// Message: calls a method in a worker. In the original, `POE::Component::PreforkDispatch`, this
/// message is called `new_request`.
///
/// With `addr.send`, the response is the [`TaskResult`]. Dropping the future cancels the request if
/// it has not started. With `do_send`, the result goes to the request's
/// [`upon_result`](NewRequest::upon_result) recipient, or else to the recipient that is set with
/// [`DispatcherBuilder::upon_result`](crate::DispatcherBuilder::upon_result).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use actix_dispatch::NewRequest;
///
/// let request = NewRequest::to("resize")
///     .params(("a.png", 640))
///     .hard_limit(Duration::from_secs(10))
///     .attempts(3);
/// ```
#[derive(Message)]
#[rtype(result = "TaskResult")]
pub struct NewRequest {
    pub(crate) token: CancellationToken,
    pub(crate) name: CowStr,
    pub(crate) own: Option<AnonymousMethod>,
    pub(crate) from: CowStr,
    pub(crate) params: Result<Body, EncodeError>,
    pub(crate) options: RequestOptions,
    pub(crate) upon_result: Option<Recipient<RequestDone>>,
    /// Whether the request is rejected if the queue is full. Otherwise it waits.
    pub(crate) refuse_if_full: bool,
}

/// A name. Most names are known at compile time, so no allocation is needed.
pub(crate) type CowStr = std::borrow::Cow<'static, str>;

/// The options of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestOptions {
    pub(crate) priority: i8,
    pub(crate) lane: Option<CowStr>,
    pub(crate) soft: Option<Duration>,
    pub(crate) hard: Option<Duration>,
    pub(crate) attempts: Option<u32>,
    /// What happens to a running request when its future is dropped.
    pub(crate) if_dropped: IfRunning,
}

/// A handle of a method that has no name.
///
/// [`DispatcherBuilder::anonymous_method`](crate::DispatcherBuilder::anonymous_method) registers
/// the method before the launch, because code cannot be sent to a process that already runs, and
/// returns this handle. Put the handle into a request with
/// [`NewRequest::to_anonymous`](crate::NewRequest::to_anonymous) or
/// [`NewRequest::method`](crate::NewRequest::method). The handle takes precedence over the name in
/// the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnonymousMethod(pub(crate) u16);

/// What happens to a cancelled request that is already running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfRunning {
    /// The request runs to completion and is answered.
    #[default]
    LetFinish,
    /// Its worker is killed, and the request fails with
    /// [`Failure::Cancelled`](crate::Failure::Cancelled).
    Terminate,
}

impl NewRequest {
    /// Creates a request that calls the method of this name. The name of a class method is
    /// `Class::method`.
    #[must_use]
    pub fn to(method: impl Into<CowStr>) -> NewRequest {
        NewRequest {
            token: CancellationToken::new(),
            name: method.into(),
            own: None,
            from: CowStr::Borrowed("local"),
            params: Ok(Body::UNIT),
            options: RequestOptions {
                priority: 0,
                lane: None,
                soft: None,
                hard: None,
                attempts: None,
                if_dropped: IfRunning::default(),
            },
            upon_result: None,
            refuse_if_full: false,
        }
    }

    /// Creates a request that calls an anonymous method; see [`AnonymousMethod`].
    #[must_use]
    pub fn to_anonymous(method: AnonymousMethod) -> NewRequest {
        NewRequest::to("anonymous method").method(method)
    }

    /// Sets the anonymous method to call; the name is then only a label.
    ///
    /// In the original, this option is also called `method`.
    #[must_use]
    pub fn method(mut self, method: AnonymousMethod) -> Self {
        self.own = Some(method);
        self
    }

    /// Sets the parameters. Use a tuple for several parameters. `()` by default.
    ///
    /// The parameters are encoded by this call. Parameters of 64 KiB and more are written to shared
    /// memory, and the worker receives only a file descriptor. Use [`Bytes`](crate::Bytes) for
    /// large binary data.
    #[must_use]
    pub fn params(mut self, params: impl Serialize) -> Self {
        self.params = Body::of(&params);
        self
    }

    /// Sets parameters that are already encoded as MessagePack.
    #[must_use]
    pub fn encoded_params(mut self, params: Vec<u8>) -> Self {
        self.params = Body::raw(params);
        self
    }

    /// Sets the sender's name, for hooks and handlers. `local` by default, as in the original.
    #[must_use]
    pub fn from(mut self, from: impl Into<CowStr>) -> Self {
        self.from = from.into();
        self
    }

    /// Sets the priority. Queued requests with a higher priority start first. 0 by default.
    #[must_use]
    pub fn priority(mut self, priority: i8) -> Self {
        self.options.priority = priority;
        self
    }

    /// Sets the lane by its name.
    ///
    /// The lane must have been added with
    /// [`DispatcherBuilder::lane`](crate::DispatcherBuilder::lane).
    #[must_use]
    pub fn lane(mut self, lane: impl Into<CowStr>) -> Self {
        self.options.lane = Some(lane.into());
        self
    }

    /// Sets the soft time limit, which the handler can check with
    /// [`Call::is_overdue`](crate::Call::is_overdue).
    ///
    /// Defaults to the soft limit of the dispatcher.
    #[must_use]
    pub fn soft_limit(mut self, limit: Duration) -> Self {
        self.options.soft = Some(limit);
        self
    }

    /// Sets the hard time limit. The worker is killed if the task runs longer.
    ///
    /// Defaults to the hard limit of the dispatcher.
    #[must_use]
    pub fn hard_limit(mut self, limit: Duration) -> Self {
        self.options.hard = Some(limit);
        self
    }

    /// Sets the maximum number of attempts. A task is attempted again if its worker died while it
    /// ran the task.
    ///
    /// Defaults to the dispatcher's [`attempts`](crate::DispatcherBuilder::attempts) setting, which
    /// is 1 by default.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.options.attempts = Some(attempts);
        self
    }

    /// Kills the worker if the future is dropped while the task is running.
    ///
    /// By default, a running task runs to completion even if its future is dropped.
    #[must_use]
    pub fn terminate_if_dropped(mut self) -> Self {
        self.options.if_dropped = IfRunning::Terminate;
        self
    }

    /// Sets the recipient of the result.
    ///
    /// If a recipient is set, dropping the future does not cancel the request, because the
    /// recipient still waits for the result.
    #[must_use]
    pub fn upon_result(mut self, recipient: Recipient<RequestDone>) -> Self {
        self.upon_result = Some(recipient);
        self
    }

    /// Rejects the request with [`Rejection::QueueFull`] if the queue is full.
    ///
    /// By default, the request waits until the queue has capacity.
    #[must_use]
    pub fn refuse_if_full(mut self) -> Self {
        self.refuse_if_full = true;
        self
    }

    /// Returns the id, for example to recognize the result of the request.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.token.id
    }

    /// Returns the token with which a [`Cancel`](crate::Cancel) message cancels the request.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Checks everything that does not depend on the method table.
    pub(crate) fn check(&self) -> Result<(), Rejection> {
        for name in [&self.name, &self.from] {
            if name.len() > NAME_MAX {
                return Err(Rejection::NameTooLong { length: name.len(), limit: NAME_MAX });
            }
        }
        let limits = [("soft_limit", self.options.soft), ("hard_limit", self.options.hard)];
        if let Some((field, _)) = limits.iter().find(|(_, limit)| *limit == Some(Duration::ZERO)) {
            return Err(Rejection::InvalidOption { field, value: "0s".into() });
        }
        match self.options.attempts {
            Some(0) => Err(Rejection::InvalidOption { field: "attempts", value: "0".into() }),
            Some(_) | None => Ok(()),
        }
    }
}

/// The maximum length of a name, in bytes.
pub(crate) const NAME_MAX: usize = 1024;

impl fmt::Debug for NewRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRequest")
            .field("id", &self.id())
            .field("name", &self.name)
            .field("from", &self.from)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The request itself, without its options.
#[derive(Debug, Clone)]
pub(crate) struct RequestParts {
    pub(crate) id: RequestId,
    pub(crate) name: CowStr,
    pub(crate) from: CowStr,
    pub(crate) params: Body,
}

/// A request that is delivered with its result, passed to the
/// [fallback](crate::DispatcherBuilder::fallback), or kept as a dead letter.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    pub(crate) parts: RequestParts,
    pub(crate) run: RunInfo,
}

/// How a request was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RunInfo {
    pub(crate) elapsed: Duration,
    pub(crate) run_time: Duration,
    pub(crate) attempts: u32,
    pub(crate) pid: Option<Pid>,
}

impl RequestInfo {
    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.parts.id
    }

    /// Returns the name of the requested method. It is also called `method_name` in the original.
    #[must_use]
    pub fn method_name(&self) -> &str {
        &self.parts.name
    }

    /// Returns the sender's name.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.parts.from
    }

    /// Decodes the parameters.
    ///
    /// # Errors
    ///
    /// Returns the decoder's message if the parameters cannot be decoded as a `P`.
    pub fn params<P: DeserializeOwned>(&self) -> Result<P, String> {
        self.parts.params.decode()
    }

    /// Returns the time from the request's arrival in the queue until its result. Zero if the
    /// request was rejected on arrival.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.run.elapsed
    }

    /// Returns how long the handler or the fallback took to answer. Zero if neither answered.
    #[must_use]
    pub fn run_time(&self) -> Duration {
        self.run.run_time
    }

    /// Returns the number of attempts to run the request in a worker.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.run.attempts
    }

    /// Returns the process id of the last worker that the request was sent to.
    ///
    /// `None` if the request was not sent to a worker, for example because it ran in the parent.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.run.pid
    }
}

/// Message to the recipient set by [`NewRequest::upon_result`] or
/// [`DispatcherBuilder::upon_result`](crate::DispatcherBuilder::upon_result): a request and its
/// result.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct RequestDone {
    /// The request.
    pub request: RequestInfo,
    /// The result of the request.
    pub outcome: TaskResult,
}
