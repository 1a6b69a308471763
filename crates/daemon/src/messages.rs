//! The messages that the daemon and its sessions exchange.
//!
//! Broadcasts report what has happened. They are sent to every actor that has [`Subscribe`]d to
//! them. All other messages, except [`DaemonChild`], are sent to the daemon, which answers with a
//! typed result.
//!
//! | message | purpose |
//! | --- | --- |
//! | `Daemon…`, [`ChildForked`], [`ChildExited`], [`RogueChild`], [`ForeignExited`] | broadcasts, except [`DaemonChild`], which is delivered to the session of a child |
//! | [`UpdateStatus`], [`SetLabel`] | a session in a child reports what it does |
//! | [`HandOver`] | a session in the parent of a post-forking daemon hands a request to a new child |
//! | [`Shutdown`], [`Pause`], [`Resume`], [`Reload`], [`SetSize`], [`Retire`], [`Kill`], [`Reopen`] | control the daemon |
//! | [`GetStatus`], [`Peek`], [`TraceChild`] | query the daemon |
//! | [`Subscribe`], [`WaitUntilStopped`], [`RegisterWith`] | receive broadcasts, wait until the daemon has stopped, connect the daemon to a service |
//! | [`ForeignChild`] | registers a process that the program has started itself; the daemon stops it during its own shutdown |

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Message, Recipient};
use daemon_core::{ChildId, OperatorPause, Phase, Pid, Signal};
use daemon_forkserver::TransferError;
use daemon_service::ServiceActor;

pub use daemon_core::{Resize, StopMode};
pub use daemon_protocol::{
    ChildExited, ChildForked, DaemonReload, ForeignExited, RogueChild, RogueStep, ShutdownReason,
};
use daemon_protocol::{Evidence, Report};

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
/// prepares itself, sends [`UpdateStatus::Wait`] and then receives
/// [`DaemonAccept`].
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct DaemonChild<R> {
    /// The request from the parent; `()` in a pre-forked child that accepts its requests itself.
    pub request: R,
}

/// Broadcast when a session may accept requests. The original's `daemon_accept`.
///
/// In a pre-forked child this message follows [`UpdateStatus::Wait`] or
/// `Done` and permits the session to accept one request. In the parent it ends a [`DaemonPause`].
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonAccept;

/// Broadcast when sessions must not accept requests until the next [`DaemonAccept`]. The original's
/// `daemon_pause`.
///
/// A post-forking daemon broadcasts this message in the parent when all children are busy. When the
/// operator pauses a daemon ([`Pause`]), the message is broadcast in the parent, and
/// also in all children of a pool. Only a pause by the operator is also reported with
/// [`DaemonOperatorPause`].
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonPause;

/// Broadcast in a process after HUP or [`Reopen`], before the process reopens its
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
/// [`Pause`] and [`Resume`] or with the signals TSTP and CONT.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct DaemonOperatorPause(pub OperatorPause);

/// Records what the session of a child does. In the original, `POE::Component::Daemon`, this
/// message is called `update_status`.
///
/// Returns what the session does next ([`Updated`]), or why the status was refused
/// ([`StatusError`]).
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<Updated, StatusError>")]
pub enum UpdateStatus {
    /// Ready for a request: `w` on the scoreboard, or `.` before the first request.
    Wait,
    /// Handling a request: `r`. After `Long`, `Req` continues the same request.
    Req,
    /// Handling a request that takes long: `l`.
    Long,
    /// The request is done. In a pool, `Done` has the same effect as `Wait`. A child of a
    /// post-forking daemon exits after `Done`.
    Done,
    /// Extends the time limit of the current request to at least this long from now, at most 24
    /// hours at a time.
    Extend(Duration),
}

impl UpdateStatus {
    /// Returns the name of the update.
    pub(crate) fn word(self) -> &'static str {
        match self {
            UpdateStatus::Wait => "wait",
            UpdateStatus::Req => "req",
            UpdateStatus::Long => "long",
            UpdateStatus::Done => "done",
            UpdateStatus::Extend(_) => "extend",
        }
    }
}

/// The result of an [`UpdateStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// The child may accept a request. [`DaemonAccept`] has been broadcast.
    Accepting,
    /// The operator has paused the daemon. [`DaemonAccept`] is broadcast when
    /// the daemon resumes.
    Paused,
    /// The status was recorded.
    Recorded,
    /// The child is about to exit.
    Leaving(ShutdownReason),
}

/// Why a status was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The scoreboard refuses this change of status.
    #[error("{0}")]
    Refused(#[from] daemon_core::ReportError),
    /// A handler of [`serve`](crate::DaemonBuilder::serve), or a method of a dispatcher, has
    /// reported that it waits for a request or that its request is done.
    #[error(
        "cannot report {update:?}: this child serves one connection or task at a time, and the \
         code that accepts it reports when it starts and ends. A handler can use label, long and \
         extend"
    )]
    NotYours {
        /// The update.
        update: &'static str,
    },
    /// A task that a handler has left behind has reported that a request starts or takes long,
    /// while the child serves no request.
    #[error("cannot report {update:?}: this child serves no request at present")]
    NoRequest {
        /// The update.
        update: &'static str,
    },
    /// The message was sent in the parent, which has no slot on the scoreboard.
    #[error(
        "the parent has no status to update: send HandOver to the daemon to have a request \
         handled by a child"
    )]
    InParent,
}

