//! Delivery of results to futures, and detection of futures that were dropped.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use actix::dev::OneshotSender;

use crate::answer::TaskResult;

/// The sending half of a future that waits for a decoded result.
pub(crate) trait AnswerSender: Send {
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

    /// Returns whether the future was dropped. If not, the waker is woken when the future is
    /// dropped. The waker can also be woken without a reason.
    pub(crate) fn is_gone(&mut self, waker: impl FnOnce() -> Waker) -> bool {
        if !self.is_awaited() {
            return false;
        }
        let waker = waker();
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
