//! What the parent and the fork server say to each other: orders go down, reports come up.

use daemon_core::Exit;
use daemon_sys::reap;
use serde::{Deserialize, Serialize};

/// Parent to fork server, in the imperative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForkServerCommand {
    /// Fork a child into this seat. The request's descriptors come with the frame.
    Fork { slot: u32, generation: u32, request: RequestBody },
    /// Send a signal to one child, if it is still there.
    Signal { slot: u32, generation: u32, signal: i32 },
    /// Send a signal to all children there are now.
    SignalAll { signal: i32 },
    /// See whether this child is still there, and report its end if it is not.
    CheckChild { slot: u32, generation: u32 },
    /// Do what is done on a hangup: reopen the log.
    ReopenLogs,
    /// Drop the brood, and with it every listener: no more child will need it.
    Release,
    /// Leave, children first.
    ShutDown,
}

/// Where the bytes of a request are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RequestBody {
    /// In the order itself.
    Inline(Vec<u8>),
    /// In a memory file, the first of the frame's descriptors.
    MemoryFile,
}

/// Fork server to parent, in the past tense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The preload step is over; orders are taken.
    Ready,
    /// The preload step failed; the fork server has left.
    PreloadFailed { error: String },
    /// A fork succeeded.
    ChildBorn { slot: u32, generation: u32, pid: i32 },
    /// A fork failed; nothing of it is left.
    ForkFailed { slot: u32, generation: u32, error: ForkRefusal },
    /// A child has been reaped.
    ChildExited { slot: u32, generation: u32, pid: i32, exit: Exit },
    /// The hangup could not be done.
    ReopenLogsFailed { error: String },
}

/// Why the fork server did not fork.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ForkRefusal {
    /// The system refused, with this errno: usually EAGAIN (a limit of processes) or ENOMEM.
    #[error("{}{}", refused(*.0), hint(*.0))]
    System(i32),
    /// A thread was started in the fork server, by a preload step or a C library.
    #[error("{0}")]
    OtherThreads(String),
    /// The fork server has let go of the program already: the daemon is stopping.
    #[error("cannot fork: the daemon is stopping")]
    Released,
}

impl ForkRefusal {
    /// Tells whether the same order may succeed later.
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

/// A process' end as it was reaped, in the words of the rules.
pub(crate) fn to_core_exit(exit: reap::Exit) -> Exit {
    match exit {
        reap::Exit::Code(code) => Exit::Code(code),
        reap::Exit::Signal { number, core } => Exit::Signal { number, core },
    }
}

fn refused(errno: i32) -> daemon_sys::Error {
    daemon_sys::Error::os("fork", std::io::Error::from_raw_os_error(errno))
}

/// Where to look when the system is short of processes or memory.
fn hint(errno: i32) -> &'static str {
    if refused(errno).is_resource_shortage() {
        "; look at the limit of processes (ulimit -u, pids.max of the cgroup) and at free memory"
    } else {
        ""
    }
}
