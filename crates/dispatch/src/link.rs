//! The parent's ends of the link to a worker.
//!
//! A link has two sockets, one for each direction. With one socket, a worker that waits for a task
//! would be woken each time the parent reads its last answer, because the socket then accepts more
//! data.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, Waker};

use actix_daemon::{ChildId, Pid};
use daemon_core::ExitCause;
use daemon_forkserver::channel::Channel;
use daemon_sys::link::LinkEnd;
use daemon_sys::memfd::ReceivedFile;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::frame::{ANSWER_LIMITS, FinishedTask, LinkChannel, ORDER_LIMITS};
use crate::request::CowStr;

/// Closes these descriptors in a thread of their own.
///
/// A worker can send any descriptor, and closing it can take long: a socket can linger, a file can
/// be on a file system that does not answer, and the memory of a large file must be freed. If no
/// thread can be created, the descriptors are closed at once.
pub(crate) fn close_in_thread<T: Send + 'static>(descriptors: T) {
    let thread = std::thread::Builder::new().name("closer".to_owned());
    // If this fails, the closure is dropped, and the descriptors with it.
    let _ = thread.stack_size(64 * 1024).spawn(move || drop(descriptors));
}

/// Clears the readiness of a watch whose link has no more data, so that the watch waits for new
/// data and the runtime does not wake up needlessly.
pub(crate) fn clear_readable(watch: &AsyncFd<OwnedFd>) {
    let nothing = |_: &OwnedFd| Err::<(), _>(io::ErrorKind::WouldBlock.into());
    // The result is always the error of the closure.
    let _ = watch.try_io(Interest::READABLE, nothing);
}

/// Waits until the link is writable.
pub(crate) async fn writable(link: &LinkChannel) -> io::Result<()> {
    let copy = link.as_fd().try_clone_to_owned()?;
    let watch = daemon_sys::watch::writable(copy).map_err(io::Error::other)?;
    drop(watch.writable().await?);
    Ok(())
}

/// The link to a worker that is being forked.
#[derive(Debug)]
pub(crate) struct NewLink {
    pub(crate) child: ChildId,
    pub(crate) parent: ParentEnds,
}

/// The parent's ends of the link and of the worker's output pipes.
#[derive(Debug)]
pub(crate) struct ParentEnds {
    /// The parent sends tasks here.
    pub(crate) orders: LinkEnd,
    /// The worker sends messages here.
    pub(crate) answers: LinkEnd,
    /// Watches whether messages have arrived.
    pub(crate) watch: AsyncFd<OwnedFd>,
    pub(crate) out: OwnedFd,
    pub(crate) err: OwnedFd,
}

/// The link to a worker and its state.
#[derive(Debug)]
pub(crate) struct WorkerLink {
    pub(crate) child: ChildId,
    /// The parent sends tasks here.
    pub(crate) orders: LinkChannel,
    /// The worker sends messages here.
    pub(crate) answers: LinkChannel,
    /// Wakes `waker` when a message has arrived.
    watch: AsyncFd<OwnedFd>,
    waker: Waker,
    /// Wakes `waker` when the link is writable again.
    writable: Option<AsyncFd<OwnedFd>>,
    /// Whether the start of a message has been received, but not the whole message.
    pub(crate) is_in_message: bool,
    /// An answer whose large body is being read. The following messages wait.
    pub(crate) large_answer: Option<LargeAnswer>,
    /// The exit of the worker, if it was reported while a large body was being read.
    pub(crate) exit: Option<WorkerExit>,
    pub(crate) pid: Option<Pid>,
    pub(crate) setup: SetupState,
    /// Whether the worker was ready for tasks.
    pub(crate) has_been_ready: bool,
    /// The method of the task that was sent last. The output of the worker is attributed to this
    /// method while no task is running.
    pub(crate) last_method: CowStr,
    /// Whether a failed send is retried after a delay.
    pub(crate) is_retrying: bool,
    /// The number of consecutive failed sends, not counting those that failed because the worker
    /// had closed the link. It determines the delay before the next retry.
    pub(crate) failed_sends: u32,
    /// Whether this link is in the engine's list of links with unsent data.
    pub(crate) is_dirty: bool,
    /// Whether the parent has closed the link for writing, so that the worker exits.
    pub(crate) is_shut_down: bool,
}

