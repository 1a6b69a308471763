//! The claims of all workers: memory that is shared with them from before the launch.

use daemon_core::{
    AbortResult, Claim, FinishResult, MonotonicTime, Owner, RevokeResult, StartResult,
};
use daemon_sys::shared;

use crate::scheduler::{Claims, IN_FLIGHT_MAX};

/// So many cells for each slot of the scoreboard: as many as a worker has in hand at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedClaims {
    cells: &'static [Claim],
}

impl SharedClaims {
    /// Makes it, for so many slots; before the first fork.
    pub(crate) fn make(slots: usize) -> Result<SharedClaims, daemon_sys::Error> {
        Ok(SharedClaims { cells: shared::anonymous(slots.max(1) * IN_FLIGHT_MAX)? })
    }

    /// For how many slots it is.
    pub(crate) fn slots(&self) -> usize {
        self.cells.len() / IN_FLIGHT_MAX
    }

    fn cell(&self, slot: usize, turn: u64) -> Option<&'static Claim> {
        let within = usize::try_from(turn % IN_FLIGHT_MAX as u64).ok()?;
        self.cells.get(slot * IN_FLIGHT_MAX + within)
    }

    /// The worker in this slot begins the task of this turn, if it may.
    pub(crate) fn begin(&self, slot: usize, turn: u64, now: MonotonicTime) -> StartResult {
        self.cell(slot, turn).map_or(StartResult::Revoked, |cell| cell.start(turn, now))
    }

    /// The worker in this slot has done the task of this turn.
    pub(crate) fn end(&self, slot: usize, turn: u64) -> FinishResult {
        self.cell(slot, turn).map_or(FinishResult::Aborted, |cell| cell.finish(turn))
    }

    /// The parent has taken in what the worker in this slot has told of the task of this turn.
    pub(crate) fn hear(&self, slot: usize, turn: u64) {
        if let Some(cell) = self.cell(slot, turn) {
            cell.acknowledge(turn);
        }
    }

    /// Whether it has: what it was told in may be written again.
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

    fn condemn(&self, slot: usize, turn: u64) -> AbortResult {
        self.cell(slot, turn).map_or(AbortResult::NotRunning, |cell| cell.abort(turn))
    }

    fn owner(&self, slot: usize, turn: u64) -> Owner {
        self.cell(slot, turn).map_or(Owner::Sender, |cell| cell.owner(turn))
    }
}
