//! The parent process: the supervisor, the actor, and the modules that both use.

mod actor;
mod backlog;
mod enforcement;
mod foreign;
mod oom_kills;
mod operator;
mod origin;
mod process_control;
mod registration;
mod registry;
mod reload;
mod requests;
mod resize;
mod sizing;
mod stop;
mod supervisor;

pub use actor::DaemonActor;

pub(crate) use actor::{Parent, Supervision};
pub(crate) use oom_kills::OomKillCounter;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use oom_kills::parse_oom_kills;
pub(crate) use process_control::ForkServerControl;
pub(crate) use requests::SignalReceived;
pub(crate) use supervisor::{Supervisor, SupervisorTimeouts};
