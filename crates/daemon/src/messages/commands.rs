//! Messages that control the daemon.

use actix::Message;
use daemon_core::Phase;
use daemon_forkserver::ChildId;
use daemon_sys::process::Pid;

pub use daemon_core::{Resize, StopMode};

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
/// In a post-forking daemon [`DaemonPause`](super::DaemonPause) is broadcast in the parent. In a
/// daemon with a pool it is broadcast in the parent and in each child, and children that become
/// ready during the pause receive no [`DaemonAccept`](super::DaemonAccept). Requests that were
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
/// In a pre-forking daemon this changes `min_spare` and `max_spare` by the same amount. In a
/// post-forking daemon and in an on-demand pool it changes `max_children`.
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
/// [`DaemonHup`](super::DaemonHup) is broadcast in each process.
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
