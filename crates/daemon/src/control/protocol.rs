//! The protocol of the control socket: one JSON object per line, in both directions.
//!
//! The client sends [`ControlRequest`]s and receives one [`ControlMessage`] for each, in order.
//! After [`ControlCommand::Events`] the daemon handles no more requests of this client. It sends
//! each event as a [`ResponseBody::Event`] until either side closes the connection.
//!
//! # Examples
//!
//! ```
//! use actix_daemon::control::protocol::{ControlCommand, ControlRequest};
//!
//! let line = serde_json::to_string(&ControlRequest::new(ControlCommand::Resize { to: 8 }))?;
//! assert_eq!(line, r#"{"version":1,"command":"resize","to":8}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::time::Duration;

use daemon_core::{AcceptState, ExitCause, OperatorPause, Phase, SlotNumber};
use serde::{Deserialize, Serialize};

use crate::status::Report;

/// The version of the protocol. Both ends must use the same version.
///
/// The number increases when the meaning of an existing command, field or event changes. Additions
/// do not change the number.
pub const VERSION: u32 = 1;

/// The maximum length in bytes of a request line.
pub const REQUEST_MAX: usize = 4096;

/// A request of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRequest {
    /// The client's [`VERSION`].
    pub version: u32,
    /// The command.
    #[serde(flatten)]
    pub command: ControlCommand,
}

impl ControlRequest {
    /// Creates a request in this [`VERSION`].
    #[must_use]
    pub fn new(command: ControlCommand) -> ControlRequest {
        ControlRequest { version: VERSION, command }
    }
}

/// A command of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ControlCommand {
    /// Returns the daemon's status as [`ControlReply::Status`], with the CPU time and memory of
    /// each process.
    Status,
    /// Returns the internal state of the parent as [`ControlReply::Peek`].
    Peek {
        /// Includes descriptors, threads, tasks and the status report.
        #[serde(default)]
        verbose: bool,
    },
    /// Stops the daemon. [`ControlReply::Done`] is sent when the shutdown starts.
    Stop {
        /// Stops immediately. Requests in progress are lost.
        #[serde(default)]
        now: bool,
    },
    /// Reopens the logs in all processes.
    Reopen,
    /// Replaces all children of a pool, a few at a time.
    Reload,
    /// Changes the number of children, as [`Resize::To`](crate::Resize::To) does.
    Resize {
        /// The new `min_spare`. In a post-forking daemon and in an on-demand pool, the new
        /// `max_children`.
        to: u32,
    },
    /// Retires a child: it exits after its current request.
    Retire {
        /// The child's pid.
        pid: u32,
    },
    /// Kills a child.
    Kill {
        /// The child's pid.
        pid: u32,
    },
    /// Returns evidence of what a child is doing now, as [`ControlReply::Trace`].
    Trace {
        /// The child's pid.
        pid: u32,
    },
    /// Pauses the daemon. It accepts no requests until [`Resume`](ControlCommand::Resume).
    Pause,
    /// Resumes a paused daemon.
    Resume,
    /// Subscribes to events. The daemon sends [`ControlReply::Listening`], then
    /// [`ResponseBody::Event`]s.
    Events,
}

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
    Event(ControlEvent),
}

/// The reply to a request that succeeded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ControlReply {
    /// The daemon's status.
    Status {
        /// The report that the message [`GetStatus`](crate::GetStatus) returns.
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

/// An event that the daemon reports to subscribed clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ControlEvent {
    /// A child was forked.
    Forked {
        /// The child's slot.
        slot: SlotNumber,
        /// The child's pid.
        pid: u32,
    },
    /// A child has exited and was reaped.
    Exited {
        /// The child's slot.
        slot: SlotNumber,
        /// The child's pid.
        pid: u32,
        /// Why the child exited.
        cause: ExitCause,
        /// The cause as text.
        text: String,
        /// The number of requests that the child started.
        requests: u64,
        /// The time from the command to fork the child until its exit, in seconds.
        #[serde(with = "crate::status::seconds")]
        lifetime: Duration,
    },
    /// The babysitter took action against a child, or recorded evidence of a slow request.
    Rogue {
        /// The child's slot.
        slot: SlotNumber,
        /// The child's pid.
        pid: u32,
        /// The action: `slow`, `int`, `term`, `quit`, `kill`, `given-up`, `recovered`.
        step: String,
        /// The reason for the action as text.
        text: String,
    },
    /// The daemon has started or stopped accepting requests.
    Accepting {
        /// Whether the daemon accepts requests now.
        state: AcceptState,
    },
    /// The operator has paused or resumed the daemon.
    OperatorPause {
        /// Whether the operator has paused the daemon.
        state: OperatorPause,
    },
    /// The daemon has entered another phase.
    Phase {
        /// The new phase.
        phase: Phase,
    },
    /// Events were dropped because the client reads too slowly.
    Missed {
        /// The number of dropped events.
        events: u64,
    },
}
