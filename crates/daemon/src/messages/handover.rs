//! The message that hands a request from a session in the parent to a child, and its results.

use actix::Message;
use daemon_forkserver::{ChildId, TransferError};
use daemon_sys::process::Pid;

/// Hands a request to a new child of a post-forking daemon. In the original,
/// `POE::Component::Daemon`, this is `update_status('req', data)` in the parent.
///
/// The response arrives when the child has been forked. The parent keeps the request until then. If
/// the request cannot be handed over, [`HandOverError`] returns it.
#[derive(Message, Debug)]
#[rtype(result = "Result<HandedOver, HandOverError<R>>")]
pub struct HandOver<R: 'static>(pub R);

impl<R> From<R> for HandOver<R> {
    fn from(request: R) -> Self {
        HandOver(request)
    }
}

/// The child that has received a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandedOver {
    /// The child's slot and generation.
    pub child: ChildId,
    /// The child's pid.
    pub pid: Pid,
}

/// The error for a request that could not be handed over. It contains the unchanged request.
#[derive(Debug, thiserror::Error)]
#[error("cannot hand over the request: {reason}")]
pub struct HandOverError<R> {
    /// The request.
    pub request: R,
    /// Why the request could not be handed over.
    #[source]
    pub reason: HandOverErrorReason,
}

/// Why a request could not be handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverErrorReason {
    /// All children are busy and the backlog is full.
    #[error(
        "all {max_children} children are busy (max_children) and {backlog} requests wait already \
         (backlog)"
    )]
    Full {
        /// The maximum number of children.
        max_children: u32,
        /// The maximum number of waiting requests.
        backlog: u32,
    },
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
    /// The daemon is not post-forking.
    #[error("the daemon is not post-forking: its children accept their requests themselves")]
    NotPostForking,
    /// The request could not be encoded or sent.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The child could not be forked.
    #[error("{0}")]
    CannotFork(String),
}
