//! How the size of a pool is decided: by the number of spare children, or by demand.

use daemon_core::{Counts, DemandScaler, MonotonicTime, Pool, PoolDecision};

use crate::messages::{CommandError, Resize, Resized};

/// The rule for the size of a pool.
#[derive(Debug)]
pub(crate) enum Sizing {
    /// Keeps the number of spare children between two limits.
    Spares(Pool),
    /// Grows the pool with the number of tasks that wait for a child.
    Demand {
        /// Decides how many children to fork and to retire.
        scaler: DemandScaler,
        /// The last reported number of tasks that wait for a child.
        queue_depth: u32,
    },
}

impl Sizing {
    pub(crate) fn decide(&mut self, counts: &Counts, now: MonotonicTime) -> PoolDecision {
        match self {
            Sizing::Spares(pool) => pool.decide(counts, now),
            Sizing::Demand { scaler, queue_depth } => scaler.decide(counts, *queue_depth, now),
        }
    }

    pub(crate) fn max_children(&self) -> u32 {
        match self {
            Sizing::Spares(pool) => pool.rules().max_children,
            Sizing::Demand { scaler, .. } => scaler.rules().max_children,
        }
    }

    /// Returns the minimum number of idle children according to the rule.
    pub(crate) fn min_idle(&self) -> u32 {
        match self {
            Sizing::Spares(pool) => pool.rules().min_spare,
            Sizing::Demand { queue_depth, .. } => u32::from(*queue_depth > 0),
        }
    }

    pub(crate) fn resize(&mut self, resize: Resize, slots: u32) -> Result<Resized, CommandError> {
        match self {
            Sizing::Spares(pool) => super::resize::pool(pool, resize),
            Sizing::Demand { scaler, .. } => super::resize::demand(scaler, slots, resize),
        }
    }
}
