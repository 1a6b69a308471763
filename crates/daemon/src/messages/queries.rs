//! What the daemon can be asked about.

use std::sync::Arc;

use actix::Message;
use daemon_sys::process::Pid;

use crate::evidence::Evidence;
use crate::status::Report;

/// Asks for the state of the daemon. The original's `status`.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Report")]
pub enum GetStatus {
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
    #[error("cannot trace process {0}: the daemon has no children, or has stopped")]
    NoBabysitter(Pid),
}
