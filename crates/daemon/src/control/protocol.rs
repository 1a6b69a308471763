//! What is said on the control socket: a JSON object a line, each way.
//!
//! The client sends [`Ask`]s, one a line, and gets an [`Answer`] for each, in their order. After
//! [`Command::Events`] the answers are [`Outcome::Event`]s without end, and nothing more is asked.
//!
//! # Examples
//!
//! ```
//! use actix_daemon::control::protocol::{Ask, Command};
//!
//! let line = serde_json::to_string(&Ask::new(Command::Resize { to: 8 }))?;
//! assert_eq!(line, r#"{"version":1,"command":"resize","to":8}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::time::Duration;

use daemon_core::{ExitCause, Phase, SlotNumber};
use serde::{Deserialize, Serialize};

use crate::status::{DoorState, Report};

/// The version that both ends must speak. It goes up when something that is said means something
/// else; what is only added leaves it alone.
pub const VERSION: u32 = 1;

/// The longest line, in bytes, that the daemon reads: all commands are short.
pub const ASK_MAX: usize = 4096;

/// One request of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The client's [`VERSION`].
    pub version: u32,
    /// What is asked for.
    #[serde(flatten)]
    pub command: Command,
}

impl Ask {
    /// Asks in this version.
    #[must_use]
    pub fn new(command: Command) -> Ask {
        Ask { version: VERSION, command }
    }
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Command {
    /// The state of the daemon, with processor time and memory of each child: [`Reply::Status`].
    Status,
    /// The inside of the parent: [`Reply::Peek`].
    Peek {
        /// With descriptors, threads and sessions.
        #[serde(default)]
        verbose: bool,
    },
    /// The daemon stops: [`Reply::Done`] as it begins to.
    Stop {
        /// At once: requests in hand are lost.
        #[serde(default)]
        now: bool,
    },
    /// All processes reopen their logs.
    Reopen,
    /// All children of a pool are replaced, a few at a time.
    Reload,
    /// Another number of children.
    Resize {
        /// So many.
        to: u32,
    },
    /// This child leaves after the request in hand.
    Retire {
        /// Its process.
        pid: u32,
    },
    /// This child is killed.
    Kill {
        /// Its process.
        pid: u32,
    },
    /// The evidence of what this child does, now: [`Reply::Trace`].
    Trace {
        /// Its process.
        pid: u32,
    },
    /// The door is shut until [`Resume`](Command::Resume): no more requests are taken.
    Pause,
    /// The door opens again.
    Resume,
    /// What happens from now on, as it happens: [`Outcome::Event`]s.
    Events,
}

/// One line of the daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The daemon's [`VERSION`].
    pub version: u32,
    /// What it has to say.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Answer {
    /// Answers in this version.
    #[must_use]
    pub fn new(outcome: Outcome) -> Answer {
        Answer { version: VERSION, outcome }
    }
}

/// What the daemon has to say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// It was done, or is told.
    Ok(Reply),
    /// It was not.
    Error(Fault),
    /// Something has happened.
    Event(Event),
}

/// A good answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reply {
    /// The state of the daemon.
    Status {
        /// As the daemon's own [`Status`](crate::Status) message answers it.
        report: Box<Report>,
    },
    /// The inside of the parent.
    Peek {
        /// Several lines.
        text: String,
    },
    /// The evidence of what a child does.
    Trace {
        /// For people: several lines.
        text: String,
        /// For programs.
        evidence: serde_json::Value,
    },
    /// It is done, or begun.
    Done {
        /// What, in a sentence without a full stop.
        text: String,
    },
    /// Events follow.
    Listening,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// For programs.
    pub kind: FaultKind,
    /// For people, in a sentence without a full stop.
    pub text: String,
}

/// The kinds of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The line was no request: no JSON, too long, an unknown command.
    Malformed,
    /// The client speaks another version.
    Version,
    /// The user may not.
    Forbidden,
    /// There is no such child.
    NoSuchChild,
    /// The daemon is not in a state to do it, or its model has no such thing.
    Refused,
    /// The daemon could not.
    Failed,
}

/// Something that has happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A child was born.
    Born {
        /// Its slot.
        slot: SlotNumber,
        /// Its process.
        pid: u32,
    },
    /// A child is gone.
    Gone {
        /// Its slot.
        slot: SlotNumber,
        /// Its process.
        pid: u32,
        /// Why.
        cause: ExitCause,
        /// The same for people.
        text: String,
        /// Requests that it had begun.
        requests: u64,
        /// How long it lived, in seconds.
        #[serde(with = "crate::status::seconds")]
        lived: Duration,
    },
    /// A step was taken against a child, or only evidence of a slow request.
    Rogue {
        /// Its slot.
        slot: SlotNumber,
        /// Its process.
        pid: u32,
        /// What was done: `slow`, `int`, `term`, `kill`, `given-up`, `recovered`.
        step: String,
        /// Why, for people.
        text: String,
    },
    /// The door has moved.
    AcceptState {
        /// How it stands now.
        state: DoorState,
    },
    /// The daemon has come to another phase of its life.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// The client has read too slowly, and so many events were left out.
    Missed {
        /// How many.
        events: u64,
    },
}
