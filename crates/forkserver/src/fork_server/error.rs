//! Errors of the parent's calls to the fork server.

use daemon_sys::process::Pid;

use crate::transfer::TransferError;

/// Why the fork server could not be spawned, or why a call of its handle failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForkServerError {
    /// A system call failed.
    #[error(transparent)]
    System(#[from] daemon_sys::Error),
    /// The scoreboard cannot be created with this number of slots.
    #[error("cannot create the scoreboard: {0}")]
    Board(#[from] daemon_core::ScoreboardError),
    /// The preload step failed.
    #[error("preload failed: {error}")]
    PreloadFailed {
        /// The error that the preload step returned.
        error: String,
    },
    /// All slots are taken.
    #[error("cannot fork: all {slots} slots of the scoreboard are taken")]
    Full {
        /// The number of slots.
        slots: u32,
    },
    /// The request that the child was to serve cannot be sent to the fork server.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The fork server has exited, or has sent invalid data.
    #[error("lost the fork server (pid {pid}): {reason}")]
    Lost {
        /// The fork server's pid.
        pid: Pid,
        /// How the loss was detected.
        reason: String,
    },
}

/// Why a fork could not be requested. Contains the request that the child was to serve, so that the
/// request is not lost.
#[derive(Debug)]
pub struct ForkError<R> {
    /// The request, unchanged.
    pub request: R,
    /// Why the fork could not be requested.
    pub reason: ForkServerError,
}
