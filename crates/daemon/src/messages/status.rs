//! Messages that a session in a child sends to report what it does.

use std::time::Duration;

use actix::Message;

use super::broadcasts::ShutdownReason;

/// Records what the session of a child does. In the original, `POE::Component::Daemon`, this
/// message is called `update_status`.
///
/// Returns what the session does next ([`Updated`]), or why the status was refused
/// ([`StatusError`]).
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<Updated, StatusError>")]
pub enum UpdateStatus {
    /// Ready for a request: `w` on the scoreboard, or `.` before the first request.
    Wait,
    /// Handling a request: `r`. After `Long`, `Req` continues the same request.
    Req,
    /// Handling a request that takes long: `l`.
    Long,
    /// The request is done. In a pool, `Done` has the same effect as `Wait`. A child of a
    /// post-forking daemon exits after `Done`.
    Done,
    /// Extends the time limit of the current request to at least this long from now, at most 24
    /// hours at a time.
    Extend(Duration),
}

/// The result of an [`UpdateStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// The child may accept a request. [`DaemonAccept`](super::DaemonAccept) has been broadcast.
    Accepting,
    /// The operator has paused the daemon. [`DaemonAccept`](super::DaemonAccept) is broadcast when
    /// the daemon resumes.
    Paused,
    /// The status was recorded.
    Recorded,
    /// The child is about to exit.
    Leaving(ShutdownReason),
}

/// Why a status was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The scoreboard refuses this change of status.
    #[error("{0}")]
    Refused(#[from] daemon_core::ReportError),
    /// The message was sent in the parent, which has no slot on the scoreboard.
    #[error(
        "the parent has no status to update: send HandOver to the daemon to have a request \
         handled by a child"
    )]
    InParent,
}

/// Sets the child's label: a few words about what it is doing, for the scoreboard and ps(1).
///
/// The label is cut after [`daemon_core::LABEL_MAX`] bytes.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct SetLabel(pub String);
