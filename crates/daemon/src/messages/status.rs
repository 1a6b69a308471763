//! What a session in a child tells of itself.

use std::time::Duration;

use actix::Message;

use super::broadcasts::ShutdownReason;

/// Asks a child's daemon to note what the session does. The original's `update_status`.
///
/// Answered with [`Updated`], or with why it cannot be ([`StatusError`]).
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<Updated, StatusError>")]
pub enum UpdateStatus {
    /// Ready for a request. `w`, or `.` before the first.
    Wait,
    /// Handling a request. `r`. Said for a request that is `Long` it is no second one.
    Req,
    /// Handling a request that takes long. `l`.
    Long,
    /// The request is done: as `Wait` in a pool; a post-forked child leaves.
    Done,
    /// The request in hand needs more time: at least so much from now, whatever its time limit.
    Extend(Duration),
}

/// What an [`UpdateStatus`] has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// [`DaemonAccept`](super::DaemonAccept) has been broadcast: take a request.
    Accepting,
    /// The operator has paused the daemon: [`DaemonAccept`](super::DaemonAccept) is broadcast when
    /// it goes on.
    Paused,
    /// The status is noted.
    Recorded,
    /// The child is leaving.
    Leaving(ShutdownReason),
}

/// Why a status was not noted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The scoreboard's rules forbid the move.
    #[error("{0}")]
    Refused(#[from] daemon_core::ReportError),
    /// There is no status in the parent: it has no slot.
    #[error(
        "the parent has no status to update: send HandOver to the daemon to have a request \
         handled by a child"
    )]
    InParent,
}

/// Tells a child's daemon in a few words what it is doing, for the scoreboard and ps(1).
///
/// Cut after [`daemon_core::LABEL_MAX`] bytes.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct SetLabel(pub String);
