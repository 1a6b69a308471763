//! What the parent's rules can have done: the fork server's orders, seen as a trait so that the rules
//! are tried out with hands that only take notes.

use daemon_core::Board;
use daemon_forkserver::{ChildId, ForkError, ForkServer, ForkServerError, Transfer};
use daemon_sys::process::Signal;

use super::kills::OutOfMemoryKills;

/// The orders of the parent.
pub(crate) trait Hands<R> {
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
    fn memory(&mut self) -> Memory;
    /// The scoreboard.
    fn board(&self) -> Board;
}

/// Whether memory has run out, by the counter of the kernel's kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// The counter has gone up.
    HasRunOut,
    /// It has not, or nobody may read it.
    Lasts,
}

/// The real hands: a fork server, and the first loss of it, kept until somebody asks.
#[derive(Debug)]
pub(crate) struct ForkServerHands<R> {
    pub(crate) fork_server: ForkServer<R>,
    pub(crate) lost: Option<ForkServerError>,
    pub(crate) kills: OutOfMemoryKills,
}

impl<R: Transfer> ForkServerHands<R> {
    fn note(&mut self, done: Result<(), ForkServerError>) {
        if let Err(error) = done {
            self.lost.get_or_insert(error);
        }
    }
}

impl<R: Transfer> Hands<R> for ForkServerHands<R> {
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

    fn memory(&mut self) -> Memory {
        self.kills.look()
    }

    fn board(&self) -> Board {
        self.fork_server.board()
    }
}
