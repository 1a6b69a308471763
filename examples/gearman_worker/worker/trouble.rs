//! What goes wrong between a worker and its server.

use std::io;
use std::time::Duration;

use crate::protocol::{BadName, Handle, Malformed, TooLong};

/// What no worker can be made of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// No address.
    #[error("{0:?} is no address of a gearmand: HOST:PORT is one, as in 127.0.0.1:4730")]
    Server(String),
    /// The name of the worker, or of a function.
    #[error(transparent)]
    Name(#[from] BadName),
}

/// What there is to tell an operator. The worker goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// There is no connection, or no more. It is tried again.
    #[error("gearmand at {server}: {why}")]
    Lost {
        /// Where it was looked for.
        server: String,
        /// What has happened.
        why: Lost,
    },
    /// The server says that a request was wrong: mostly that a job is no longer its own.
    #[error("gearmand at {server} refuses a request: {text} ({code})")]
    Refused {
        /// Who says so.
        server: String,
        /// Its word for it.
        code: String,
        /// Its words for it.
        text: String,
    },
    /// A job was assigned that this worker has never offered to do. It was answered as failed.
    #[error(
        "gearmand at {server} assigns job {handle} of function {function:?}, which is none of ours"
    )]
    NotOurs {
        /// Who has assigned it.
        server: String,
        /// The job.
        handle: Handle,
        /// What was to be done.
        function: String,
    },
}

/// Why there is no connection, or no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// There is nobody at the address, or no such address.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// It broke.
    #[error("cannot read from the connection: {0}")]
    Read(io::Error),
    /// It broke.
    #[error("cannot write to the connection: {0}")]
    Write(io::Error),
    /// The server has closed it.
    #[error("it has closed the connection")]
    Closed,
    /// The server is there and says nothing.
    #[error("it has not answered for {0:?}")]
    Silent(Duration),
    /// It is no Gearman server.
    #[error("it does not speak as a Gearman server: {0}")]
    Malformed(#[from] Malformed),
    /// It speaks out of turn.
    #[error("it answers {asked} by {answered}")]
    OutOfTurn {
        /// What it was asked.
        asked: &'static str,
        /// What it has said to that.
        answered: &'static str,
    },
    /// A request that no connection carries.
    #[error("cannot say this: {0}")]
    TooLong(#[from] TooLong),
}
