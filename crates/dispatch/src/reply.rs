//! Where an answer goes, and how it is noticed that nobody waits for it any more.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use actix::dev::OneshotSender;
use tokio::sync::Notify;

use crate::answer::TaskResult;
use crate::scheduler::JobKey;

/// Who waits for an answer in a future.
pub(crate) trait AnswerSender {
    /// Tells it.
    fn tell(self: Box<Self>, outcome: TaskResult);
    /// Whether it is gone; if not, this waker is woken when it goes.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Where an answer goes.
pub(crate) enum Reply {
    /// Nobody waits in a future.
    Nobody,
    /// The future of a [`NewRequest`](crate::NewRequest).
    Plain(OneshotSender<TaskResult>),
    /// The future of another message.
    Other(Box<dyn AnswerSender>),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reply::Nobody => "Nobody",
            Reply::Plain(_) => "Plain",
            Reply::Other(_) => "Other",
        })
    }
}

impl Reply {
    pub(crate) fn tell(self, outcome: TaskResult) {
        match self {
            Reply::Nobody => {}
            // Who has gone has said that nothing is to be told.
            Reply::Plain(sender) => drop(sender.send(outcome)),
            Reply::Other(other) => other.tell(outcome),
        }
    }

    /// Whether somebody waits in a future.
    pub(crate) fn is_awaited(&self) -> bool {
        match self {
            Reply::Nobody => false,
            Reply::Plain(_) | Reply::Other(_) => true,
        }
    }

    /// Whether the future is gone; if not, the hangups hear of it when it goes.
    pub(crate) fn is_gone(&mut self, key: JobKey, hangups: &Arc<DroppedFutures>) -> bool {
        let waker = match self {
            Reply::Nobody => return false,
            Reply::Plain(_) | Reply::Other(_) => {
                Waker::from(Arc::new(DropWaker { key, hangups: Arc::clone(hangups) }))
            }
        };
        let gone = poll_fn(|cx| match self {
            Reply::Nobody => Poll::Pending,
            Reply::Plain(sender) => sender.poll_closed(cx),
            Reply::Other(other) => other.poll_closed(cx),
        });
        // Or else the runtime might wake it to have others go on first.
        let gone = pin!(tokio::task::unconstrained(gone));
        gone.poll(&mut Context::from_waker(&waker)).is_ready()
    }
}

/// Requests whose futures were dropped, from whatever thread.
#[derive(Debug, Default)]
pub(crate) struct DroppedFutures {
    keys: Mutex<Vec<JobKey>>,
    bell: Notify,
}

impl DroppedFutures {
    /// Waits until there are some.
    pub(crate) async fn come(&self) {
        self.bell.notified().await;
    }

    /// Takes those that there are.
    pub(crate) fn take(&self) -> Vec<JobKey> {
        std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is woken when a future is dropped.
struct DropWaker {
    key: JobKey,
    hangups: Arc<DroppedFutures>,
}

impl Wake for DropWaker {
    fn wake(self: Arc<Self>) {
        self.hangups.keys.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
        self.hangups.bell.notify_one();
    }
}
