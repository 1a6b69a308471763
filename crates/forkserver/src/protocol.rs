//! Messages between parent and fork server: commands to the fork server, reports to the parent.

use std::time::Duration;

use daemon_core::{ChildId, Exit, Pid, Signal};
use daemon_sys::link::FDS_MAX;
use serde::{Deserialize, Serialize};

use crate::channel::ChannelLimits;

/// A command from the parent to the fork server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForkServerCommand {
    /// Fork a child into this slot. The frame of this command carries the request's descriptors,
    /// and its bytes in the frame's body; or else in a memory file, which is the first descriptor.
    Fork { child: ChildId, is_in_file: bool, descriptors: u8 },
    /// Send a signal to one child, if it still exists.
    Signal { child: ChildId, signal: Signal },
    /// Send a signal to all children.
    SignalAll { signal: Signal },
    /// Check whether this child still exists, and report its exit if not.
    CheckChild { child: ChildId },
    /// Fork a process that looks up these addresses. The frame of this command carries the end of
    /// a pipe to which the process writes. There is no report: the pipe is closed when the lookup
    /// ends, or if it cannot be started.
    LookUpSymbols { addresses: Vec<u64> },
    /// Reopen the logs.
    ReopenLogs,
    /// Drop the program, and every listener with it. No more children are forked.
    Release,
    /// Stop the children and what they have started, kill them after this time, then exit.
    ShutDown { grace: Duration },
}

impl ForkServerCommand {
    /// Returns the number of descriptors in the command's frame.
    pub(crate) fn descriptors(&self) -> usize {
        match self {
            ForkServerCommand::Fork { descriptors, .. } => usize::from(*descriptors),
            ForkServerCommand::LookUpSymbols { .. } => 1,
            ForkServerCommand::Signal { .. }
            | ForkServerCommand::SignalAll { .. }
            | ForkServerCommand::CheckChild { .. }
            | ForkServerCommand::ReopenLogs
            | ForkServerCommand::Release
            | ForkServerCommand::ShutDown { .. } => 0,
        }
    }
}

/// The limits of the link's end in the parent. The size of a read is enough for about eighty
/// reports.
pub(crate) const PARENT_LIMITS: ChannelLimits =
    ChannelLimits { read_size: 1024, frame_max: 64 * 1024, waiting_max: 0 };

/// The limits of the link's end in the fork server. The size of a read is enough for one command
/// with a small request. It is small because after each fork, every page that the fork server
/// writes to is copied.
pub(crate) const SERVER_LIMITS: ChannelLimits =
    ChannelLimits { waiting_max: 2 * FDS_MAX, ..PARENT_LIMITS };

/// A report from the fork server to the parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The preload step has finished; commands are accepted.
    Ready,
    /// The preload step failed; the fork server exits.
    PreloadFailed { error: String },
    /// A fork succeeded.
    ChildForked { child: ChildId, pid: Pid },
    /// A fork failed.
    ForkFailed { child: ChildId, error: ForkRefusal },
    /// A child has been reaped.
    ChildExited { child: ChildId, pid: Pid, exit: Exit },
    /// A child has exited, and processes of its group are left.
    DescendantsLeft { child: ChildId, group: Pid },
    /// The children have exited, and this number of processes that they have started was asked to
    /// exit.
    EndingDescendants { processes: u32 },
    /// Processes that children have started are left when the fork server exits.
    DescendantsSurvive { error: String },
    /// The logs could not be reopened.
    ReopenLogsFailed { error: String },
}

/// Why the fork server did not fork a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ForkRefusal {
    /// fork(2) failed with this errno: usually EAGAIN (a process limit) or ENOMEM.
    #[error("{}", refused(*.0))]
    System(i32),
    /// The fork server has other threads, started by a preload step or a C library.
    #[error("{0}")]
    OtherThreads(String),
    /// The fork server has released the program: the daemon is stopping.
    #[error("cannot fork: the daemon is stopping")]
    Released,
}

impl ForkRefusal {
    /// Returns whether the same command may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, ForkRefusal::System(_))
    }
}

impl From<daemon_sys::Error> for ForkRefusal {
    fn from(error: daemon_sys::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => ForkRefusal::System(errno),
            None => ForkRefusal::OtherThreads(error.to_string()),
        }
    }
}

fn refused(errno: i32) -> daemon_sys::Error {
    daemon_sys::Error::fork(std::io::Error::from_raw_os_error(errno))
}
