//! The seam to who takes the evidence of what a child does.

use actix::{Message, Recipient};
use daemon_sys::process::Pid;

/// Asks for the evidence of what this child does now: lines for people, and a value for programs.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<(String, serde_json::Value), ControlError>")]
pub struct TraceChild(pub Pid);

/// Why something that was asked for on the control socket was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No child has this process.
    #[error("no child is process {pid}")]
    NoSuchChild {
        /// Which was asked for.
        pid: Pid,
    },
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
}

/// Who takes evidence: whoever handles [`TraceChild`], if anybody does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracer(pub(crate) Option<Recipient<TraceChild>>);

impl Tracer {
    pub(crate) async fn trace(
        &self,
        pid: Pid,
    ) -> Result<(String, serde_json::Value), ControlError> {
        let Some(tracer) = &self.0 else {
            return Err(ControlError::Failed("no evidence can be taken".to_owned()));
        };
        match tracer.send(TraceChild(pid)).await {
            Ok(evidence) => evidence,
            Err(gone) => Err(ControlError::Failed(gone.to_string())),
        }
    }
}
