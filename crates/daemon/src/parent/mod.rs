//! The parent's side: its rules, apart from its actor, and what the two stand on.

mod actor;
mod asker;
mod discipline;
mod foreign;
mod hands;
mod household;
mod kills;
mod orders;
mod reception;
mod registration;
mod registry;
mod reload;
mod requests;
mod resize;
mod sizing;
mod stop;

pub use actor::DaemonActor;

pub(crate) use actor::{Home, Parent};
pub(crate) use hands::ForkServerHands;
pub(crate) use household::{Household, Times};
pub(crate) use kills::OutOfMemoryKills;
pub(crate) use requests::Signalled;
