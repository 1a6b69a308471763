//! Messages that control the daemon.

use actix::Message;
use daemon_core::Phase;
use daemon_forkserver::ChildId;
use daemon_sys::process::Pid;

pub use daemon_core::StopMode;

/// Shuts down this process; sent to the parent, the whole daemon. The original's `shutdown`.
///
/// A graceful shutdown waits until the requests in progress are done, for at most the daemon's
/// [`grace`](crate::DaemonBuilder::grace).
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "ShutdownStarted")]
pub struct Shutdown(pub StopMode);

/// The result of a [`Shutdown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownStarted {
    /// The shutdown has started.
    Now,
    /// A shutdown was in progress already. A second request makes it faster.
    Already,
}

/// Pauses the daemon: it accepts no more requests until [`Resume`].
///
/// In a post-forking daemon [`DaemonPause`](super::DaemonPause) is broadcast in the parent. In a pool it
/// is broadcast in the parent and in each child, and children that are ready receive no
/// [`DaemonAccept`](super::DaemonAccept). Requests that were accepted before are served. New connections
/// wait in the listener's backlog.
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
    /// The state has changed.
    Now,
    /// The daemon was in that state already.
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
/// In a pool it moves `min_spare` and `max_spare` by the same amount, in a post-forking daemon it
/// changes `max_children`.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<Resized, CommandError>")]
pub enum Resize {
    /// One child more, as TTIN does.
    More,
    /// One child fewer, as TTOU does.
    Fewer,
    /// Exactly this many.
    To(u32),
}

/// The sizes after a [`Resize`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resized {
    /// Lowest number of spare children; 0 in a post-forking daemon.
    pub min_spare: u32,
    /// Highest number of spare children; 0 in a post-forking daemon.
    pub max_spare: u32,
    /// Highest number of children.
    pub max_children: u32,
}

/// Retires a child: it exits after its current request.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<ChildId, CommandError>")]
pub struct Retire(pub Pid);

/// Kills a child. Its current request is lost.
///
/// It also works while the daemon is stopping.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<ChildId, CommandError>")]
pub struct Kill(pub Pid);

/// Reopens the logs in all processes, as HUP does with [`OnHup::ReopenLogs`](crate::OnHup).
///
/// [`DaemonHup`](super::DaemonHup) is broadcast in each process.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<(), ReopenError>")]
pub struct Reopen;

/// The parent cannot reopen its log and continues to use the old one.
///
/// The fork server and the children have been asked to reopen theirs nevertheless.
#[derive(Debug, thiserror::Error)]
#[error("the old log stays in use: {source}")]
#[non_exhaustive]
pub struct ReopenError {
    /// The error.
    #[source]
    pub source: daemon_sys::Error,
}

/// Why the parent refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The daemon is stopping.
    #[error("cannot change the daemon: it is {}", .0.word())]
    Phase(Phase),
    /// The command needs a pool, and the model has none.
    #[error("cannot {action}: the daemon has no pool of children")]
    NoPool {
        /// What the command would have done.
        action: &'static str,
    },
    /// The model has no children.
    #[error("cannot {action}: the daemon has no children")]
    NoChildren {
        /// What the command would have done.
        action: &'static str,
    },
    /// No child of the daemon has this pid. It may have exited.
    #[error("no child of this daemon has pid {pid}")]
    NoSuchChild {
        /// The pid.
        pid: Pid,
    },
    /// The number is out of range.
    #[error("cannot resize to {wanted}: {reason}")]
    Size {
        /// The number that was requested.
        wanted: u32,
        /// Why the number is refused.
        reason: String,
    },
}
