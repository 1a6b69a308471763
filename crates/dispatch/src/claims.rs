//! The claims of all workers, in memory that is shared with them. A [`Claim`] records whether a
//! task belongs to the parent or to the worker that the task was sent to.

use daemon_core::{
    AbortResult, Claim, FinishResult, MonotonicTime, Owner, RevokeResult, StartResult,
};
use daemon_sys::shared;

use crate::scheduler::{Claims, IN_FLIGHT_MAX};

/// For each slot of the scoreboard, one claim for each task that its worker can have in flight.
///
/// The tasks that are sent to the workers of a slot are numbered. The number of a task is its turn,
/// which selects the task's claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedClaims {
    cells: &'static [Claim],
}

impl SharedClaims {
    /// Allocates the claims for this number of slots. Must be called before the first fork, so that
    /// all processes share the claims.
    pub(crate) fn new(slots: usize) -> Result<SharedClaims, daemon_sys::Error> {
        Ok(SharedClaims { cells: shared::anonymous(slots.max(1) * IN_FLIGHT_MAX)? })
    }

    /// Returns the number of slots.
    pub(crate) fn slots(&self) -> usize {
        self.cells.len() / IN_FLIGHT_MAX
    }

    fn cell(&self, slot: usize, turn: u64) -> Option<&'static Claim> {
        let within = usize::try_from(turn % IN_FLIGHT_MAX as u64).ok()?;
        self.cells.get(slot * IN_FLIGHT_MAX + within)
    }

    /// Claims the task of this turn for the worker in this slot.
    pub(crate) fn start(&self, slot: usize, turn: u64, now: MonotonicTime) -> StartResult {
        self.cell(slot, turn).map_or(StartResult::Revoked, |cell| cell.start(turn, now))
    }

    /// Marks the task of this turn as finished by the worker in this slot.
    pub(crate) fn finish(&self, slot: usize, turn: u64) -> FinishResult {
        self.cell(slot, turn).map_or(FinishResult::Aborted, |cell| cell.finish(turn))
    }

    /// Records that the parent has read the answer to the task of this turn.
    pub(crate) fn acknowledge(&self, slot: usize, turn: u64) {
        if let Some(cell) = self.cell(slot, turn) {
            cell.acknowledge(turn);
        }
    }

    /// Returns whether the parent has read the answer to the task of this turn. If so, the memory
    /// of the answer can be reused.
    pub(crate) fn is_acknowledged(&self, slot: usize, turn: u64) -> bool {
        self.cell(slot, turn).is_some_and(|cell| cell.is_acknowledged(turn))
    }
}

impl Claims for SharedClaims {
    fn offer(&self, slot: usize, turn: u64) {
        if let Some(cell) = self.cell(slot, turn) {
            cell.offer(turn);
        }
    }

    fn revoke(&self, slot: usize, turn: u64) -> RevokeResult {
        self.cell(slot, turn).map_or(RevokeResult::AlreadyStarted, |cell| cell.revoke(turn))
    }

    fn abort(&self, slot: usize, turn: u64) -> AbortResult {
        self.cell(slot, turn).map_or(AbortResult::NotRunning, |cell| cell.abort(turn))
    }

    fn owner(&self, slot: usize, turn: u64) -> Owner {
        self.cell(slot, turn).map_or(Owner::Sender, |cell| cell.owner(turn))
    }
}
