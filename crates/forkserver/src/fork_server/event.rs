//! Events of the fork server, made from its reports.

use daemon_core::{ChildId, Exit, SlotEntry, Status};
use daemon_sys::process::Pid;

use super::ForkServer;
use crate::protocol::{ForkRefusal, Report};
use crate::transfer::Transfer;

/// An event of the fork server. The parent must handle every event.
#[derive(Debug)]
pub enum ForkServerEvent<R> {
    /// A child was forked. The parent's copy of its request has been dropped.
    Forked {
        /// The child.
        child: ChildId,
        /// The child's pid.
        pid: Pid,
    },
    /// A fork failed. The slot is free again.
    ForkFailed {
        /// The child that was not forked.
        child: ChildId,
        /// The child's request.
        request: R,
        /// Why the fork failed.
        refusal: ForkRefusal,
    },
    /// A child has exited and was reaped. Its slot is free again.
    Exited {
        /// The child.
        child: ChildId,
        /// The pid that the child had.
        pid: Pid,
        /// How the child exited.
        exit: Exit,
        /// The last contents of the child's scoreboard slot.
        last: SlotEntry,
    },
    /// The fork server could not reopen its logs.
    ReopenLogsFailed {
        /// Why the logs could not be reopened.
        error: String,
    },
}

impl<R: Transfer> ForkServer<R> {
    /// Turns a report into an event, and updates the slots. Returns `None` for a report of the
    /// preload step, and if the slot no longer belongs to the child that the report names.
    pub(super) fn event(&mut self, report: Report) -> Option<ForkServerEvent<R>> {
        match report {
            Report::ChildForked { child, pid } => {
                self.check_slot(child)?;
                self.pending.get_mut(child.slot.index())?.take()?;
                self.scoreboard.set_pid(child.slot, pid.as_u32());
                Some(ForkServerEvent::Forked { child, pid })
            }
            Report::ForkFailed { child, error } => {
                self.check_slot(child)?;
                let request = self.pending.get_mut(child.slot.index())?.take()?;
                self.free_slot(child.slot);
                Some(ForkServerEvent::ForkFailed { child, request, refusal: error })
            }
            Report::ChildExited { child, pid, exit } => {
                self.check_slot(child)?;
                let last = self.free_slot(child.slot);
                Some(ForkServerEvent::Exited { child, pid, exit, last })
            }
            Report::ReopenLogsFailed { error } => Some(ForkServerEvent::ReopenLogsFailed { error }),
            Report::Ready | Report::PreloadFailed { .. } => None,
        }
    }

    /// Returns `None` if the slot does not belong to this child.
    fn check_slot(&self, child: ChildId) -> Option<()> {
        // The view's generation and the status of a free slot are those that this process has
        // given to the slot, whatever the line of the slot contains.
        let entry = self.scoreboard.view().read(child.slot);
        let is_open = entry.status.is_some_and(|status| status != Status::Empty);
        (is_open && entry.generation == child.generation).then_some(())
    }
}
