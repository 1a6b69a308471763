//! The child process: its state, its actor, and its main function.

mod actor;
mod confinement;
mod handle;
mod run;
mod state;
mod title;

pub use actor::ChildActor;
pub use handle::ChildHandle;

pub(crate) use confinement::{Confinement, Tracing};
pub(crate) use run::run_child;
pub(crate) use state::NextAction;
pub(crate) use title::ProcessTitle;

use std::sync::Arc;
use std::time::Duration;

use daemon_core::{ChildKind, Jitter, RequestLimit};
use daemon_protocol::ModelKind;
use daemon_sys::stdio::LogFile;
use slog::Logger;

use crate::log;

/// The data that each process of a daemon needs.
#[derive(Debug, Clone)]
pub(crate) struct ProcessContext {
    pub(crate) alias: String,
    /// The parent's pid.
    pub(crate) parent: u32,
    pub(crate) grace: Duration,
    pub(crate) model: ModelKind,
    pub(crate) child_kind: ChildKind,
    pub(crate) requests: RequestLimit,
    pub(crate) jitter: Jitter,
    pub(crate) log: Logger,
    /// The interval of a child's heartbeats; `None` if heartbeats are off.
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) log_file: Option<Arc<LogFile>>,
}

impl ProcessContext {
    /// Reopens the log file, if there is one.
    pub(crate) fn reopen_log(&self) -> Result<(), daemon_sys::Error> {
        match (self.log_file.as_deref(), log::is_redirected()) {
            (None, _) => Ok(()),
            (Some(file), false) => file.reopen(),
            (Some(file), true) => file.reopen_without_redirect(),
        }
    }
}
