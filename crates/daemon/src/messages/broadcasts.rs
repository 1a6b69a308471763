//! What is broadcast to those who have [`Subscribe`](super::Subscribe)d, and what is delivered to a
//! child.

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
/// Who subscribes later is told at once.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonStart;

/// Broadcast in the parent when the initial children are up; where there are none, right after
/// [`DaemonStart`]. The original's `daemon_parent`.
///
/// Who subscribes later is told at once. A daemon that detaches lets its launcher go now.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonParent;

/// Delivered in a child, once: what the child is for. The original's `daemon_child`.
///
/// In a post-forked child it brings the request. In a pre-forked one it says that the session may
/// prepare; it then sends [`UpdateStatus::Wait`](super::UpdateStatus::Wait) and is answered with
/// [`DaemonAccept`].
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct DaemonChild<R> {
    /// What the parent has handed over; `()` in a pre-forked child that accepts by itself.
    pub request: R,
}

/// Broadcast when requests may be taken. The original's `daemon_accept`.
///
/// In a pre-forked child: take one request, after [`UpdateStatus::Wait`](super::UpdateStatus::Wait)
/// or `Done`. In the parent: there is room again, after [`DaemonPause`].
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonAccept;

/// Broadcast in the parent of a post-forking daemon as the last child is taken, and in the parent
/// and all children of a pool when the operator pauses it ([`Pause`](super::Pause)): take no more
/// requests until [`DaemonAccept`]. The original's `daemon_pause`.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonPause;

/// Broadcast on HUP in the process that got it, before its log is reopened. The original's
/// `daemon_HUP`.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonHup;

/// Broadcast when this process is going: finish what is in hand and take no more. The original's
/// `daemon_shutdown`.
///
/// The process leaves when all sessions have answered and no request is in hand, so a session
/// that has more to do answers with a future ([`actix::ResponseFuture`]). It has the daemon's
/// `grace` for it.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct DaemonShutdown {
    /// Why.
    pub reason: ShutdownReason,
}

/// Why a process of the daemon is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownReason {
    /// The whole daemon stops. What waits in a listener's queue is still taken.
    Stopping,
    /// The daemon stops at once: requests in hand are lost.
    StoppingNow,
    /// This child is one too many, or is replaced; others go on accepting.
    Retired,
    /// This child has served its number of requests.
    Recycled,
    /// This post-forked child has done its request.
    Done,
}

/// Broadcast in the parent as the daemon comes to another phase of its life.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct DaemonPhase(pub Phase);

/// Broadcast in the parent as the operator pauses the daemon, and as it goes on: by
/// [`Pause`](super::Pause) and [`Resume`](super::Resume), or by TSTP and CONT.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct DaemonOperatorPause(pub OperatorPause);

/// Broadcast in the parent as the children of a pool are replaced.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub enum DaemonReload {
    /// It begins, or begins anew.
    Started,
    /// All children of before are gone or going.
    Done,
}

/// Broadcast in the parent for each child that is born.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ChildBorn {
    /// Which child.
    pub child: ChildId,
    /// Its process.
    pub pid: Pid,
}

/// Broadcast in the parent for each child that is gone and reaped.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ChildExited {
    /// Which child.
    pub child: ChildId,
    /// Which process it was.
    pub pid: Pid,
    /// Why it is gone.
    pub cause: ExitCause,
    /// How many requests it had begun.
    pub requests: u64,
    /// How long it lived.
    pub lifetime: Duration,
}

/// Broadcast in the parent for each step against a rogue child, and for each slow request.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct RogueChild {
    /// Which child.
    pub child: ChildId,
    /// Its process.
    pub pid: Pid,
    /// What it does that no child may; none where its request is only slow.
    pub violation: Option<Violation>,
    /// What is done about it.
    pub step: RogueStep,
    /// What was known of it before the first step. Steps after that bring none.
    pub evidence: Option<Arc<Evidence>>,
}

/// What is done about a child that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RogueStep {
    /// A step up the ladder.
    Escalated(LadderStep),
    /// It has come back to normal.
    Recovered,
    /// Nothing but evidence: its request is slow.
    Slow,
}

impl RogueStep {
    /// Tells its word: `int`, `term`, `quit`, `kill`, `given-up`, `recovered`, `slow`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            RogueStep::Escalated(measure) => measure.word(),
            RogueStep::Recovered => "recovered",
            RogueStep::Slow => "slow",
        }
    }
}
