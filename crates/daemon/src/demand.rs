//! The pool whose size is decided by demand, and what its children are born with.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use daemon_core::{DemandRules, Jitter, RequestLimit};
use daemon_forkserver::ChildId;

use crate::error::ConfigError;
use crate::model::{Checked, Model, Rules};

/// Makes what each child of an [`OnDemand`] pool is born with: one end of a link to it, for one.
///
/// It runs in the parent, right before a fork is ordered.
pub trait RequestFactory<R>: 'static {
    /// Makes the request for the next child.
    ///
    /// # Errors
    ///
    /// If it cannot be made: no descriptor is left, say. It counts as a fork that failed, and is
    /// tried again after a while.
    fn make_request(&mut self) -> io::Result<R>;

    /// The child that gets what was made last is ordered. It may still fail to be born: then the
    /// request is dropped.
    fn ordered(&mut self, child: ChildId);
}

/// The daemon's share in who makes requests for its children.
pub(crate) struct SharedRequestFactory<R>(Rc<RefCell<dyn RequestFactory<R>>>);

impl<R: 'static> SharedRequestFactory<R> {
    pub(crate) fn new(make_request: impl RequestFactory<R>) -> Self {
        SharedRequestFactory(Rc::new(RefCell::new(make_request)))
    }

    pub(crate) fn make_request(&self) -> io::Result<R> {
        self.0.borrow_mut().make_request()
    }

    pub(crate) fn ordered(&self, child: ChildId) {
        self.0.borrow_mut().ordered(child);
    }
}

impl<R> Clone for SharedRequestFactory<R> {
    fn clone(&self) -> Self {
        SharedRequestFactory(Rc::clone(&self.0))
    }
}

impl<R> fmt::Debug for SharedRequestFactory<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endowment")
    }
}

/// What children of a pool that accepts by itself are born with.
pub(crate) struct Nothing;

impl RequestFactory<()> for Nothing {
    fn make_request(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn ordered(&mut self, _child: ChildId) {}
}

/// A pool of standing children that are each born with a request, as many as are asked for.
///
/// The parent gives them their work: it tells with [`Demand`](crate::Demand) how much of it has
/// nobody to do it, and the pool grows for that up to `max_children`. It does not shrink by itself.
/// See `actix-dispatch`, which is made of it.
#[derive(Debug, Clone)]
pub struct OnDemand<R> {
    start_children: u32,
    max_children: u32,
    interval: Duration,
    requests: RequestLimit,
    jitter: Jitter,
    request_factory: SharedRequestFactory<R>,
}

impl<R: 'static> OnDemand<R> {
    /// Sets how many children there may be at any instant, and who makes what they are born with.
    #[must_use]
    pub fn new(children: u32, make_request: impl RequestFactory<R>) -> Self {
        OnDemand {
            start_children: 0,
            max_children: children,
            interval: Duration::ZERO,
            requests: RequestLimit::Unlimited,
            jitter: Jitter::default(),
            request_factory: SharedRequestFactory::new(make_request),
        }
    }

    /// Sets how many children there are whatever is asked for, from the start on; none by default.
    #[must_use]
    pub fn start_children(mut self, children: u32) -> Self {
        self.start_children = children;
        self
    }

    /// Sets how long after a fork that was asked for the next one may follow. Zero by default: as
    /// many as are asked for at once.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets after how many requests a child is replaced; 0 means never, which is the default.
    #[must_use]
    pub fn requests(mut self, requests: u32) -> Self {
        self.requests = RequestLimit::of(requests);
        self
    }

    /// Sets by how many percent at most a child's share of `requests` is smaller than that. 10 by
    /// default, at most 50.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }
}

impl<R: 'static> Model<R> for OnDemand<R> {
    fn check(self) -> Result<Checked<R>, ConfigError> {
        let OnDemand { start_children, max_children, interval, requests, jitter, request_factory } =
            self;
        let rules = DemandRules { start: start_children, max_children, interval }.check()?;
        Ok(Checked(Rules::OnDemand { rules, requests, jitter, request_factory }))
    }
}
