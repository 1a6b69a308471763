//! What the fork server has to tell, made of what it reports.

use daemon_core::{Entry, Exit, Generation, SlotNumber};
use daemon_sys::process::Pid;

use super::{ChildId, ForkServer};
use crate::protocol::{ForkRefusal, Report};
use crate::transfer::Transfer;

/// What the fork server has to tell. Nobody may pass over any of it.
#[derive(Debug)]
pub enum ForkServerEvent<R> {
    /// A child lives. The parent's copy of its request has been dropped.
    Born {
        /// Which child.
        child: ChildId,
        /// Its process.
        pid: Pid,
    },
    /// A fork failed, and its request is back. The slot is free again.
    ForkFailed {
        /// Which child it would have been.
        child: ChildId,
        /// What it would have been handed.
        request: R,
        /// Why.
        refusal: ForkRefusal,
    },
    /// A child is gone and reaped; its slot is free again.
    Exited {
        /// Which child.
        child: ChildId,
        /// Which process it was.
        pid: Pid,
        /// How it ended.
        exit: Exit,
        /// The last that its line on the scoreboard said.
        last: Entry,
    },
    /// The fork server could not do what a hangup asks.
    ReopenLogsFailed {
        /// Why.
        error: String,
    },
}

impl<R: Transfer> ForkServer<R> {
    /// Turns a report into an event, and keeps the seats in order. A report about a seat that is
    /// not what it says is nobody's event.
    pub(super) fn event(&mut self, report: Report) -> Option<ForkServerEvent<R>> {
        match report {
            Report::ChildBorn { slot, generation, pid } => {
                let child = self.child_in_slot(slot, generation)?;
                self.pending.get_mut(child.slot.index())?.take()?;
                Some(ForkServerEvent::Born { child, pid: Pid::from_raw(pid)? })
            }
            Report::ForkFailed { slot, generation, error } => {
                let child = self.child_in_slot(slot, generation)?;
                let request = self.pending.get_mut(child.slot.index())?.take()?;
                self.free_slot(child.slot);
                Some(ForkServerEvent::ForkFailed { child, request, refusal: error })
            }
            Report::ChildExited { slot, generation, pid, exit } => {
                let child = self.child_in_slot(slot, generation)?;
                let last = self.free_slot(child.slot);
                Some(ForkServerEvent::Exited { child, pid: Pid::from_raw(pid)?, exit, last })
            }
            Report::ReopenLogsFailed { error } => Some(ForkServerEvent::ReopenLogsFailed { error }),
            Report::Ready | Report::PreloadFailed { .. } => None,
        }
    }

    fn child_in_slot(&self, slot: u32, generation: u32) -> Option<ChildId> {
        if slot >= self.scoreboard.slots() {
            return None;
        }
        let child =
            ChildId { slot: SlotNumber::new(slot), generation: Generation::new(generation) };
        (self.scoreboard.read(child.slot).generation == child.generation).then_some(child)
    }
}
