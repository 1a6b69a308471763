//! Broadcasts to the actors that have [`Subscribe`](super::Subscribe)d, and the message that starts
//! a child's session.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use daemon_core::{ExitCause, LadderStep, OperatorPause, Phase, Violation};
use daemon_forkserver::ChildId;
use daemon_sys::process::Pid;
use serde::Serialize;

use crate::evidence::Evidence;

/// Broadcast in the parent when the daemon's actor has started. The original's `daemon_start`.
///
/// Late subscribers receive this message immediately.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonStart;

/// Broadcast in the parent when the initial children are ready, or right after [`DaemonStart`] if
/// the daemon starts without children. The original's `daemon_parent`.
///
/// Late subscribers receive this message immediately. If the daemon detaches, the launching process
/// exits at this moment.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonParent;

/// Delivered once to the session of a child, as its first message. The original's `daemon_child`.
///
/// In a post-forked child this message contains the request. In a pre-forked child the session
/// prepares itself, sends [`UpdateStatus::Wait`](super::UpdateStatus::Wait) and then receives
/// [`DaemonAccept`].
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct DaemonChild<R> {
    /// The request from the parent; `()` in a pre-forked child that accepts its requests itself.
    pub request: R,
}

/// Broadcast when a session may accept requests. The original's `daemon_accept`.
///
/// In a pre-forked child this message follows [`UpdateStatus::Wait`](super::UpdateStatus::Wait) or
/// `Done` and permits the session to accept one request. In the parent it ends a [`DaemonPause`].
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonAccept;

/// Broadcast when sessions must not accept requests until the next [`DaemonAccept`]. The original's
/// `daemon_pause`.
///
/// A post-forking daemon broadcasts this message in the parent when all children are busy. When the
/// operator pauses a daemon ([`Pause`](super::Pause)), the message is broadcast in the parent, and
/// also in all children of a pool. Only a pause by the operator is also reported with
/// [`DaemonOperatorPause`].
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonPause;

/// Broadcast in a process after HUP or [`Reopen`](super::Reopen), before the process reopens its
/// log. The original's `daemon_HUP`.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonHup;

/// Broadcast when this process shuts down. Sessions must finish the current request and accept no
/// more requests. The original's `daemon_shutdown`.
///
/// The process exits when all sessions have responded and no request is in progress. A session that
/// needs more time returns a future ([`actix::ResponseFuture`]). The daemon's
/// [`grace`](crate::DaemonBuilder::grace) limits that time.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct DaemonShutdown {
    /// Why the process shuts down.
    pub reason: ShutdownReason,
}

/// Why a process of the daemon shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownReason {
    /// The whole daemon stops. Connections in the listener's backlog are still served.
    Stopping,
    /// The whole daemon stops immediately. Requests in progress are lost.
    StoppingNow,
    /// This child is surplus or is replaced. Other children continue to accept requests.
    Retired,
    /// This child has reached its quota of requests.
    Recycled,
    /// This child has finished the one request or task for which it was forked.
    Done,
}

impl ShutdownReason {
    /// Returns the word for the reason: `stopping`, `stopping now`, `retired`, `recycled` or
    /// `done`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            ShutdownReason::Stopping => "stopping",
            ShutdownReason::StoppingNow => "stopping now",
            ShutdownReason::Retired => "retired",
            ShutdownReason::Recycled => "recycled",
            ShutdownReason::Done => "done",
        }
    }
}

/// Broadcast in the parent when the daemon enters another phase.
///
/// Late subscribers receive the current phase immediately.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct DaemonPhase(pub Phase);

/// Broadcast in the parent when the operator pauses or resumes the daemon, with
/// [`Pause`](super::Pause) and [`Resume`](super::Resume) or with the signals TSTP and CONT.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct DaemonOperatorPause(pub OperatorPause);

/// Broadcast in the parent when a reload starts and when it is done.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub enum DaemonReload {
    /// A reload has started, or a reload in progress has been restarted.
    Started,
    /// All children that were forked before the reload have exited or are about to exit.
    Done,
}

/// Broadcast in the parent for each child that has been forked.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ChildForked {
    /// The child's slot and generation.
    pub child: ChildId,
    /// The child's pid.
    pub pid: Pid,
}

/// Broadcast in the parent for each child that has exited and was reaped.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ChildExited {
    /// The child's slot and generation.
    pub child: ChildId,
    /// The child's pid.
    pub pid: Pid,
    /// Why the child exited.
    pub cause: ExitCause,
    /// The number of requests that the child started.
    pub requests: u64,
    /// The time from the command to fork the child until its exit.
    pub lifetime: Duration,
}

/// Broadcast in the parent for each action against a rogue child, when a rogue child has recovered,
/// and for each slow request.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct RogueChild {
    /// The child's slot and generation.
    pub child: ChildId,
    /// The child's pid.
    pub pid: Pid,
    /// The limit that the child violates; `None` if its request is only slow.
    pub violation: Option<Violation>,
    /// What the daemon does about the child.
    pub step: RogueStep,
    /// The evidence that was collected before the first step or for a slow request; `None` for
    /// later steps and for a recovery.
    pub evidence: Option<Arc<Evidence>>,
}

/// What the daemon does about a rogue child or a slow request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RogueStep {
    /// The daemon takes this step of the ladder.
    Escalated(LadderStep),
    /// The child has recovered.
    Recovered,
    /// The request is slow. Only evidence is recorded.
    Slow,
}

impl RogueStep {
    /// Returns the word for the step: `int`, `term`, `quit`, `kill`, `given-up`, `recovered`,
    /// `slow`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            RogueStep::Escalated(measure) => measure.word(),
            RogueStep::Recovered => "recovered",
            RogueStep::Slow => "slow",
        }
    }
}
