//! How the size of a pool is decided: by its spare children, or by what is asked of it.

use daemon_core::{Counts, DemandScaler, MonotonicTime, Pool, PoolDecision};

use crate::messages::{CommandError, Resize, Resized};

/// The rule of a pool's size.
#[derive(Debug)]
pub(crate) enum Sizing {
    /// So many are to be idle.
    Spares(Pool),
    /// As many as are asked for.
    Demand {
        /// The rule.
        growth: DemandScaler,
        /// How many pieces of work have nobody to do them, as was told last.
        waiting: u32,
    },
}

impl Sizing {
    pub(crate) fn decide(&mut self, counts: &Counts, now: MonotonicTime) -> PoolDecision {
        match self {
            Sizing::Spares(pool) => pool.decide(counts, now),
            Sizing::Demand { growth, waiting } => growth.decide(counts, *waiting, now),
        }
    }

    pub(crate) fn max_children(&self) -> u32 {
        match self {
            Sizing::Spares(pool) => pool.rules().max_children,
            Sizing::Demand { growth, .. } => growth.rules().max_children,
        }
    }

    /// How many children shall be idle at least.
    pub(crate) fn min_idle(&self) -> u32 {
        match self {
            Sizing::Spares(pool) => pool.rules().min_spare,
            Sizing::Demand { waiting, .. } => u32::from(*waiting > 0),
        }
    }

    pub(crate) fn resize(&mut self, resize: Resize, slots: u32) -> Result<Resized, CommandError> {
        match self {
            Sizing::Spares(pool) => super::resize::pool(pool, resize),
            Sizing::Demand { growth, .. } => super::resize::growth(growth, slots, resize),
        }
    }
}
