//! What the parent's rules can have done: the nursery's orders, seen as a trait so that the rules
//! are tried out with hands that only take notes.

use daemon_core::Board;
use daemon_nursery::{ChildId, Handover, Nursery, NurseryError, Unforked};
use daemon_sys::process::Signal;

use super::kills::OutOfMemoryKills;

/// The orders of the parent.
pub(crate) trait Hands<R> {
    /// Orders a child with this request.
    fn fork(&mut self, request: R) -> Result<ChildId, Unforked<R>>;
    /// Signals one child.
    fn signal(&mut self, child: ChildId, signal: Signal);
    /// Signals all children.
    fn signal_all(&mut self, signal: Signal);
    /// Tells the nursery that no more child is needed.
    fn let_go(&mut self);
    /// Has the nursery see whether a child is still there, and report its end if not.
    fn look_for(&mut self, child: ChildId);
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

/// The real hands: a nursery, and the first loss of it, kept until somebody asks.
#[derive(Debug)]
pub(crate) struct NurseryHands<R> {
    pub(crate) nursery: Nursery<R>,
    pub(crate) lost: Option<NurseryError>,
    pub(crate) kills: OutOfMemoryKills,
}

impl<R: Handover> NurseryHands<R> {
    fn note(&mut self, done: Result<(), NurseryError>) {
        if let Err(error) = done {
            self.lost.get_or_insert(error);
        }
    }
}

impl<R: Handover> Hands<R> for NurseryHands<R> {
    fn fork(&mut self, request: R) -> Result<ChildId, Unforked<R>> {
        self.nursery.fork(request)
    }

    fn signal(&mut self, child: ChildId, signal: Signal) {
        let done = self.nursery.signal(child, signal);
        self.note(done);
    }

    fn signal_all(&mut self, signal: Signal) {
        let done = self.nursery.signal_all(signal);
        self.note(done);
    }

    fn let_go(&mut self) {
        let done = self.nursery.let_go();
        self.note(done);
    }

    fn look_for(&mut self, child: ChildId) {
        let done = self.nursery.look_for(child);
        self.note(done);
    }

    fn memory(&mut self) -> Memory {
        self.kills.look()
    }

    fn board(&self) -> Board {
        self.nursery.board()
    }
}
