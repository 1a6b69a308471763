//! What the parent can do after the fork server was lost or has shut down.

use daemon_core::{ChildId, Exit, SlotNumber};
use daemon_sys::process::{self, Pid, Signal};
use daemon_sys::reap;

use super::{ForkServer, ForkServerError};
use crate::transfer::Transfer;

impl<R: Transfer> ForkServer<R> {
    /// Returns the requests of the children that a lost fork server has not reported as
    /// [`Forked`](crate::ForkServerEvent::Forked).
    ///
    /// Such a child may exist nevertheless: the fork server may have died between the fork and the
    /// report.
    pub fn take_pending(&mut self) -> Vec<(ChildId, R)> {
        let board = self.scoreboard.view();
        (0..)
            .map(SlotNumber::new)
            .zip(&mut self.pending)
            .filter_map(|(slot, pending)| {
                let child = ChildId { slot, generation: board.read(slot).generation };
                Some((child, pending.take()?))
            })
            .collect()
    }

    /// Sends a signal to the remaining processes of a lost fork server's process group.
    ///
    /// Call this before the fork server is [reaped](ForkServer::reap). Until then no other process
    /// group can get the same number.
    ///
    /// # Errors
    ///
    /// If the system refuses to send the signal.
    pub fn signal_orphaned(&self, signal: Signal) -> Result<(), ForkServerError> {
        process::signal_group(self.pid, signal).map(drop).map_err(ForkServerError::from)
    }

    /// Returns whether all children of a lost fork server have exited.
    ///
    /// As with [`signal_orphaned`](ForkServer::signal_orphaned), call this before the fork server
    /// is reaped.
    #[must_use]
    pub fn orphaned_are_gone(&self) -> bool {
        let is_gone = |pid: Pid| {
            // If this process is the init process of its container, or a subreaper, the orphaned
            // children are now its own children.
            let _reaped = reap::reap(pid);
            process::group_of(pid) != Some(self.pid)
        };
        // A pid that the fork server has not reported is the one on the line. It is only examined
        // here, so a wrong one does no harm.
        self.scoreboard.entries().filter_map(|entry| Pid::from_u32(entry.pid)).all(is_gone)
    }

    /// Reaps the fork server if it has exited, and returns how it exited; `None` if it is running.
    ///
    /// # Errors
    ///
    /// If other code has reaped the fork server.
    pub fn reap(&self) -> Result<Option<Exit>, ForkServerError> {
        Ok(reap::reap(self.pid)?)
    }
}
