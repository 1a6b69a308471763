//! The model of a pool that grows with the queue of the parent, and the messages about that queue.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix::Message;
use daemon_core::{ChildId, DemandRules, Jitter, Pid, RequestLimit, Violation};

use super::{CheckedModel, Model, Rules};
use crate::error::ConfigError;
use crate::messages::CommandError;

/// Reports how many tasks wait for a child of an [`OnDemand`] pool.
///
/// The number is valid until the next message of this type. The other models ignore this message.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct SetQueueDepth(pub u32);

/// Asks the parent to kill a child as a rogue.
///
/// A session in the parent sends this message if it detects a violation itself and does not wait
/// for the babysitter.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<ChildId, CommandError>")]
pub struct KillRogue {
    /// The child's pid.
    pub pid: Pid,
    /// The limit that the child violates.
    pub violation: Violation,
}

/// Makes the request that each child of an [`OnDemand`] pool starts with.
///
/// The factory runs in the parent, right before the parent asks the fork server to fork the child.
pub trait RequestFactory<R>: 'static {
    /// Makes the request for the next child.
    ///
    /// # Errors
    ///
    /// If the request cannot be made, for example because the process has no descriptor left. The
    /// daemon handles this error like a failed fork and tries again after a delay.
    fn make_request(&mut self) -> io::Result<R>;

    /// Called when the fork server has been asked to fork a child. The child receives the request
    /// that [`make_request`](RequestFactory::make_request) returned last.
    ///
    /// If the fork fails after this call, the request is dropped.
    fn fork_requested(&mut self, child: ChildId);

    /// Called when no child is forked: the request cannot be made or sent to the fork server, or
    /// the fork has failed. `child` is the child of
    /// [`fork_requested`](RequestFactory::fork_requested) if that was called.
    fn fork_failed(&mut self, child: Option<ChildId>, reason: &dyn fmt::Display);
}

/// A [`RequestFactory`] that the daemon can clone.
pub(crate) struct SharedRequestFactory<R>(Rc<RefCell<dyn RequestFactory<R>>>);

impl<R: 'static> SharedRequestFactory<R> {
    pub(crate) fn new(factory: impl RequestFactory<R>) -> Self {
        SharedRequestFactory(Rc::new(RefCell::new(factory)))
    }

    pub(crate) fn make_request(&self) -> io::Result<R> {
        self.0.borrow_mut().make_request()
    }

    pub(crate) fn fork_requested(&self, child: ChildId) {
        self.0.borrow_mut().fork_requested(child);
    }

    pub(crate) fn fork_failed(&self, child: Option<ChildId>, reason: &dyn fmt::Display) {
        self.0.borrow_mut().fork_failed(child, reason);
    }
}

impl<R> Clone for SharedRequestFactory<R> {
    fn clone(&self) -> Self {
        SharedRequestFactory(Rc::clone(&self.0))
    }
}

impl<R> fmt::Debug for SharedRequestFactory<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedRequestFactory")
    }
}

/// The factory for children that accept their requests themselves.
pub(crate) struct NoRequest;

impl RequestFactory<()> for NoRequest {
    fn make_request(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn fork_requested(&mut self, _child: ChildId) {}

    fn fork_failed(&mut self, _child: Option<ChildId>, _reason: &dyn fmt::Display) {}
}

/// A model: a pool of children that grows with the queue of the parent.
///
/// Each child starts with a request from a [`RequestFactory`]. The parent reports the length of its
/// queue with [`SetQueueDepth`], and the pool grows up to `max_children`. The pool does not shrink
/// when the queue becomes empty.
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
    /// Creates a pool of at most `max_children` children that start with requests from this
    /// factory.
    #[must_use]
    pub fn new(max_children: u32, factory: impl RequestFactory<R>) -> Self {
        OnDemand {
            start_children: 0,
            max_children,
            interval: Duration::ZERO,
            requests: RequestLimit::Unlimited,
            jitter: Jitter::default(),
            request_factory: SharedRequestFactory::new(factory),
        }
    }

    /// Sets the number of children to start with, which is also the minimum number of children. 0
    /// by default.
    #[must_use]
    pub fn start_children(mut self, children: u32) -> Self {
        self.start_children = children;
        self
    }

    /// Sets the minimum time between two forks that the queue causes. Zero by default, so all
    /// children that the queue needs are forked at once.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the number of requests after which a child is replaced. 0, the default, means never.
    #[must_use]
    pub fn requests(mut self, requests: u32) -> Self {
        self.requests = RequestLimit::new(requests);
        self
    }

    /// Sets the maximum percentage by which a child's quota is smaller than `requests`, so that the
    /// children are not all replaced at the same time. 10 by default, at most 50.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }
}

impl<R: 'static> Model<R> for OnDemand<R> {
    fn check(self) -> Result<CheckedModel<R>, ConfigError> {
        let OnDemand { start_children, max_children, interval, requests, jitter, request_factory } =
            self;
        let rules = DemandRules { start: start_children, max_children, interval }.check()?;
        Ok(CheckedModel(Rules::OnDemand { rules, requests, jitter, request_factory }))
    }
}
