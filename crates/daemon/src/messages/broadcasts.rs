//! Broadcasts to the actors that have [`Subscribe`](super::Subscribe)d, and the message that starts a
//! child's session.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use daemon_core::{ExitCause, LadderStep, OperatorPause, Phase, Violation};
use daemon_forkserver::ChildId;
use daemon_sys::process::Pid;
use serde::Serialize;

use crate::evidence::Evidence;

/// Broadcast when the daemon's actor has started. The original's `daemon_start`.
///
/// Late subscribers receive it immediately.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonStart;

/// Broadcast in the parent when the initial children are ready, or right after [`DaemonStart`] if there
/// are none. The original's `daemon_parent`.
///
/// Late subscribers receive it immediately. If the daemon detaches, the launching process exits now.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonParent;

/// Delivered once to the session of a child, as its first message. The original's `daemon_child`.
///
/// In a post-forked child it contains the request. In a pre-forked child the session prepares itself,
/// sends [`UpdateStatus::Wait`](super::UpdateStatus::Wait) and then receives [`DaemonAccept`].
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct DaemonChild<R> {
    /// The request from the parent; `()` in a pre-forked child that accepts its requests itself.
    pub request: R,
}

/// Broadcast when requests may be accepted. The original's `daemon_accept`.
///
/// In a pre-forked child, accept one request; it follows
/// [`UpdateStatus::Wait`](super::UpdateStatus::Wait) or `Done`. In the parent it ends a [`DaemonPause`].
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonAccept;

/// Broadcast when no more requests may be accepted until [`DaemonAccept`]. The original's
/// `daemon_pause`.
///
/// The parent of a post-forking daemon broadcasts it when all children are busy. When the operator pauses
/// the daemon ([`Pause`](super::Pause)), it is broadcast in the parent, and in all children of a pool.
/// [`DaemonOperatorPause`] distinguishes the two.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonPause;

/// Broadcast in a process that has received HUP, before its log is reopened. The original's
/// `daemon_HUP`.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonHup;

/// Broadcast when this process shuts down: finish the current request and accept no more. The original's
/// `daemon_shutdown`.
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
    /// This child has served its share of requests.
    Recycled,
    /// This post-forked child has finished its request.
    Done,
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
    /// A reload has started, or has been started again.
    Started,
    /// All children from before the reload have exited or are about to.
    Done,
}

/// Broadcast in the parent for each child that has been forked.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ChildBorn {
    /// The child.
    pub child: ChildId,
    /// Its process.
    pub pid: Pid,
}

/// Broadcast in the parent for each child that has exited and was reaped.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ChildExited {
    /// The child.
    pub child: ChildId,
    /// Its process.
    pub pid: Pid,
    /// Why it exited.
    pub cause: ExitCause,
    /// The number of requests that it started.
    pub requests: u64,
    /// The time from the order to fork it until its exit.
    pub lifetime: Duration,
}

/// Broadcast in the parent for each action against a rogue child, and for each slow request.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct RogueChild {
    /// The child.
    pub child: ChildId,
    /// Its process.
    pub pid: Pid,
    /// What the child did wrong; none if its request is only slow.
    pub violation: Option<Violation>,
    /// What the daemon does about it.
    pub step: RogueStep,
    /// The evidence that was collected before the first step. Later steps have none.
    pub evidence: Option<Arc<Evidence>>,
}

/// What the daemon does about a child that it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RogueStep {
    /// The next step of the ladder.
    Escalated(LadderStep),
    /// The child has recovered.
    Recovered,
    /// The request is slow. Only evidence is recorded.
    Slow,
}

impl RogueStep {
    /// Returns the word for it: `int`, `term`, `quit`, `kill`, `given-up`, `recovered`, `slow`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            RogueStep::Escalated(measure) => measure.word(),
            RogueStep::Recovered => "recovered",
            RogueStep::Slow => "slow",
        }
    }
}
