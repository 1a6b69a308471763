//! Foreign children: processes that the program started itself. The daemon signals them through
//! pidfds when it stops.

use daemon_sys::pidfd::PidFd;
use daemon_sys::process::{Pid, Signal};

use crate::messages::ForeignChildError;

/// The foreign children whose exit has not been detected yet.
#[derive(Debug, Default)]
pub(crate) struct ForeignChildren(Vec<PidFd>);

impl ForeignChildren {
    /// Adds a foreign child and returns its pidfd. The pidfd refers to this process even after the
    /// pid is reused.
    pub(crate) fn adopt(&mut self, pid: Pid) -> Result<&PidFd, ForeignChildError> {
        let handle = PidFd::open(pid).map_err(|source| ForeignChildError { pid, source })?;
        self.0.retain(|known| known.pid() != pid);
        self.0.push(handle);
        Ok(&self.0[self.0.len() - 1])
    }

    /// Signals all foreign children that are still running.
    pub(crate) fn signal_all(&self, signal: Signal) {
        for handle in &self.0 {
            // The process may have exited already, or may belong to another user now. Both errors
            // are ignored.
            let _ = handle.signal(signal);
        }
    }

    /// Removes the foreign children that have exited and returns their pids.
    pub(crate) fn remove_gone(&mut self) -> Vec<Pid> {
        let has_exited = |handle: &mut PidFd| handle.has_exited().unwrap_or(false);
        self.0.extract_if(.., has_exited).map(|handle| handle.pid()).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn pids(&self) -> Vec<Pid> {
        self.0.iter().map(PidFd::pid).collect()
    }
}
