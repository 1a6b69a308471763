//! The result of a request: a value, or the reason why the request has no value.

use std::time::Duration;

use daemon_core::{ExitCause, format};
use serde::de::DeserializeOwned;

use crate::body::{Body, EncodeError};

/// The result of a request. Every request gets exactly one result.
pub type TaskResult = Result<Reply, Failure>;

/// The value that a method or the [fallback](crate::DispatcherBuilder::fallback) returned, still
/// encoded.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(crate) body: Body,
}

impl Reply {
    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// Returns [`Failure::Decode`] if the value cannot be decoded as a `T`.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        self.body.decode().map_err(|reason| Failure::Decode { reason })
    }

    /// Returns the size of the encoded value in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.body.bytes().len()
    }
}

/// The reason why a request has no value.
///
/// Each variant contains everything that is known about the failure. The log contains no further
/// details about the request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The method or the fallback returned an error, or the
    /// [`precall`](crate::DispatcherBuilder::precall) hook refused the call.
    #[error("{message}")]
    Failed {
        /// The text of the error.
        message: String,
    },
    /// The method panicked. Its worker continues to serve requests.
    #[error("method panicked: {message}")]
    Panicked {
        /// The panic message and its location.
        message: String,
        /// The backtrace of the panic.
        backtrace: String,
    },
    /// A time limit was exceeded.
    #[error("timed out after {} ({})", format::duration(*.limit), .kind.phrase())]
    TimedOut {
        /// Whether the soft or the hard limit was exceeded.
        kind: LimitKind,
        /// The value of the limit.
        limit: Duration,
    },
    /// The worker died while it ran the task.
    #[error("worker died while running the task: {cause}")]
    WorkerLost {
        /// Why the worker exited.
        cause: ExitCause,
    },
    /// The worker died on each attempt. The task is not attempted again and is kept as a
    /// [`DeadLetter`](crate::DeadLetter).
    #[error("gave up after {attempts} attempts: the worker died each time, last cause: {cause}")]
    DeadLettered {
        /// The number of attempts.
        attempts: u32,
        /// Why the last worker exited.
        cause: ExitCause,
    },
    /// The request was cancelled.
    #[error("cancelled {}", .state.phrase())]
    Cancelled {
        /// The state of the request when it was cancelled.
        state: RequestState,
    },
    /// The dispatcher refused the request. The method was not called, except in earlier attempts in
    /// which a worker died.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// There is a value, but it cannot be decoded as the requested type.
    #[error("cannot decode the value: {reason}")]
    Decode {
        /// The decoder's error.
        reason: String,
    },
}

/// The kind of a time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// The soft limit. The handler returned an error after the limit had passed.
    Soft,
    /// The hard limit. The worker was killed.
    Hard,
}

impl LimitKind {
    fn phrase(self) -> &'static str {
        match self {
            LimitKind::Soft => "soft limit, the handler gave up",
            LimitKind::Hard => "hard limit, the worker was killed",
        }
    }
}

/// The state of a request when it was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// The request had not started.
    Queued,
    /// The request was running. Its worker was killed.
    Running,
}

impl RequestState {
    fn phrase(self) -> &'static str {
        match self {
            RequestState::Queued => "before it started",
            RequestState::Running => "while running, the worker was killed",
        }
    }
}

/// The reason why the dispatcher refused a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The queue is full.
    #[error("rejected: the queue is full ({limit} requests)")]
    QueueFull {
        /// The capacity of the queue.
        limit: usize,
    },
    /// The dispatcher is shutting down.
    #[error("rejected: the dispatcher is shutting down")]
    ShuttingDown,
    /// No worker could be started, and there is none. The next request causes another attempt.
    #[error(
        "rejected: no worker could be started: {failures} failures in a row, the last one: {reason}"
    )]
    NoWorker {
        /// The number of consecutive failures.
        failures: u32,
        /// Why the last worker was not started.
        reason: String,
    },
    /// There is no method with this name, and no fallback.
    #[error("rejected: unknown method {name:?}")]
    UnknownMethod {
        /// The requested name.
        name: String,
    },
    /// The parameters cannot be encoded, or the method cannot decode them.
    #[error("rejected: invalid parameters for method {name:?}: {reason}")]
    InvalidParams {
        /// The name of the method.
        name: String,
        /// What is wrong with the parameters.
        reason: String,
    },
    /// There is not enough memory for the parameters, or no free descriptor for their memory file.
    #[error("rejected: not enough memory for the parameters of method {name:?}: {reason}")]
    OutOfMemory {
        /// The name of the method.
        name: String,
        /// What was attempted, and the system's error.
        reason: String,
    },
    /// There is no lane with this name.
    #[error("rejected: unknown lane {name:?}")]
    UnknownLane {
        /// The requested name.
        name: String,
    },
    /// The method name or the `from` name is too long.
    #[error("rejected: name too long: {length} bytes, the maximum is {limit}")]
    NameTooLong {
        /// The length of the name in bytes.
        length: usize,
        /// The maximum length in bytes.
        limit: usize,
    },
    /// A time limit or the number of attempts is zero.
    #[error("rejected: {field} is {value}: must be greater than 0")]
    InvalidOption {
        /// The name of the option.
        field: &'static str,
        /// The value of the option.
        value: String,
    },
}

impl Rejection {
    /// Returns the rejection of a request whose parameters could not be encoded. `method` is the
    /// method that the request calls.
    pub(crate) fn of_params(method: &str, error: &EncodeError) -> Rejection {
        let (name, reason) = (method.to_owned(), error.to_string());
        match error {
            EncodeError::Value(_) | EncodeError::TooLarge { .. } => {
                Rejection::InvalidParams { name, reason }
            }
            EncodeError::Memory(_) => Rejection::OutOfMemory { name, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_field_does_not_shift_the_fields_after_it() {
        #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        struct ResizeTask {
            #[serde(skip_serializing_if = "Option::is_none")]
            width: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            height: Option<u32>,
            times: u32,
        }
        let by_height = ResizeTask { height: Some(640), times: 2, ..ResizeTask::default() };
        let reply = Reply { body: Body::of(&by_height).unwrap() };
        assert_eq!(reply.value(), Ok(by_height));
    }
}
