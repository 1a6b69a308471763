//! The lines that the daemon sends: results of requests, and events.

use serde::{Deserialize, Serialize};

use crate::command::VERSION;
use crate::event::DaemonEvent;
use crate::report::Report;

/// A line that the daemon sends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ControlMessage {
    /// The daemon's [`VERSION`].
    pub version: u32,
    /// The result of a request, or an event.
    #[serde(flatten)]
    pub body: ResponseBody,
}

impl ControlMessage {
    /// Creates a response in this [`VERSION`].
    #[must_use]
    pub fn new(body: ResponseBody) -> ControlMessage {
        ControlMessage { version: VERSION, body }
    }
}

/// The result of a request, or an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ResponseBody {
    /// The request succeeded.
    Ok(ControlReply),
    /// The request failed.
    Error(ControlError),
    /// An event.
    Event(DaemonEvent),
}

/// The reply to a request that succeeded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ControlReply {
    /// The daemon's status.
    Status {
        /// The report that the message `GetStatus` of `actix-daemon` returns.
        report: Box<Report>,
    },
    /// The internal state of the parent.
    Peek {
        /// Several lines of text.
        text: String,
    },
    /// Evidence of what a child is doing.
    Trace {
        /// The evidence as several lines of text.
        text: String,
        /// The evidence as JSON.
        evidence: serde_json::Value,
    },
    /// The command was carried out or started.
    Done {
        /// What was done: one sentence without a full stop.
        text: String,
    },
    /// The subscription to events has started.
    Listening,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct ControlError {
    /// The kind of error, for programs.
    pub kind: ControlErrorKind,
    /// The message, for people: one sentence without a full stop.
    pub text: String,
}

/// The kind of a [`ControlError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ControlErrorKind {
    /// The line is not a request, because it is not JSON, is too long, or has an unknown command.
    Malformed,
    /// The client uses another version of the protocol.
    Version,
    /// The client's user is not allowed to control the daemon.
    Forbidden,
    /// No child has this pid.
    NoSuchChild,
    /// The daemon's state or model does not permit the command.
    Refused,
    /// The daemon tried to carry out the command and failed.
    Failed,
}
