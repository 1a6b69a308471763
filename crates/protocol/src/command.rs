//! The requests of clients.

use serde::{Deserialize, Serialize};

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
pub enum ControlCommand {
    /// Returns the daemon's status as [`ControlReply::Status`](crate::ControlReply::Status), with
    /// the CPU time and memory of each process.
    Status,
    /// Returns the internal state of the parent as
    /// [`ControlReply::Peek`](crate::ControlReply::Peek).
    Peek {
        /// Includes descriptors, threads, tasks and the status report.
        #[serde(default)]
        verbose: bool,
    },
    /// Stops the daemon. [`ControlReply::Done`](crate::ControlReply::Done) is sent when the
    /// shutdown starts.
    Stop {
        /// Stops immediately. Requests in progress are lost.
        #[serde(default)]
        now: bool,
    },
    /// Reopens the logs in all processes.
    Reopen,
    /// Replaces all children of a pool, a few at a time.
    Reload,
    /// Changes the number of children, as the message `SetSize` of `actix-daemon` does.
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
    /// Returns evidence of what a child is doing now, as
    /// [`ControlReply::Trace`](crate::ControlReply::Trace).
    Trace {
        /// The child's pid.
        pid: u32,
    },
    /// Pauses the daemon. It accepts no requests until [`Resume`](ControlCommand::Resume).
    Pause,
    /// Resumes a paused daemon.
    Resume,
    /// Subscribes to events. The daemon sends
    /// [`ControlReply::Listening`](crate::ControlReply::Listening), then
    /// [`ResponseBody::Event`](crate::ResponseBody::Event)s.
    Events,
}
