//! What is left to do when the nursery is lost, or has gone home.

use daemon_core::{Exit, SlotNumber};
use daemon_sys::process::{self, Pid, Signal};
use daemon_sys::reap;

use super::{ChildId, Nursery, NurseryError};
use crate::handover::Handover;
use crate::orders::told;

impl<R: Handover> Nursery<R> {
    /// Gives back the requests of children that a lost nursery has not reported born.
    ///
    /// Such a child may live all the same: the nursery may have died between the fork and its
    /// report.
    pub fn take_unborn(&mut self) -> Vec<(ChildId, R)> {
        let board = self.scoreboard.board();
        (0..)
            .map(SlotNumber::new)
            .zip(&mut self.unborn)
            .filter_map(|(slot, unborn)| {
                let child = ChildId { slot, generation: board.read(slot).generation };
                Some((child, unborn.take()?))
            })
            .collect()
    }

    /// Signals what is left of the nursery's process group when the nursery itself is lost.
    ///
    /// The nursery must not have been [buried](Nursery::bury): as long as it is a zombie its
    /// group's number cannot be another's.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn signal_bereaved(&self, signal: Signal) -> Result<(), NurseryError> {
        process::signal_group(self.pid, signal).map(drop).map_err(NurseryError::from)
    }

    /// Whether all children of a lost nursery are gone. Like
    /// [`signal_bereaved`](Nursery::signal_bereaved) it wants the nursery unburied.
    #[must_use]
    pub fn bereaved_are_gone(&self) -> bool {
        let is_gone = |pid: Pid| {
            // To a parent that is the init of its container, or a subreaper, they are children now.
            let _reaped = reap::reap(pid);
            process::group_of(pid) != Some(self.pid)
        };
        self.scoreboard
            .entries()
            .filter_map(|entry| i32::try_from(entry.pid).ok().and_then(Pid::from_raw))
            .all(is_gone)
    }

    /// Reaps the nursery's process if it is gone.
    ///
    /// # Errors
    ///
    /// When somebody else has reaped it.
    pub fn bury(&self) -> Result<Option<Exit>, NurseryError> {
        Ok(reap::reap(self.pid)?.map(told))
    }
}
