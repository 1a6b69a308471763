//! What the parent's rules can have done: the fork server's orders, seen as a trait so that the rules
//! are tried out with hands that only take notes.

use daemon_core::Board;
use daemon_forkserver::{ChildId, ForkError, ForkServer, ForkServerError, Transfer};
use daemon_sys::process::Signal;

use super::oom_kills::OomKillCounter;

/// The orders of the parent.
pub(crate) trait ProcessControl<R> {
    /// Orders a child with this request.
    fn fork(&mut self, request: R) -> Result<ChildId, ForkError<R>>;
    /// Signals one child.
    fn signal(&mut self, child: ChildId, signal: Signal);
    /// Signals all children.
    fn signal_all(&mut self, signal: Signal);
    /// Tells the fork server that no more child is needed.
    fn release(&mut self);
    /// Has the fork server see whether a child is still there, and report its end if not.
    fn check_child(&mut self, child: ChildId);
    /// Whether the kernel has killed for want of memory since it was last asked.
    fn memory(&mut self) -> OomKills;
    /// The scoreboard.
    fn board(&self) -> Board;
}

/// Whether memory has run out, by the counter of the kernel's oom_kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OomKills {
    /// The counter has gone up.
    New,
    /// It has not, or nobody may read it.
    Unchanged,
}

/// The real hands: a fork server, and the first loss of it, kept until somebody asks.
#[derive(Debug)]
pub(crate) struct ForkServerControl<R> {
    pub(crate) fork_server: ForkServer<R>,
    pub(crate) lost: Option<ForkServerError>,
    pub(crate) oom_kills: OomKillCounter,
}

impl<R: Transfer> ForkServerControl<R> {
    fn note(&mut self, done: Result<(), ForkServerError>) {
        if let Err(error) = done {
            self.lost.get_or_insert(error);
        }
    }
}

impl<R: Transfer> ProcessControl<R> for ForkServerControl<R> {
    fn fork(&mut self, request: R) -> Result<ChildId, ForkError<R>> {
        self.fork_server.fork(request)
    }

    fn signal(&mut self, child: ChildId, signal: Signal) {
        let done = self.fork_server.signal(child, signal);
        self.note(done);
    }

    fn signal_all(&mut self, signal: Signal) {
        let done = self.fork_server.signal_all(signal);
        self.note(done);
    }

    fn release(&mut self) {
        let done = self.fork_server.release();
        self.note(done);
    }

    fn check_child(&mut self, child: ChildId) {
        let done = self.fork_server.check_child(child);
        self.note(done);
    }

    fn memory(&mut self) -> OomKills {
        self.oom_kills.look()
    }

    fn board(&self) -> Board {
        self.fork_server.board()
    }
}
