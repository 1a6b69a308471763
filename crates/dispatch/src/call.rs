//! The context of a call, as the handler sees it.

use std::rc::Rc;
use std::time::Duration;

use actix_daemon::{ChildHandle, UpdateStatus};
use daemon_core::MonotonicTime;
use daemon_forkserver::now;

use crate::request::RequestId;

/// The context of a method call: the request's id, name and sender, and the time left.
///
/// Each handler receives a `Call` as its first argument. Cloning a `Call` is cheap.
#[derive(Debug, Clone)]
pub struct Call {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: RequestId,
    name: String,
    from: String,
    attempt: u32,
    started_at: MonotonicTime,
    soft: Option<Duration>,
    child: Option<ChildHandle>,
}

impl Call {
    pub(crate) fn new(
        id: u64,
        name: &str,
        from: &str,
        attempt: u32,
        soft: Option<Duration>,
        started_at: MonotonicTime,
        child: Option<ChildHandle>,
    ) -> Call {
        let (name, from) = (name.to_owned(), from.to_owned());
        Call {
            inner: Rc::new(Inner {
                id: RequestId(id),
                name,
                from,
                attempt,
                started_at,
                soft,
                child,
            }),
        }
    }

    /// Returns the id of the request.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.inner.id
    }

    /// Returns the name by which the method was called.
    #[must_use]
    pub fn method_name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the sender's name, as set by [`NewRequest::from`](crate::NewRequest::from).
    ///
    /// In `POE::Component::PreforkDispatch`, a method receives this name as its first argument.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.inner.from
    }

    /// Returns the number of this attempt, starting at 1.
    ///
    /// The number is greater than 1 if the task runs again because another worker died while it ran
    /// the task.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.inner.attempt
    }

    /// Returns the time left until the soft limit. Returns zero if the limit has passed, and `None`
    /// if there is no limit.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let limit = self.inner.soft?;
        Some(limit.saturating_sub(now().saturating_since(self.inner.started_at)))
    }

    /// Returns whether the soft limit has passed.
    ///
    /// If the handler returns an error after the limit has passed, the request fails with
    /// [`Failure::TimedOut`](crate::Failure::TimedOut). The handler can still return a value.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    /// Completes when the soft limit passes. Never completes if there is no limit.
    ///
    /// An async handler can `select!` on this future to give up in time.
    pub async fn overdue(&self) {
        match self.remaining() {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    }

    /// Sets the worker's status to `long`, shown as `l` on the scoreboard.
    pub fn mark_long(&self) {
        if let Some(child) = &self.inner.child {
            // A child that runs a task can always set this status. If the task has ended, the
            // refusal is logged.
            let _ = child.update_status(UpdateStatus::Long);
        }
    }

    /// Sets the label of the worker, shown on the scoreboard and by ps(1), until the worker runs a
    /// task of another method.
    ///
    /// By default the label is the name of the method.
    pub fn label(&self, text: &str) {
        if let Some(child) = &self.inner.child {
            child.label(text);
        }
    }

    /// Returns the time since the call began.
    pub(crate) fn elapsed(&self) -> Duration {
        now().saturating_since(self.inner.started_at)
    }
}
