//! Everything that is said between the daemon and its sessions.
//!
//! Broadcasts tell what has happened and go to whoever has [`Subscribe`]d to them. Requests ask
//! for something, and each is answered with a typed result.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Message, Recipient};
use daemon_core::{Cause, Hold, Measure, Offence, Phase};
use daemon_nursery::{ChildId, HandoverError};
use daemon_service::ServiceActor;
use daemon_sys::process::Pid;
use serde::Serialize;

pub use daemon_core::Manner;

use crate::evidence::Evidence;
use crate::status::Report;

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
/// prepare; it then sends [`UpdateStatus::Wait`] and is answered with [`DaemonAccept`].
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct DaemonChild<R> {
    /// What the parent has handed over; `()` in a pre-forked child that accepts by itself.
    pub request: R,
}

/// Broadcast when requests may be taken. The original's `daemon_accept`.
///
/// In a pre-forked child: take one request, after [`UpdateStatus::Wait`] or `Done`. In the parent:
/// there is room again, after [`DaemonPause`].
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct DaemonAccept;

/// Broadcast in the parent of a post-forking daemon as the last child is taken, and in the parent and
/// all children of a pool when the operator pauses it ([`Pause`]): take no more requests until
/// [`DaemonAccept`]. The original's `daemon_pause`.
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
    AtOnce,
    /// This child is one too many, or is replaced; others go on accepting.
    Retired,
    /// This child has served its number of requests.
    Recycled,
    /// This post-forked child has done its request.
    Done,
}

/// Broadcast in the parent for each child that is born.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct ChildBorn {
    /// Which child.
    pub child: ChildId,
    /// Its process.
    pub pid: Pid,
}

/// Broadcast in the parent as the daemon comes to another phase of its life.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct DaemonPhase(pub Phase);

/// Broadcast in the parent as the operator pauses the daemon, and as it goes on: by [`Pause`] and
/// [`Resume`], or by TSTP and CONT.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct DaemonHold(pub Hold);

/// Broadcast in the parent as the children of a pool are replaced.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub enum DaemonReload {
    /// It begins, or begins anew.
    Begun,
    /// All children of before are gone or going.
    Done,
}

/// Asks the parent to register with a service: its phase drives the service's states from now on,
/// and the service's controls reach the daemon. See [`service`](crate::service).
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct RegisterWith(pub Addr<ServiceActor>);

/// Broadcast in the parent for each child that is gone and reaped.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct ChildExited {
    /// Which child.
    pub child: ChildId,
    /// Which process it was.
    pub pid: Pid,
    /// Why it is gone.
    pub cause: Cause,
    /// How many requests it had begun.
    pub requests: u64,
    /// How long it lived.
    pub lived: Duration,
}

/// Broadcast in the parent for each step against a rogue child, and for each slow request.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct RogueChild {
    /// Which child.
    pub child: ChildId,
    /// Its process.
    pub pid: Pid,
    /// What it does that no child may; none where its request is only slow.
    pub offence: Option<Offence>,
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
    Measure(Measure),
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
            RogueStep::Measure(measure) => measure.word(),
            RogueStep::Recovered => "recovered",
            RogueStep::Slow => "slow",
        }
    }
}

/// Broadcast in the parent when a [`ForeignChild`] is gone.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct ForeignExited {
    /// Which process it was. Its exit status is for its own parent to collect.
    pub pid: Pid,
}

/// Asks the parent for the evidence of what a child does now: what the scoreboard and the system
/// tell of it, and its own backtrace if it answers within 100 ms.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "Result<Arc<Evidence>, TraceError>")]
pub struct TraceChild(pub Pid);

/// Why there is no evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// No child has this pid.
    #[error("cannot trace process {0}: no child of the daemon has this pid")]
    NoSuchChild(Pid),
    /// The daemon has no children, or has stopped.
    #[error("cannot trace process {0}: there is nobody who watches over children")]
    NoBabysitter(Pid),
}

/// Asks a child's daemon to note what the session does. The original's `update_status`.
///
/// Answered with [`Updated`], or with why it cannot be ([`StatusError`]).
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<Updated, StatusError>")]
pub enum UpdateStatus {
    /// Ready for a request. `w`, or `.` before the first.
    Wait,
    /// Handling a request. `r`. Said for a request that is `Long` it is no second one.
    Req,
    /// Handling a request that takes long. `l`.
    Long,
    /// The request is done: as `Wait` in a pool; a post-forked child leaves.
    Done,
    /// The request in hand needs more time: at least so much from now, whatever its time limit.
    Extend(Duration),
}

