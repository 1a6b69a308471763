//! Messages that query the daemon.

use std::sync::Arc;

use actix::Message;
use daemon_sys::process::Pid;

use daemon_protocol::{Evidence, Report};

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