/// An answer whose body is too large to be read at once.
#[derive(Debug)]
pub(crate) struct LargeAnswer {
    pub(crate) finished: FinishedTask,
    pub(crate) file: ReceivedFile,
    /// The part of the body that has been read.
    pub(crate) bytes: Vec<u8>,
}

/// How a worker ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerExit {
    pub(crate) cause: ExitCause,
    /// The number of requests that the worker had served.
    pub(crate) requests: u64,
}

/// What a worker has reported about itself, and whether its link can be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SetupState {
    Starting,
    Ready,
    /// The worker starts no further task.
    Leaving,
    /// Nothing more is read or sent, because of an invalid message or an error. The worker is
    /// killed.
    Broken,
    /// Nothing is read or sent, because a hook for this worker has panicked, which is the reason.
    /// The worker is killed.
    Refused(String),
}

impl WorkerLink {
    /// Creates the link. `waker` is woken when the link is readable, or writable again.
    pub(crate) fn new(
        child: ChildId,
        orders: LinkEnd,
        answers: LinkEnd,
        watch: AsyncFd<OwnedFd>,
        waker: Waker,
    ) -> WorkerLink {
        WorkerLink {
            child,
            orders: Channel::new(orders, ORDER_LIMITS),
            answers: Channel::new(answers, ANSWER_LIMITS),
            watch,
            waker,
            writable: None,
            is_in_message: false,
            large_answer: None,
            exit: None,
            pid: None,
            setup: SetupState::Starting,
            has_been_ready: false,
            last_method: CowStr::Borrowed("-"),
            is_retrying: false,
            failed_sends: 0,
            is_dirty: false,
            is_shut_down: false,
        }
    }

    /// Returns whether nothing more is read or sent.
    pub(crate) fn is_unusable(&self) -> bool {
        match self.setup {
            SetupState::Starting | SetupState::Ready | SetupState::Leaving => false,
            SetupState::Broken | SetupState::Refused(_) => true,
        }
    }

    /// Waits until the link is readable again. Returns whether it is readable now.
    pub(crate) fn watch_readable(&self) -> bool {
        clear_readable(&self.watch);
        let ready = self.watch.poll_read_ready(&mut Context::from_waker(&self.waker));
        matches!(ready, Poll::Ready(Ok(_)))
    }

    /// Waits until the link is writable. Returns `false` if the system cannot watch the link.
    pub(crate) fn watch_writable(&mut self) -> bool {
        if self.writable.is_none() {
            self.writable = self
                .orders
                .as_fd()
                .try_clone_to_owned()
                .ok()
                .and_then(|copy| daemon_sys::watch::writable(copy).ok());
        }
        let Some(watch) = &self.writable else { return false };
        if watch.poll_write_ready(&mut Context::from_waker(&self.waker)).is_ready() {
            self.waker.wake_by_ref();
        }
        true
    }

    /// Returns whether the link was full and is writable again.
    pub(crate) fn is_writable_again(&mut self) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        self.writable.take_if(|watch| watch.poll_write_ready(&mut cx).is_ready()).is_some()
    }

    /// Closes the link for writing, so that the worker receives no further tasks and exits.
    pub(crate) fn shut_down(&mut self) {
        self.is_shut_down = true;
        // The worker may have exited already.
        let _ = daemon_sys::link::shutdown_write(self.orders.end());
    }

    /// Closes the link of a worker that has exited, with all descriptors that the worker has sent.
    pub(crate) fn close(self) {
        let file = self.large_answer.map(|large| large.file);
        let (orders, _) = self.orders.into_descriptors();
        let ends = (orders, self.answers.into_descriptors(), self.watch.into_inner());
        close_in_thread((ends, file));
    }
}
