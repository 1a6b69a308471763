//! Processes that the program has started itself: signalled at the end, by identity.

use daemon_sys::pidfd::PidFd;
use daemon_sys::process::{Pid, Signal};

use crate::messages::ForeignChildError;

/// The foreign children that are still there.
#[derive(Debug, Default)]
pub(crate) struct ForeignChildren(Vec<PidFd>);

impl ForeignChildren {
    /// Takes one in. Its handle means this very process, even when its number is used again.
    pub(crate) fn adopt(&mut self, pid: Pid) -> Result<&PidFd, ForeignChildError> {
        let handle = PidFd::open(pid).map_err(|source| ForeignChildError { pid, source })?;
        self.0.retain(|known| known.pid() != pid);
        self.0.push(handle);
        Ok(&self.0[self.0.len() - 1])
    }

    /// Signals all that are still there.
    pub(crate) fn signal_all(&self, signal: Signal) {
        for handle in &self.0 {
            // It may go between the look and the signal; then there is nothing to do.
            let _ = handle.signal(signal);
        }
    }

    /// Forgets those that are gone, and answers who.
    pub(crate) fn remove_gone(&mut self) -> Vec<Pid> {
        let gone = |handle: &mut PidFd| handle.has_exited().unwrap_or(false);
        self.0.extract_if(.., gone).map(|handle| handle.pid()).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn pids(&self) -> Vec<Pid> {
        self.0.iter().map(PidFd::pid).collect()
    }
}
