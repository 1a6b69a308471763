//! Rogue children: the limits of a child, the ladder of steps against a child that violates them,
//! and the babysitter, which keeps the state of each child.
//!
//! `POE::Component::Daemon` limits the total CPU time only; its ladder of INT, TERM and KILL, two
//! intervals apart, is the default here.

mod babysitter;
mod ladder;
mod limits;

pub use babysitter::{
    Action, ActionKind, Babysitter, Confirmation, Presence, ProcessSample, ScanResult,
};
pub use ladder::{Ladder, LadderError, LadderStep};
pub use limits::{Assessment, Limits, Usage};
