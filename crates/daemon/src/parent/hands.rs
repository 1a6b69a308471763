//! What the parent's rules can have done: the nursery's orders, seen as a trait so that the rules
//! are tried out with hands that only take notes.

use daemon_core::Board;
use daemon_nursery::{ChildId, Handover, Nursery, NurseryError, Unforked};
use daemon_sys::process::Signal;

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
    /// The scoreboard.
    fn board(&self) -> Board;
}

/// The real hands: a nursery, and the first loss of it, kept until somebody asks.
#[derive(Debug)]
pub(crate) struct NurseryHands<R> {
    pub(crate) nursery: Nursery<R>,
    pub(crate) lost: Option<NurseryError>,
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

    fn board(&self) -> Board {
        self.nursery.board()
    }
}
