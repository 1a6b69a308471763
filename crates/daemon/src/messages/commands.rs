//! What can be asked of the daemon to do.

use actix::Message;
use daemon_core::Phase;
use daemon_forkserver::ChildId;
use daemon_sys::process::Pid;

pub use daemon_core::StopMode;

/// Asks this process to go, and in the parent the whole daemon. The original's `shutdown`.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "ShutdownStarted")]
pub struct Shutdown(pub StopMode);

/// What a [`Shutdown`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownStarted {
    /// It begins now.
    Now,
    /// It had begun before; asked for again, it hurries.
    Already,
}

/// Asks the parent to take no more requests until [`Resume`].
///
/// In a post-forking daemon the door is shut: [`DaemonPause`](super::DaemonPause) is broadcast in
/// the parent. In a pool it is broadcast in the parent and in each child, and children that are
/// ready are not told [`DaemonAccept`](super::DaemonAccept). What was accepted before is served.
/// Connections wait in the listener's queue.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<PauseOutcome, CommandError>")]
pub struct Pause;

/// Asks the parent to take requests again, after [`Pause`].
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<PauseOutcome, CommandError>")]
pub struct Resume;

/// What [`Pause`] and [`Resume`] have found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseOutcome {
    /// It is so now.
    Now,
    /// It was so before.
    Already,
}

/// Asks a pre-forking parent to replace all children, a few at a time, by ones born anew.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "Result<ReloadStarted, CommandError>")]
pub struct Reload;

/// A reload has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadStarted {
    /// How many children will be replaced.
    pub children: u32,
}

/// Asks the parent for another number of children.
///
/// A pool moves its `min_spare` and `max_spare` together; a post-forking daemon its
/// `max_children`.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<Resized, CommandError>")]
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
#[non_exhaustive]
pub struct Resized {
    /// Least number of spare children; 0 in a post-forking daemon.
    pub min_spare: u32,
    /// Most number of spare children; 0 in a post-forking daemon.
    pub max_spare: u32,
    /// Most number of children.
    pub max_children: u32,
}

/// Asks the parent to have this child leave after the request in hand.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<ChildId, CommandError>")]
pub struct Retire(pub Pid);

/// Asks the parent to have this child killed: the request in hand is lost. In a daemon that stops,
/// too.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<ChildId, CommandError>")]
pub struct Kill(pub Pid);

/// Asks the parent to have the logs reopened in all processes, as HUP does with
/// [`OnHup::ReopenLogs`](crate::OnHup): [`DaemonHup`](super::DaemonHup) is broadcast in each.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<(), ReopenError>")]
pub struct Reopen;

/// The parent's log could not be reopened: the old one stays in use there. The fork server and the
/// children have been told all the same.
#[derive(Debug, thiserror::Error)]
#[error("the old log stays in use: {source}")]
#[non_exhaustive]
pub struct ReopenError {
    /// Why.
    #[source]
    pub source: daemon_sys::Error,
}

/// Why the parent refuses a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The daemon is stopping.
    #[error("cannot change the daemon any more: it is {}", .0.word())]
    Phase(Phase),
    /// The model has no such thing.
    #[error("cannot {action}: the daemon has no pool of standing children")]
    NoPool {
        /// What was asked for.
        action: &'static str,
    },
    /// The model has no children.
    #[error("cannot {action}: the daemon has no children")]
    NoChildren {
        /// What was asked for.
        action: &'static str,
    },
    /// No child has this process, or it is not born yet, or gone.
    #[error("no child is process {pid}: it is gone, not born yet, or not this daemon's")]
    NoSuchChild {
        /// Which was asked for.
        pid: Pid,
    },
    /// The number is out of range.
    #[error("cannot resize to {wanted}: {reason}")]
    Size {
        /// What was asked for.
        wanted: u32,
        /// Why the number is refused.
        reason: String,
    },
}
