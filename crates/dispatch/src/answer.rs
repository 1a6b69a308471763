//! What becomes of a request: a value, or one of the ways in which there is none.

use std::time::Duration;

use daemon_core::ExitCause;
use serde::de::DeserializeOwned;

use crate::body::Body;

/// The one answer to a request.
pub type TaskResult = Result<Reply, Failure>;

/// A method's value, as it came.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(crate) body: Body,
}

impl Reply {
    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// [`Failure::Decode`] when it is of another type.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        self.body.decode().map_err(|reason| Failure::Decode { reason })
    }

    /// How many bytes the encoded value has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.body.bytes().len()
    }
}

/// Why a request has no value.
///
/// Each tells all there is to know: nobody has to look into a log to find out what has become of a
/// request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The method has answered with an error.
    #[error("{message}")]
    Failed {
        /// The error's words.
        message: String,
    },
    /// The method has panicked; its worker goes on.
    #[error("method panicked: {message}")]
    Panicked {
        /// The panic's words, and where.
        message: String,
        /// Its backtrace.
        backtrace: String,
    },
    /// It took too long.
    #[error("timed out after {limit:?} ({kind})", kind = .kind.word())]
    TimedOut {
        /// Which limit was passed.
        kind: LimitKind,
        /// The limit.
        limit: Duration,
    },
    /// Its worker died over it.
    #[error("lost: its worker is gone: {cause}")]
    WorkerLost {
        /// Why the worker is gone.
        cause: ExitCause,
    },
    /// Several workers in a row died over it: it is put aside, and not tried again.
    #[error("put aside: {attempts} workers died over it, the last by {cause}")]
    DeadLettered {
        /// How often it was tried.
        attempts: u32,
        /// Why the last worker is gone.
        cause: ExitCause,
    },
    /// It was cancelled.
    #[error("cancelled {}", .state.word())]
    Cancelled {
        /// In which state.
        state: RequestState,
    },
    /// It was refused, and no worker has seen it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// There is a value, but not of the type that is asked for.
    #[error("cannot decode the value: {reason}")]
    Decode {
        /// What is wrong with it.
        reason: String,
    },
}

/// Which limit of time was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// The handler was told, and has given up.
    Soft,
    /// The worker was killed.
    Hard,
}

impl LimitKind {
    fn word(self) -> &'static str {
        match self {
            LimitKind::Soft => "the handler was told and gave up",
            LimitKind::Hard => "its worker was killed",
        }
    }
}

/// In which state a request was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// It had not begun.
    Queued,
    /// It was running: its worker was killed.
    Running,
}

impl RequestState {
    fn word(self) -> &'static str {
        match self {
            RequestState::Queued => "before it began",
            RequestState::Running => "while it ran: its worker was killed",
        }
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// As many wait as may.
    #[error("rejected: {limit} requests wait already")]
    QueueFull {
        /// How many may wait.
        limit: usize,
    },
    /// The dispatcher is shutting down.
    #[error("rejected: the dispatcher is shutting down")]
    ShuttingDown,
    /// No method has this name, and there is no fallback.
    #[error("rejected: unknown method {name:?}")]
    UnknownMethod {
        /// The name.
        name: String,
    },
    /// The parameters are not those of the method.
    #[error("rejected: the parameters of method {name:?} don't fit: {reason}")]
    InvalidParams {
        /// The method.
        name: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The system has no memory for the parameters.
    #[error("rejected: there is no room for the parameters of method {name:?}: {reason}")]
    OutOfMemory {
        /// The method.
        name: String,
        /// What was tried, and what the system says.
        reason: String,
    },
    /// No lane has this name.
    #[error("rejected: unknown lane {name:?}")]
    UnknownLane {
        /// The name.
        name: String,
    },
    /// The name, or who it is from, is longer than a frame's head takes.
    #[error("rejected: a name of {length} bytes, the longest has {limit}")]
    NameTooLong {
        /// How long it is, in bytes.
        length: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A time limit of zero, or fewer attempts than one.
    #[error("rejected: {field} is {value}: it must be more than nothing")]
    InvalidOption {
        /// Which of the request's terms.
        field: &'static str,
        /// What it is.
        value: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_left_out_does_not_move_the_others() {
        #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        struct Resize {
            #[serde(skip_serializing_if = "Option::is_none")]
            width: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            height: Option<u32>,
            times: u32,
        }
        let by_height = Resize { height: Some(640), times: 2, ..Resize::default() };
        let reply = Reply { body: Body::of(&by_height).unwrap() };
        assert_eq!(reply.value(), Ok(by_height));
    }
}
