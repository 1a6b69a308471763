//! Rogue children: the limits of a child, the ladder of steps against a child that violates a
//! limit, and the babysitter, which keeps the state of each child.
//!
//! `POE::Component::Daemon` limits only the total CPU time. Its ladder is the default here, too:
//! INT, TERM and KILL, two intervals of the babysitter apart.

mod babysitter;
mod ladder;
mod limits;

pub use babysitter::{
    Action, ActionKind, Babysitter, Confirmation, Presence, ProcessSample, ScanResult,
};
pub use ladder::{Ladder, LadderError, LadderStep};
pub use limits::{Assessment, Limits, Usage};