/// What an [`UpdateStatus`] has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// [`DaemonAccept`] has been broadcast: take a request.
    Accepting,
    /// The operator has paused the daemon: [`DaemonAccept`] is broadcast when it goes on.
    Held,
    /// The status is noted.
    Noted,
    /// The child is leaving.
    Leaving(ShutdownReason),
}

/// Why a status was not noted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The scoreboard's rules forbid the move.
    #[error("{0}")]
    Refused(#[from] daemon_core::ReportError),
    /// There is no status in the parent: it has no slot.
    #[error(
        "the parent has no status to update: send HandOver to the daemon to have a request \
         handled by a child"
    )]
    InParent,
}

/// Tells a child's daemon in a few words what it is doing, for the scoreboard and ps(1).
///
/// Cut after [`daemon_core::LABEL_MAX`] bytes.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct Label(pub String);

/// Asks a post-forking parent to have this request handled by a child of its own. The original's
/// `update_status('req', data)` in the parent.
///
/// Answered when the child is born. The request is never lost: until then the parent keeps it,
/// and an error gives it back.
#[derive(Message, Debug)]
#[rtype(result = "Result<Handed, HandBack<R>>")]
pub struct HandOver<R: 'static>(pub R);

impl<R> From<R> for HandOver<R> {
    fn from(request: R) -> Self {
        HandOver(request)
    }
}

/// The child that has got a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handed {
    /// Which child.
    pub child: ChildId,
    /// Its process.
    pub pid: Pid,
}

/// A request that could not be handed over, untouched.
#[derive(Debug, thiserror::Error)]
#[error("the request is handed back: {why}")]
pub struct HandBack<R> {
    /// The request.
    pub request: R,
    /// Why.
    #[source]
    pub why: HandBackReason,
}

/// Why a request comes back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandBackReason {
    /// All children are busy and the backlog is full.
    #[error("all {max_children} children are busy and {backlog} requests wait already")]
    Full {
        /// How many children there may be.
        max_children: u32,
        /// How many requests may wait.
        backlog: u32,
    },
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
    /// The daemon's model takes no requests in the parent.
    #[error("the daemon is not post-forking: its children take their requests themselves")]
    NotPostForking,
    /// It cannot cross.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// No child can be forked, now or later.
    #[error("{0}")]
    CannotFork(String),
}

/// Asks the daemon to watch over a process that the program started itself: it gets TERM when the
/// daemon stops, and KILL when the grace is over. The original's `foreign_child`.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "Result<(), ForeignChildError>")]
pub struct ForeignChild(pub Pid);

impl From<&std::process::Child> for ForeignChild {
    fn from(child: &std::process::Child) -> Self {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        ForeignChild(pid.expect("the standard library hands out pids as they are: positive"))
    }
}

/// Why a foreign child cannot be watched over.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch over process {pid}: {source}")]
pub struct ForeignChildError {
    /// Which process.
    pub pid: Pid,
    /// Why.
    #[source]
    pub source: daemon_sys::Error,
}

/// Asks this process to go, and in the parent the whole daemon. The original's `shutdown`.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "ShutdownBegun")]
pub struct Shutdown(pub Manner);

/// What a [`Shutdown`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownBegun {
    /// It begins now.
    Now,
    /// It had begun before; asked for again, it hurries.
    Already,
}

/// Asks for the state of the daemon. The original's `status`.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Report")]
pub enum Status {
    /// What scoreboard and counters tell: memory is read, no system call made for a child.
    Board,
    /// And processor time and memory of each process, from the process table, which the parent has
    /// read on another thread. A child answers as to `Board`: it has a request to serve.
    Processes,
}

/// Asks for the inside of this process: what waits, and why it does not exit. The original's
/// `peek`.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "String")]
pub struct Peek {
    /// How much of it.
    pub detail: Detail,
}

/// How much a [`Peek`] shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What is pending.
    Brief,
    /// And the sessions, descriptors and threads.
    Verbose,
}

/// Asks the parent to have the logs reopened in all processes, as HUP does with
/// [`OnHup::ReopenLogs`](crate::OnHup): [`DaemonHup`] is broadcast in each.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<(), ReopenError>")]
pub struct Reopen;

