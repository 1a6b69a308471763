//! The parent's end of the link to a worker.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use actix_daemon::dispatching::RequestFactory;
use actix_daemon::{ChildId, Pid};
use daemon_core::ExitCause;
use daemon_sys::link::{self, LinkEnd};
use daemon_sys::memfd::ReceivedFile;
use daemon_sys::stdio::output_pipe;
use futures::channel::oneshot;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::closer;
use crate::frame::{FinishedTask, FrameReader, FrameWriter, Received};
use crate::methods::Methods;
use crate::request::CowStr;
use crate::worker::WorkerFds;

/// Reads from a link. If all available data was read, also clears the readiness of the watch, so
/// that the watch waits for new data and the runtime does not wake up needlessly.
pub(crate) fn receive(
    inbox: &mut FrameReader,
    end: &LinkEnd,
    watch: &AsyncFd<OwnedFd>,
) -> io::Result<Received> {
    let received = inbox.receive(end)?;
    match received {
        Received::Drained => {
            let nothing = |_: &OwnedFd| Err::<(), _>(io::ErrorKind::WouldBlock.into());
            // The result is always the error of the closure.
            let _ = watch.try_io(Interest::READABLE, nothing);
        }
        Received::More | Received::Closed => {}
    }
    Ok(received)
}

/// Waits until the link is writable.
pub(crate) async fn writable(end: &LinkEnd) -> io::Result<()> {
    let copy = end.as_fd().try_clone_to_owned()?;
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
    pub(crate) end: LinkEnd,
    pub(crate) out: OwnedFd,
    pub(crate) err: OwnedFd,
}

/// Links that wait until the dispatcher takes them over.
#[derive(Debug, Default)]
pub(crate) struct NewLinks {
    waiting: RefCell<Vec<NewLink>>,
    changed: Notify,
}

impl NewLinks {
    /// Waits until a link has been added.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Removes and returns all links.
    pub(crate) fn take(&self) -> Vec<NewLink> {
        self.waiting.take()
    }
}

/// Creates links for new workers. Calls the hook `fork_preinit` before it creates each link. In
/// `POE::Component::PreforkDispatch`, this hook is called `_fork_preinit`.
pub(crate) struct LinkFactory {
    methods: Rc<Methods>,
    links: Rc<NewLinks>,
    parent_ends: Option<ParentEnds>,
}

impl LinkFactory {
    pub(crate) fn new(methods: Rc<Methods>, links: Rc<NewLinks>) -> LinkFactory {
        LinkFactory { methods, links, parent_ends: None }
    }
}

impl fmt::Debug for LinkFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkFactory")
    }
}

impl RequestFactory<WorkerFds> for LinkFactory {
    fn make_request(&mut self) -> io::Result<WorkerFds> {
        if let Some(preinit) = &self.methods.hooks.fork_preinit {
            preinit();
        }
        let (parent, worker) = link::pair().map_err(io::Error::other)?;
        let (out, worker_out) = output_pipe().map_err(io::Error::other)?;
        let (err, worker_err) = output_pipe().map_err(io::Error::other)?;
        self.parent_ends = Some(ParentEnds { end: parent, out, err });
        Ok((worker.into(), worker_out, worker_err))
    }

    fn fork_requested(&mut self, child: ChildId) {
        if let Some(parent) = self.parent_ends.take() {
            self.links.waiting.borrow_mut().push(NewLink { child, parent });
            self.links.changed.notify_one();
        }
    }
}

/// The link to a worker and its state.
#[derive(Debug)]
pub(crate) struct WorkerLink {
    pub(crate) child: ChildId,
    pub(crate) end: Rc<LinkEnd>,
    pub(crate) inbox: FrameReader,
    /// Whether the start of a message has been received, but not the whole message.
    pub(crate) is_in_message: bool,
    /// An answer with a large body. The following messages wait until the body has been read.
    pub(crate) large_answer: LargeAnswer,
    /// The exit of the worker, if it was reported while a large body was being read.
    pub(crate) exit: Option<WorkerExit>,
    /// Wakes the async task that reads the link when a large answer has arrived, or when the link has
    /// been removed.
    pub(crate) wake: Rc<Notify>,
    /// Wakes the async task that waits until the link is writable when the link has been removed.
    pub(crate) removed: Rc<Notify>,
    pub(crate) outbox: FrameWriter,
    pub(crate) pid: Option<Pid>,
    pub(crate) setup: SetupState,
    /// The method of the task that was sent last. The output of the worker is attributed to this
    /// method while no task is running.
    pub(crate) last_method: CowStr,
    /// Whether an async task waits to flush the link.
    pub(crate) send_retry: SendRetry,
    /// The number of consecutive failed sends, not counting those that failed because the worker
    /// had closed the link. It determines the delay before the next retry.
    pub(crate) failed_sends: u32,
    /// Whether this link is in the engine's list of links with unsent data.
    pub(crate) is_dirty: bool,
    /// Ends the tasks that read the worker's output when the link is dropped.
    _running: oneshot::Sender<()>,
    /// Whether the parent has closed the link for writing, so that the worker exits.
    pub(crate) is_shut_down: bool,
}

/// An answer whose body is too large to be read at once.
#[derive(Debug, Default)]
pub(crate) enum LargeAnswer {
    #[default]
    None,
    /// The answer has arrived, and its body is read next.
    Arrived(FinishedTask, ReceivedFile),
    /// The body is being read.
    BeingRead,
}

/// How a worker ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerExit {
    pub(crate) cause: ExitCause,
    /// The number of requests that the worker had served.
    pub(crate) requests: u64,
}

/// What a worker has reported about itself, and whether its link can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetupState {
    Starting,
    Ready,
    /// The worker starts no further task.
    Leaving,
    /// Nothing more is read or sent, because of an invalid message or an error. The worker is killed.
    Broken,
}

/// Whether an async task waits until the link is writable, or until the retry delay has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendRetry {
    Idle,
    Waiting,
}

impl WorkerLink {
    /// Creates the link. Also returns the watch that reports when the link is readable.
    pub(crate) fn new(
        child: ChildId,
        end: LinkEnd,
        running: oneshot::Sender<()>,
    ) -> io::Result<(WorkerLink, AsyncFd<OwnedFd>)> {
        let copy = end.as_fd().try_clone_to_owned()?;
        let watch = daemon_sys::watch::readable(copy).map_err(io::Error::other)?;
        let link = WorkerLink {
            child,
            end: Rc::new(end),
            inbox: FrameReader::from_worker(),
            is_in_message: false,
            large_answer: LargeAnswer::None,
            exit: None,
            wake: Rc::default(),
            removed: Rc::default(),
            outbox: FrameWriter::default(),
            pid: None,
            setup: SetupState::Starting,
            last_method: CowStr::Borrowed("-"),
            send_retry: SendRetry::Idle,
            failed_sends: 0,
            is_dirty: false,
            _running: running,
            is_shut_down: false,
        };
        Ok((link, watch))
    }
}

impl Drop for WorkerLink {
    fn drop(&mut self) {
        self.wake.notify_one();
        self.removed.notify_one();
        if let LargeAnswer::Arrived(_, file) = std::mem::take(&mut self.large_answer) {
            closer::close(file);
        }
        let unused = self.inbox.take_descriptors();
        if !unused.is_empty() {
            closer::close(unused);
        }
    }
}
