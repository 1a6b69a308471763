//! Broadcasts to the actors that have [`Subscribe`](super::Subscribe)d, and the message that starts
//! a child's session.

use actix::Message;
use daemon_core::{OperatorPause, Phase};

pub use daemon_protocol::{
    ChildExited, ChildForked, DaemonReload, ForeignExited, RogueChild, RogueStep, ShutdownReason,
};

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
