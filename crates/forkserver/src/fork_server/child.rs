//! Who a child is, for parent and fork server.

use std::fmt;

use daemon_core::{Generation, SlotNumber};

/// Who a child is: its slot, and which of the slot's owners it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChildId {
    /// Its line on the scoreboard.
    pub slot: SlotNumber,
    /// Counts the slot's owners.
    pub generation: Generation,
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child {}", self.slot)
    }
}
