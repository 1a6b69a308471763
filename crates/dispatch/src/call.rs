//! What a handler knows of the call that it serves.

use std::rc::Rc;
use std::time::Duration;

use actix_daemon::{ChildHandle, UpdateStatus};
use daemon_core::MonotonicTime;
use daemon_forkserver::now;

use crate::request::RequestId;

/// A call of a method: who asks, for what, and how much time is left. Cheap to clone.
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
    begun: MonotonicTime,
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
        begun: MonotonicTime,
        child: Option<ChildHandle>,
    ) -> Call {
        let (name, from) = (name.to_owned(), from.to_owned());
        Call {
            inner: Rc::new(Inner { id: RequestId(id), name, from, attempt, begun, soft, child }),
        }
    }

    /// The number of the request.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.inner.id
    }

    /// The name by which the method was called.
    #[must_use]
    pub fn method_name(&self) -> &str {
        &self.inner.name
    }

    /// Who asks. The original's first argument, `from`.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.inner.from
    }

    /// Which attempt this is, the first being 1: a later one says that a worker has died over it.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.inner.attempt
    }

    /// How much time is left until the soft limit; none if there is no limit, zero if it is passed.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let limit = self.inner.soft?;
        Some(limit.saturating_sub(now().saturating_since(self.inner.begun)))
    }

    /// Whether the soft limit is passed: a handler that answers with an error then has timed out;
    /// one that has its value after all may answer with it.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    /// Waits until the soft limit is passed, for an async handler to give up; for ever if there is
    /// none.
    pub async fn overdue(&self) {
        match self.remaining() {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    }

    /// Says that it takes long: `l` on the scoreboard.
    pub fn mark_long(&self) {
        if let Some(child) = &self.inner.child {
            // Who serves may always say so.
            let _ = child.update_status(UpdateStatus::Long);
        }
    }

    /// Says in a few words what is being done, for the scoreboard and ps(1), until the next call.
    pub fn label(&self, text: &str) {
        if let Some(child) = &self.inner.child {
            child.label(text);
        }
    }

    /// How long it has taken up to now.
    pub(crate) fn taken(&self) -> Duration {
        now().saturating_since(self.inner.begun)
    }
}
