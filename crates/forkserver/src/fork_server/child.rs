//! How parent and fork server identify a child.

use std::fmt;

use daemon_core::{Generation, SlotNumber};

/// Identifies a child by its slot and the slot's generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChildId {
    /// The child's scoreboard slot.
    pub slot: SlotNumber,
    /// The slot's generation, which counts the children that have used the slot.
    pub generation: Generation,
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child {}", self.slot)
    }
}
