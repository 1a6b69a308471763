//! A request on its way from a session in the parent to a child of its own.

use actix::Message;
use daemon_forkserver::{ChildId, TransferError};
use daemon_sys::process::Pid;

/// Asks a post-forking parent to have this request handled by a child of its own. The original's
/// `update_status('req', data)` in the parent.
///
/// Answered when the child is born. The request is never lost: until then the parent keeps it,
/// and an error gives it back.
#[derive(Message, Debug)]
#[rtype(result = "Result<HandedOver, HandOverError<R>>")]
pub struct HandOver<R: 'static>(pub R);

impl<R> From<R> for HandOver<R> {
    fn from(request: R) -> Self {
        HandOver(request)
    }
}

/// The child that has got a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandedOver {
    /// Which child.
    pub child: ChildId,
    /// Its process.
    pub pid: Pid,
}

/// A request that could not be handed over, untouched.
#[derive(Debug, thiserror::Error)]
#[error("the request is handed back: {reason}")]
pub struct HandOverError<R> {
    /// The request.
    pub request: R,
    /// Why.
    #[source]
    pub reason: HandOverErrorReason,
}

/// Why a request comes back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverErrorReason {
    /// All children are busy and the backlog is full.
    #[error(
        "all {max_children} children are busy (max_children), and {backlog} requests wait already \
         (backlog)"
    )]
    Full {
        /// How many children there may be.
        max_children: u32,
        /// How many requests may wait.
        backlog: u32,
    },
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
    /// The daemon's model takes no requests in the parent.
    #[error("the daemon is not post-forking: its children take their requests themselves")]
    NotPostForking,
    /// It cannot cross.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// No child can be forked, now or later.
    #[error("{0}")]
    CannotFork(String),
}
