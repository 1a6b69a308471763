//! What is left to do when the fork server is lost, or has gone home.

use daemon_core::{Exit, SlotNumber};
use daemon_sys::process::{self, Pid, Signal};
use daemon_sys::reap;

use super::{ChildId, ForkServer, ForkServerError};
use crate::protocol::to_core_exit;
use crate::transfer::Transfer;

impl<R: Transfer> ForkServer<R> {
    /// Gives back the requests of children that a lost fork server has not reported born.
    ///
    /// Such a child may live all the same: the fork server may have died between the fork and its
    /// report.
    pub fn take_pending(&mut self) -> Vec<(ChildId, R)> {
        let board = self.scoreboard.board();
        (0..)
            .map(SlotNumber::new)
            .zip(&mut self.pending)
            .filter_map(|(slot, pending)| {
                let child = ChildId { slot, generation: board.read(slot).generation };
                Some((child, pending.take()?))
            })
            .collect()
    }

    /// Signals what is left of the fork server's process group when the fork server itself is lost.
    ///
    /// The fork server must not have been [buried](Fork server::bury): as long as it is a zombie its
    /// group's number cannot be another's.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn signal_orphaned(&self, signal: Signal) -> Result<(), ForkServerError> {
        process::signal_group(self.pid, signal).map(drop).map_err(ForkServerError::from)
    }

    /// Whether all children of a lost fork server are gone. Like
    /// [`signal_orphaned`](Fork server::signal_orphaned) it wants the fork server unburied.
    #[must_use]
    pub fn orphaned_are_gone(&self) -> bool {
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

    /// Reaps the fork server's process if it is gone.
    ///
    /// # Errors
    ///
    /// When somebody else has reaped it.
    pub fn reap(&self) -> Result<Option<Exit>, ForkServerError> {
        Ok(reap::reap(self.pid)?.map(to_core_exit))
    }
}