/// The parent's log could not be reopened: the old one stays in use there. The nursery and the
/// children have been told all the same.
#[derive(Debug, thiserror::Error)]
#[error("the old log stays in use: {source}")]
pub struct ReopenError {
    /// Why.
    #[source]
    pub source: daemon_sys::Error,
}

/// Asks the parent to have this child leave after the request in hand.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<ChildId, Refusal>")]
pub struct Retire(pub Pid);

/// Asks the parent to have this child killed: the request in hand is lost. In a daemon that stops,
/// too.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<ChildId, Refusal>")]
pub struct Kill(pub Pid);

/// Asks the parent to have this child killed as a rogue, for this offence: its session in the parent
/// has found out by itself, and does not wait for the babysitter.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<ChildId, Refusal>")]
pub struct Condemn {
    /// Which child.
    pub pid: Pid,
    /// What it does that no child may.
    pub offence: Offence,
}

/// Tells the parent of an [`OnDemand`](crate::OnDemand) pool how many pieces of work have nobody to
/// do them. It holds until another number is told; the other models do not heed it.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct Demand(pub u32);

/// Asks the parent to take no more requests until [`Resume`].
///
/// In a post-forking daemon the door is shut: [`DaemonPause`] is broadcast in the parent. In a pool
/// it is broadcast in the parent and in each child, and children that are ready are not told
/// [`DaemonAccept`]. What was accepted before is served. Connections wait in the listener's queue.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<Held, Refusal>")]
pub struct Pause;

/// Asks the parent to take requests again, after [`Pause`].
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<Held, Refusal>")]
pub struct Resume;

/// What [`Pause`] and [`Resume`] have found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is so now.
    Now,
    /// It was so before.
    Already,
}

/// Asks a pre-forking parent to replace all children, a few at a time, by ones born anew.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "Result<Reloading, Refusal>")]
pub struct Reload;

/// A reload has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloading {
    /// How many children will be replaced.
    pub children: u32,
}

/// Asks the parent for another number of children.
///
/// A pool moves its `min_spare` and `max_spare` together; a post-forking daemon its
/// `max_children`.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<Resized, Refusal>")]
pub enum Resize {
    /// One more: what TTIN asks for.
    More,
    /// One fewer: what TTOU asks for.
    Fewer,
    /// So many.
    To(u32),
}

/// The numbers after a [`Resize`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resized {
    /// Least number of spare children; 0 in a post-forking daemon.
    pub min_spare: u32,
    /// Most number of spare children; 0 in a post-forking daemon.
    pub max_spare: u32,
    /// Most number of children.
    pub max_children: u32,
}

/// Why the parent refuses a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The daemon is stopping.
    #[error("the daemon is {0:?}: it does not change any more")]
    Phase(Phase),
    /// The model has no such thing.
    #[error("cannot {act}: the daemon has no pool of standing children")]
    NoPool {
        /// What was asked for.
        act: &'static str,
    },
    /// The model has no children.
    #[error("cannot {act}: the daemon has no children")]
    NoChildren {
        /// What was asked for.
        act: &'static str,
    },
    /// No child has this process, or it is not born yet, or gone.
    #[error("no child is process {pid}")]
    NoSuchChild {
        /// Which was asked for.
        pid: Pid,
    },
    /// The number is out of range.
    #[error("cannot resize to {wanted}: {why}")]
    Size {
        /// What was asked for.
        wanted: u32,
        /// Why not.
        why: String,
    },
}

/// Asks to be told of one kind of broadcast.
///
/// What has already happened and still holds is told at once: [`DaemonStart`], [`DaemonParent`],
/// [`DaemonPhase`], [`DaemonHold`], [`DaemonPause`] while the door is shut, [`DaemonShutdown`].
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
    /// Subscribes this recipient, under a name that [`Peek`] shows.
    pub fn new(name: impl Into<String>, recipient: impl Into<Recipient<M>>) -> Self {
        Subscribe { recipient: recipient.into(), name: name.into() }
    }
}

/// The number under which [`Peek`] shows a session. The daemon itself is session 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(pub u32);

/// Asks to be told when the daemon has stopped: all children gone, the nursery too.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "Result<(), crate::DaemonError>")]
pub struct UntilStopped;
