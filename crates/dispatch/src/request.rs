//! What is asked for: the request as its sender makes it, and as it comes back with its answer.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Message, Recipient};
use actix_daemon::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::{Rejection, TaskResult};
use crate::body::{Body, EncodeError};
use crate::methods::AnonymousMethod;

/// The number of a request, given once in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl RequestId {
    fn next() -> RequestId {
        RequestId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Asks the dispatcher to have a method run. The original's `new_request`.
///
/// Sent with `addr.send` it is answered with a future of the [`TaskResult`]; dropping that future
/// cancels what has not begun. Sent with `do_send` its outcome goes to the recipient that
/// [`upon_result`](NewRequest::upon_result) names, or to the dispatcher's.
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
    pub(crate) id: RequestId,
    pub(crate) name: CowStr,
    pub(crate) own: Option<AnonymousMethod>,
    pub(crate) from: CowStr,
    pub(crate) params: Result<Body, EncodeError>,
    pub(crate) options: RequestOptions,
    pub(crate) upon_result: Option<Recipient<RequestDone>>,
    pub(crate) if_full: IfFull,
}

/// What becomes of a request when as many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum IfFull {
    /// It waits until there is room.
    #[default]
    Wait,
    /// It is refused.
    Refuse,
}

/// A name: most are known when the program is built.
pub(crate) type CowStr = std::borrow::Cow<'static, str>;

/// How a request wants to be treated.
#[derive(Debug, Clone)]
pub(crate) struct RequestOptions {
    pub(crate) priority: i8,
    pub(crate) lane: Option<CowStr>,
    pub(crate) soft: Option<Duration>,
    pub(crate) hard: Option<Duration>,
    pub(crate) attempts: Option<u32>,
    /// What becomes of it, if it runs, when nobody waits for it any more.
    pub(crate) if_dropped: IfRunning,
}

/// What becomes of a cancelled request that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfRunning {
    /// It runs to its end, and is answered.
    #[default]
    LetFinish,
    /// Its worker is killed.
    Terminate,
}

impl NewRequest {
    /// Asks for the method of this name; of a class as `Class::method`.
    #[must_use]
    pub fn to(method: impl Into<CowStr>) -> NewRequest {
        NewRequest {
            id: RequestId::next(),
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
            if_full: IfFull::default(),
        }
    }

    /// Asks for a method of its own, which comes before any of the dispatcher's; see
    /// [`AnonymousMethod`].
    #[must_use]
    pub fn to_anonymous(method: AnonymousMethod) -> NewRequest {
        NewRequest::to("anonymous method").method(method)
    }

    /// Sets the request's own method: the name then is only what it is called. The original's
    /// `method`.
    #[must_use]
    pub fn method(mut self, method: AnonymousMethod) -> Self {
        self.own = Some(method);
        self
    }

    /// Sets the parameters: one value, a tuple for several. `()` by default.
    ///
    /// They are encoded now. From 64 KiB on they are written into a memory file, once: bulk belongs
    /// in [`Bytes`](crate::Bytes).
    #[must_use]
    pub fn params(mut self, params: impl Serialize) -> Self {
        self.params = Body::of(&params);
        self
    }

    /// Sets parameters that are encoded already, in the MessagePack format.
    #[must_use]
    pub fn encoded_params(mut self, params: Vec<u8>) -> Self {
        self.params = Body::raw(params);
        self
    }

    /// Says who asks, for hooks and handlers. `local` by default, as the original.
    #[must_use]
    pub fn from(mut self, from: impl Into<CowStr>) -> Self {
        self.from = from.into();
        self
    }

    /// Sets the priority: of those that wait, one of a higher comes first. 0 by default.
    #[must_use]
    pub fn priority(mut self, priority: i8) -> Self {
        self.options.priority = priority;
        self
    }

    /// Has it wait in the lane of this name, which the dispatcher was built with.
    #[must_use]
    pub fn lane(mut self, lane: impl Into<CowStr>) -> Self {
        self.options.lane = Some(lane.into());
        self
    }

    /// Sets after how long the handler is told that it takes too long:
    /// [`Call::is_overdue`](crate::Call::is_overdue). The dispatcher's by default.
    #[must_use]
    pub fn soft_limit(mut self, limit: Duration) -> Self {
        self.options.soft = Some(limit);
        self
    }

    /// Sets after how long its worker is killed. The dispatcher's by default.
    #[must_use]
    pub fn hard_limit(mut self, limit: Duration) -> Self {
        self.options.hard = Some(limit);
        self
    }

    /// Sets how often it is tried when its worker dies over it; once by default.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.options.attempts = Some(attempts);
        self
    }

    /// Has its worker killed if it runs already when its future is dropped. By default it runs to
    /// its end.
    #[must_use]
    pub fn terminate_if_dropped(mut self) -> Self {
        self.options.if_dropped = IfRunning::Terminate;
        self
    }

    /// Has the outcome delivered to this recipient. A request that is delivered is not cancelled by
    /// dropping its future: somebody else waits for it.
    #[must_use]
    pub fn upon_result(mut self, recipient: Recipient<RequestDone>) -> Self {
        self.upon_result = Some(recipient);
        self
    }

    /// Has it refused with [`Rejection::QueueFull`] when as many wait as may. By default it waits for
    /// room, and who sends it with it.
    #[must_use]
    pub fn refuse_if_full(mut self) -> Self {
        self.if_full = IfFull::Refuse;
        self
    }

    /// Its number: what [`Cancel`](crate::Cancel) goes by.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// What can be said about it before anybody looks at the methods.
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

/// How long a name may be, in bytes.
pub(crate) const NAME_MAX: usize = 1024;

impl fmt::Debug for NewRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRequest")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("from", &self.from)
            .field("terms", &self.options)
            .finish_non_exhaustive()
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct RequestParts {
    pub(crate) id: RequestId,
    pub(crate) name: CowStr,
    pub(crate) from: CowStr,
    pub(crate) params: Body,
}

/// A request: as it comes back with its outcome, or as the fallback gets it.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) parts: RequestParts,
    pub(crate) run: RunInfo,
}

/// What is known of a request's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RunInfo {
    pub(crate) elapsed: Duration,
    pub(crate) run_time: Duration,
    pub(crate) attempts: u32,
    pub(crate) pid: Option<Pid>,
}

impl Request {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.parts.id
    }

    /// What it asked for. The original's `method_name`.
    #[must_use]
    pub fn method_name(&self) -> &str {
        &self.parts.name
    }

    /// Who has asked.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.parts.from
    }

    /// Decodes its parameters.
    ///
    /// # Errors
    ///
    /// In words, when they are of another type.
    pub fn params<P: DeserializeOwned>(&self) -> Result<P, String> {
        self.parts.params.decode()
    }

    /// How long it took, from when it was taken into the queue until its answer was there.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.run.elapsed
    }

    /// How long its handler ran in the worker that has answered; zero if none has.
    #[must_use]
    pub fn run_time(&self) -> Duration {
        self.run.run_time
    }

    /// How often it was sent to a worker; 0 if never.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.run.attempts
    }

    /// The worker that had it last; none if it was never sent, or ran in place.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.run.pid
    }
}

/// Delivered to the recipient of [`NewRequest::upon_result`]: a request and its outcome.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct RequestDone {
    /// What was asked for.
    pub request: Request,
    /// What has become of it.
    pub outcome: TaskResult,
}
