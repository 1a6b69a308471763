//! Delivery of results to futures, and detection of futures that were dropped.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use actix::dev::OneshotSender;
use tokio::sync::Notify;

use crate::answer::TaskResult;
use crate::scheduler::JobKey;

/// The sending half of a future that waits for a decoded result.
pub(crate) trait AnswerSender {
    /// Completes the future.
    fn send(self: Box<Self>, outcome: TaskResult);
    /// Returns `Ready` if the future was dropped. Otherwise the waker is woken when the future is
    /// dropped.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Where a result is sent.
pub(crate) enum ReplySender {
    /// No future waits for the result.
    None,
    /// The future of a [`NewRequest`](crate::NewRequest).
    Request(OneshotSender<TaskResult>),
    /// The future of a [`RunTask`](crate::RunTask).
    Task(Box<dyn AnswerSender>),
}

impl fmt::Debug for ReplySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReplySender::None => "None",
            ReplySender::Request(_) => "Request",
            ReplySender::Task(_) => "Task",
        })
    }
}

impl ReplySender {
    /// Sends the result, if a future waits for it.
    pub(crate) fn send(self, outcome: TaskResult) {
        match self {
            ReplySender::None => {}
            // If the future was dropped, the result is not wanted.
            ReplySender::Request(sender) => drop(sender.send(outcome)),
            ReplySender::Task(sender) => sender.send(outcome),
        }
    }

    /// Returns whether a future waits for the result.
    pub(crate) fn is_awaited(&self) -> bool {
        match self {
            ReplySender::None => false,
            ReplySender::Request(_) | ReplySender::Task(_) => true,
        }
    }

    /// Returns whether the future was dropped. If not, `dropped` records the key when the future is
    /// dropped.
    pub(crate) fn is_gone(&mut self, key: JobKey, dropped: &Arc<DroppedFutures>) -> bool {
        let waker = match self {
            ReplySender::None => return false,
            ReplySender::Request(_) | ReplySender::Task(_) => {
                Waker::from(Arc::new(DropWaker { key, dropped: Arc::clone(dropped) }))
            }
        };
        let gone = poll_fn(|cx| match self {
            ReplySender::None => Poll::Pending,
            ReplySender::Request(sender) => sender.poll_closed(cx),
            ReplySender::Task(other) => other.poll_closed(cx),
        });
        // Without `unconstrained`, this poll could return `Pending` although the future was
        // dropped, if tokio's cooperative budget is used up.
        let gone = pin!(tokio::task::unconstrained(gone));
        gone.poll(&mut Context::from_waker(&waker)).is_ready()
    }
}

/// The keys of requests whose futures were dropped. A future can be dropped on any thread.
#[derive(Debug, Default)]
pub(crate) struct DroppedFutures {
    keys: Mutex<Vec<JobKey>>,
    added: Notify,
}

impl DroppedFutures {
    /// Waits until a future has been dropped.
    pub(crate) async fn wait(&self) {
        self.added.notified().await;
    }

    /// Removes and returns all keys.
    pub(crate) fn take(&self) -> Vec<JobKey> {
        std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The waker that is woken when a future is dropped.
struct DropWaker {
    key: JobKey,
    dropped: Arc<DroppedFutures>,
}

impl Wake for DropWaker {
    fn wake(self: Arc<Self>) {
        self.dropped.keys.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
        self.dropped.added.notify_one();
    }
}
