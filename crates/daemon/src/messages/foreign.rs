//! Processes that the program has started itself.

use actix::Message;
use daemon_sys::process::Pid;

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
#[non_exhaustive]
pub struct ForeignChildError {
    /// Which process.
    pub pid: Pid,
    /// Why.
    #[source]
    pub source: daemon_sys::Error,
}

/// Broadcast in the parent when a [`ForeignChild`] is gone.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ForeignExited {
    /// Which process it was. Its exit status is for its own parent to collect.
    pub pid: Pid,
}