/// Sets the child's label: a few words about what it is doing, for the scoreboard and ps(1).
///
/// The label is cut after [`daemon_core::LABEL_MAX`] bytes.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct SetLabel(pub String);

/// Hands a request to a new child of a post-forking daemon. In the original,
/// `POE::Component::Daemon`, this is `update_status('req', data)` in the parent.
///
/// The response arrives when the child has been forked. The parent keeps the request until then. If
/// the request cannot be handed over, [`HandOverError`] returns it.
#[derive(Message, Debug)]
#[rtype(result = "Result<HandedOver, HandOverError<R>>")]
pub struct HandOver<R: 'static>(pub R);

impl<R> From<R> for HandOver<R> {
    fn from(request: R) -> Self {
        HandOver(request)
    }
}

/// The child that has received a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandedOver {
    /// The child's slot and generation.
    pub child: ChildId,
    /// The child's pid.
    pub pid: Pid,
}

/// The error for a request that could not be handed over. It contains the unchanged request.
#[derive(Debug, thiserror::Error)]
#[error("cannot hand over the request: {reason}")]
pub struct HandOverError<R> {
    /// The request.
    pub request: R,
    /// Why the request could not be handed over.
    #[source]
    pub reason: HandOverErrorReason,
}

/// Why a request could not be handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverErrorReason {
    /// All children are busy and the backlog is full.
    #[error(
        "all {max_children} children are busy (max_children) and {backlog} requests wait already \
         (backlog)"
    )]
    Full {
        /// The maximum number of children.
        max_children: u32,
        /// The maximum number of waiting requests.
        backlog: u32,
    },
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
    /// The daemon is not post-forking.
    #[error("the daemon is not post-forking: its children accept their requests themselves")]
    NotPostForking,
    /// The request could not be encoded or sent.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The child could not be forked.
    #[error("{0}")]
    CannotFork(String),
}

/// Shuts down the process that receives this message. In the parent, shuts down the whole daemon.
/// Corresponds to the message `shutdown` of the original, `POE::Component::Daemon`.
///
/// A graceful shutdown waits until the requests in progress are done. A shutdown of the whole
/// daemon waits for at most the [`grace`](crate::DaemonBuilder::grace) period.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "ShutdownStarted")]
pub struct Shutdown(pub StopMode);

/// The result of a [`Shutdown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownStarted {
    /// The shutdown has started.
    Now,
    /// A shutdown was in progress already. An immediate shutdown replaces a graceful one.
    Already,
}

/// Pauses the daemon: it accepts no more requests until [`Resume`].
///
/// In a post-forking daemon [`DaemonPause`] is broadcast in the parent. In a
/// daemon with a pool it is broadcast in the parent and in each child, and children that become
/// ready during the pause receive no [`DaemonAccept`]. Requests that were
/// accepted before the pause are served. New connections wait in the listener's backlog.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<PauseOutcome, CommandError>")]
pub struct Pause;

/// Resumes a daemon after [`Pause`].
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<PauseOutcome, CommandError>")]
pub struct Resume;

/// The result of [`Pause`] and [`Resume`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseOutcome {
    /// The daemon was paused or resumed by this message.
    Now,
    /// The daemon was already paused ([`Pause`]), or was not paused ([`Resume`]).
    Already,
}

/// Replaces all children of a pool by new ones, a few at a time.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "Result<ReloadStarted, CommandError>")]
pub struct Reload;

/// The result of a [`Reload`] that has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadStarted {
    /// The number of children that will be replaced.
    pub children: u32,
}

/// Changes the number of children.
///
/// In a pre-forking daemon this changes `min_spare` and `max_spare` by the same amount. In a pool
/// with a [fixed](crate::PreFork::fixed) number of children, in a post-forking daemon and in an
/// on-demand pool it changes `max_children`.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<Resized, CommandError>")]
pub struct SetSize(pub Resize);

/// The sizes after a [`SetSize`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resized {
    /// The minimum number of spare children; 0 if only `max_children` limits the daemon.
    pub min_spare: u32,
    /// The maximum number of spare children; 0 if only `max_children` limits the daemon.
    pub max_spare: u32,
    /// The maximum number of children.
    pub max_children: u32,
}

/// Retires a child: it exits after its current request.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<ChildId, CommandError>")]
pub struct Retire(pub Pid);

/// Kills a child. Its current request is lost.
///
/// A child can also be killed while the daemon is stopping.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<ChildId, CommandError>")]
pub struct Kill(pub Pid);

/// Reopens the logs in all processes, as HUP does with [`OnHup::ReopenLogs`](crate::OnHup).
///
/// [`DaemonHup`] is broadcast in each process.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<(), ReopenError>")]
pub struct Reopen;

/// The parent cannot reopen its log and continues to use the old log.
///
/// The fork server and the children have been asked to reopen their logs nevertheless.
#[derive(Debug, thiserror::Error)]
#[error("the old log stays in use: {source}")]
#[non_exhaustive]
pub struct ReopenError {
    /// The error of the system.
    #[source]
    pub source: daemon_sys::Error,
}

