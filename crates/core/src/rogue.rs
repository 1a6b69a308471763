//! Rogue children: what a child may use and how long it may take, the ladder of steps against one
//! that does not keep to it, and the babysitter that remembers who stands where.
//!
//! `POE::Component::Daemon` looks at total processor time alone; its ladder of INT, TERM and KILL,
//! two intervals apart, is the default here.

mod babysitter;
mod ladder;
mod limits;

pub use babysitter::{
    Action, ActionKind, Babysitter, Confirmation, Presence, ProcessSample, ScanResult,
};
pub use ladder::{Ladder, LadderError, LadderStep};
pub use limits::{Assessment, Limits, Usage};
