//! What goes wrong between the parent and the fork server.

use daemon_sys::process::Pid;

use crate::transfer::TransferError;

/// Why something could not be asked of the fork server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForkServerError {
    /// The system refused.
    #[error(transparent)]
    System(#[from] daemon_sys::Error),
    /// The scoreboard cannot be made as asked for.
    #[error("cannot make the scoreboard: {0}")]
    Board(#[from] daemon_core::BoardError),
    /// The preload step failed.
    #[error("cannot preload: {error}")]
    PreloadFailed {
        /// What it said.
        error: String,
    },
    /// All seats are taken.
    #[error("cannot fork: all {slots} slots of the scoreboard are taken")]
    Full {
        /// How many slots there are.
        slots: u32,
    },
    /// The request cannot cross.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The fork server is gone, or does not speak our language.
    #[error("the fork server (pid {pid}) is lost: {reason}")]
    Lost {
        /// Which process it was.
        pid: Pid,
        /// How that showed.
        reason: String,
    },
}

/// A fork that was not ordered, and the request that it was for.
#[derive(Debug)]
pub struct ForkError<R> {
    /// The request, untouched.
    pub request: R,
    /// Why no fork was ordered.
    pub reason: ForkServerError,
}