/// Why the parent refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The daemon is stopping or has stopped.
    #[error("cannot change the daemon: it is {}", .0.word())]
    Phase(Phase),
    /// The command needs a pool, and the daemon has none.
    #[error("cannot {action}: the daemon has no pool of children")]
    NoPool {
        /// The refused action, for example `reload`.
        action: &'static str,
    },
    /// The daemon uses the model [`Solo`](crate::Solo), which has no children.
    #[error("cannot {action}: the daemon has no children")]
    NoChildren {
        /// The refused action, for example `pause`.
        action: &'static str,
    },
    /// No child of the daemon has this pid. The child may have exited.
    #[error("no child of this daemon has pid {pid}")]
    NoSuchChild {
        /// The pid in the command.
        pid: Pid,
    },
    /// The requested number is out of range.
    #[error("cannot resize to {wanted}: {reason}")]
    Size {
        /// The number that was requested.
        wanted: u32,
        /// Why the number is refused.
        reason: String,
    },
}

/// Returns the status of the daemon as a [`Report`]. In the original, `POE::Component::Daemon`,
/// this is `status`.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Report")]
pub enum GetStatus {
    /// Returns the scoreboard and the counters. Reads only shared memory, without a system call per
    /// child.
    Board,
    /// Also returns the CPU time and memory of each process, from the process table. The parent
    /// reads the table on another thread. A child that receives this message returns the same as
    /// for `Board`: reading the table would delay its requests.
    Processes,
}

/// Returns the internal state of the process that receives this message, as text: what is pending,
/// and why the process does not exit. In `POE::Component::Daemon`, this is `peek`.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "String")]
pub struct Peek {
    /// How much the peek includes.
    pub detail: Detail,
}

/// How much a [`Peek`] includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The sessions of the process, and what is pending.
    Brief,
    /// Also descriptors, threads, tasks and the status report.
    Verbose,
}

/// Returns evidence of what a child is doing now: its state on the scoreboard and in the system,
/// and a backtrace if the child delivers one within 100 ms.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "Result<Arc<Evidence>, TraceError>")]
pub struct TraceChild(pub Pid);

/// Why a child cannot be traced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// No child has this pid.
    #[error("cannot trace process {0}: no child of this daemon has this pid")]
    NoSuchChild(Pid),
    /// The daemon has no children, or has stopped.
    #[error("cannot trace process {0}: the daemon has no children, or has stopped")]
    NoBabysitter(Pid),
}

/// Registers a process that the program has started itself, so that the daemon stops this process
/// when the daemon itself stops. Corresponds to `foreign_child` of `POE::Component::Daemon`.
///
/// When the daemon stops, it sends TERM to the process, and KILL when the grace period is over.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "Result<(), ForeignChildError>")]
pub struct ForeignChild(pub Pid);

impl From<&std::process::Child> for ForeignChild {
    fn from(child: &std::process::Child) -> Self {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        ForeignChild(pid.expect("the pid of a child is positive"))
    }
}

/// Why a foreign child cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch process {pid}: {source}")]
#[non_exhaustive]
pub struct ForeignChildError {
    /// The pid of the process.
    pub pid: Pid,
    /// The error of the system.
    #[source]
    pub source: daemon_sys::Error,
}

/// Subscribes an actor to all events of the daemon ([`DaemonEvent`](crate::DaemonEvent)), or to one
/// kind of them (for example [`DaemonPause`]).
///
/// A late subscriber immediately receives the events that describe the current state: in the parent
/// [`DaemonStart`], [`DaemonPhase`], [`DaemonParent`] while the daemon runs, [`DaemonPause`] while
/// it accepts no requests, [`DaemonOperatorPause`] while the operator has paused it, and
/// [`DaemonShutdown`] while it stops; in a child [`DaemonAccept`] while it may accept a request,
/// [`DaemonPause`] and [`DaemonShutdown`].
#[derive(Message, Debug)]
#[rtype(result = "SessionId")]
pub struct Subscribe<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    pub(crate) recipient: Recipient<M>,
    pub(crate) name: String,
}

impl<M> Subscribe<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// Creates a subscription for this recipient. [`Peek`] shows the subscription
    /// under this name.
    pub fn new(name: impl Into<String>, recipient: impl Into<Recipient<M>>) -> Self {
        Subscribe { recipient: recipient.into(), name: name.into() }
    }
}

/// The number of a session in the output of [`Peek`]. The daemon itself is session 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(pub u32);

/// Waits until the daemon has stopped: all children and the fork server have exited.
///
/// If the daemon has ended with an error, returns the error.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "Result<(), crate::DaemonError>")]
pub struct WaitUntilStopped;

/// Connects the daemon to a service: from now on the daemon's phase drives the service's state, and
/// the service's controls are passed on to the daemon. See [`service`](crate::service).
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct RegisterWith(pub Addr<ServiceActor>);

/// Sent to the actor when the parent has received a signal.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct SignalReceived(pub(crate) Signal);
