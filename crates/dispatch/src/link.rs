//! The link to a worker, as a runtime watches it, and the parent's end of it.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use actix_daemon::dispatching::RequestFactory;
use actix_daemon::{ChildId, Pid};
use daemon_sys::link::{self, LinkEnd};
use daemon_sys::stdio::output_pipe;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::frame::{FrameReader, FrameWriter, Received};
use crate::methods::Methods;
use crate::request::CowStr;
use crate::worker::WorkerFds;

/// Takes in what has come. When that was all, the watch forgets that there was something: it is
/// woken by what comes next, and need not look in vain.
pub(crate) fn receive(
    inbox: &mut FrameReader,
    end: &LinkEnd,
    watch: &AsyncFd<OwnedFd>,
) -> io::Result<Received> {
    let received = inbox.receive(end)?;
    match received {
        Received::Drained => {
            let nothing = |_: &OwnedFd| Err::<(), _>(io::ErrorKind::WouldBlock.into());
            // It tells what it was told.
            let _ = watch.try_io(Interest::READABLE, nothing);
        }
        Received::More | Received::Closed => {}
    }
    Ok(received)
}

/// Waits until the link takes more.
pub(crate) async fn writable(end: &LinkEnd) -> io::Result<()> {
    let copy = end.as_fd().try_clone_to_owned()?;
    let watch = daemon_sys::watch::writable(copy).map_err(io::Error::other)?;
    drop(watch.writable().await?);
    Ok(())
}

/// The parent's ends of what a worker was born with.
#[derive(Debug)]
pub(crate) struct NewLink {
    pub(crate) child: ChildId,
    pub(crate) parent: ParentEnds,
}

/// The link, and what the worker prints.
#[derive(Debug)]
pub(crate) struct ParentEnds {
    pub(crate) end: LinkEnd,
    pub(crate) out: OwnedFd,
    pub(crate) err: OwnedFd,
}

/// Links that were made and are to be taken over by the dispatcher.
#[derive(Debug, Default)]
pub(crate) struct NewLinks {
    waiting: RefCell<Vec<NewLink>>,
    changed: Notify,
}

impl NewLinks {
    /// Waits until there are some.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes those that there are.
    pub(crate) fn take(&self) -> Vec<NewLink> {
        self.waiting.take()
    }
}

/// Who makes links for children: the original's `_fork_preinit` runs here.
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
        f.write_str("Linker")
    }
}

impl RequestFactory<WorkerFds> for LinkFactory {
    fn make_request(&mut self) -> io::Result<WorkerFds> {
        if let Some(preinit) = &self.methods.hooks.fork_preinit {
            preinit();
        }
        let (parent, worker) = link::pair().map_err(io::Error::other)?;
        let (out, far_out) = output_pipe().map_err(io::Error::other)?;
        let (err, far_err) = output_pipe().map_err(io::Error::other)?;
        self.parent_ends = Some(ParentEnds { end: parent, out, err });
        Ok((worker.into(), far_out, far_err))
    }

    fn fork_requested(&mut self, child: ChildId) {
        if let Some(parent) = self.parent_ends.take() {
            self.links.waiting.borrow_mut().push(NewLink { child, parent });
            self.links.changed.notify_one();
        }
    }
}

/// A worker as its link shows it.
#[derive(Debug)]
pub(crate) struct WorkerLink {
    pub(crate) child: ChildId,
    pub(crate) end: Rc<LinkEnd>,
    pub(crate) watch: Rc<AsyncFd<OwnedFd>>,
    pub(crate) inbox: FrameReader,
    pub(crate) outbox: FrameWriter,
    pub(crate) pid: Option<Pid>,
    pub(crate) setup: SetupState,
    /// What it does or did last: what it prints is of that.
    pub(crate) last: CowStr,
    /// Whether somebody waits for the link to take more.
    pub(crate) send_retry: SendRetry,
    /// How often in a row it could not be sent to, for want of something that is no worker's fault.
    pub(crate) failed_sends: u32,
    pub(crate) dirty: bool,
}

/// Whether a worker has said that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetupState {
    Starting,
    Ready,
}

/// Whether a task waits until there is room to write, or until it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendRetry {
    Idle,
    Waiting,
}

impl WorkerLink {
    pub(crate) fn new(child: ChildId, end: LinkEnd) -> io::Result<WorkerLink> {
        let copy = end.as_fd().try_clone_to_owned()?;
        let watch = daemon_sys::watch::readable(copy).map_err(io::Error::other)?;
        Ok(WorkerLink {
            child,
            end: Rc::new(end),
            watch: Rc::new(watch),
            inbox: FrameReader::default(),
            outbox: FrameWriter::default(),
            pid: None,
            setup: SetupState::Starting,
            last: CowStr::Borrowed("-"),
            send_retry: SendRetry::Idle,
            failed_sends: 0,
            dirty: false,
        })
    }
}
