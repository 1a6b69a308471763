//! All the housework of a daemon, as actix actors.
//!
//! (front page to come)

mod acceptor;
mod builder;
mod child;
mod error;
mod launch;
mod listen;
mod log;
pub mod messages;
mod model;
mod parent;
mod peek;
mod program;
mod serve;
mod sessions;
mod settings;
mod signals;
mod status;

pub use acceptor::{Accepted, ChildAcceptor, ParentAcceptor};
pub use builder::{Builder, Daemon};
pub use child::{ChildActor, ChildHandle};
pub use error::{ConfigError, DaemonError};
pub use launch::Launched;
pub use listen::Listen;
pub use log::logger;
pub use messages::*;
pub use model::{Checked, Kind, Model, PostFork, PreFork, Solo};
pub use parent::DaemonActor;
pub use program::Program;
pub use serve::Outcome;
pub use sessions::Broadcast;
pub use settings::OnHup;
pub use status::{ChildReport, Counters, DoorState, Report, Reporter};

pub use daemon_core::{Cause, Exit, Jitter};
pub use daemon_nursery::{ChildId, Handover, HandoverError, Serde};
pub use daemon_sys::limits::Resource;
pub use daemon_sys::process::Pid;
