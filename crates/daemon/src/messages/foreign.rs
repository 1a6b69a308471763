//! Messages about processes that the program has started itself.

use actix::Message;
use daemon_sys::process::Pid;

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
