//! Errors and problems of a worker.

use std::io;
use std::time::Duration;

use crate::protocol::{InvalidName, JobHandle, Malformed, PacketTooLong};

/// Why a worker could not be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// The address is invalid.
    #[error("invalid gearmand address {0:?}: expected HOST:PORT, for example 127.0.0.1:4730")]
    Server(String),
    /// The name of the worker or of a function is invalid.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// A problem to report to the operator. The worker continues.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerProblem {
    /// The connection failed or was lost. The worker connects again.
    #[error("no connection to gearmand at {server}: {error}")]
    ConnectionLost {
        /// The server's address.
        server: String,
        /// Why the connection was lost.
        error: ConnectionError,
    },
    /// The server refused a request, mostly because the job is no longer assigned to this worker.
    #[error("gearmand at {server} refuses a request: {text} ({code})")]
    Refused {
        /// The server's address.
        server: String,
        /// The server's error code.
        code: String,
        /// The server's error message.
        text: String,
    },
    /// The server assigned a job of a function that this worker has not registered. The job was
    /// answered as failed.
    #[error(
        "gearmand at {server} assigned job {handle} of function {function:?}, which is not registered"
    )]
    UnknownFunction {
        /// The server's address.
        server: String,
        /// The job's handle.
        handle: JobHandle,
        /// The function of the job.
        function: String,
    },
}

/// Why a connection failed or was lost.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The server could not be reached.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// A read failed.
    #[error("cannot read from the connection: {0}")]
    Read(io::Error),
    /// A write failed.
    #[error("cannot write to the connection: {0}")]
    Write(io::Error),
    /// The server has closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server has not responded within the timeout.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// The server does not follow the Gearman protocol.
    #[error("invalid data from the server: {0}")]
    Malformed(#[from] Malformed),
    /// The response does not match the request.
    #[error("unexpected response {response} to {request}")]
    UnexpectedResponse {
        /// The name of the request.
        request: &'static str,
        /// The name of the response.
        response: &'static str,
    },
    /// A request is too long.
    #[error("cannot send a request: {0}")]
    TooLong(#[from] PacketTooLong),
}
