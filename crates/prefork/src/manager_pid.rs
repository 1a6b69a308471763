//! Ensures that a process has at most one manager.

use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

use daemon_sys::Pid;
use daemon_sys::process::this_pid;

use crate::error::ConfigError;

/// The pid of the process whose signals a manager handles; 0 if there is none. A forked process
/// inherits the value, but the value is then not its own pid.
static MANAGER: AtomicI32 = AtomicI32::new(0);

/// The exclusive right to handle the signals of this process.
#[derive(Debug)]
pub(crate) struct ManagerPid(Pid);

impl ManagerPid {
    /// Acquires the right for this process. Fails if this process already has a manager or is a
    /// worker.
    pub(crate) fn acquire() -> Result<ManagerPid, ConfigError> {
        let this = this_pid();
        let previous = MANAGER.load(SeqCst);
        let is_acquired = previous != this.as_raw()
            && MANAGER.compare_exchange(previous, this.as_raw(), SeqCst, SeqCst).is_ok();
        if is_acquired { Ok(ManagerPid(this)) } else { Err(ConfigError::AlreadyManaged) }
    }

    /// Returns the manager's pid.
    pub(crate) fn get(&self) -> Pid {
        self.0
    }

    /// Acquires the right for the current process again, because daemonizing changes the pid.
    pub(crate) fn update(&mut self) {
        self.0 = this_pid();
        MANAGER.store(self.0.as_raw(), SeqCst);
    }

    /// Keeps the right until this process, which is a new worker, exits. A worker can therefore not
    /// create a manager.
    pub(crate) fn transfer_to_worker(self) {
        MANAGER.store(this_pid().as_raw(), SeqCst);
        std::mem::forget(self);
    }
}

impl Drop for ManagerPid {
    fn drop(&mut self) {
        // In a forked process the stored pid does not match, so nothing changes.
        let _ = MANAGER.compare_exchange(this_pid().as_raw(), 0, SeqCst, SeqCst);
    }
}
