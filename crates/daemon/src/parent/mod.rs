//! The parent's side: its rules, apart from its actor, and what the two stand on.

mod actor;
mod foreign;
mod hands;
mod household;
mod reception;
mod registry;
mod reload;
mod resize;
mod stop;

pub use actor::DaemonActor;

pub(crate) use actor::{Home, Parent, Signalled};
pub(crate) use hands::NurseryHands;
pub(crate) use household::{Household, Times};
