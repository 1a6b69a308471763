//! That a process has one manager at a time.

use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

use daemon_sys::Pid;

use crate::error::ConfigError;

/// The process whose signals a manager hears; 0 if none does. A forked process inherits the number,
/// which is another's then.
static MANAGER: AtomicI32 = AtomicI32::new(0);

/// The right to this process' signals.
#[derive(Debug)]
pub(crate) struct ManagerPid(Pid);

impl ManagerPid {
    /// Takes it.
    pub(crate) fn acquire() -> Result<ManagerPid, ConfigError> {
        let this = Pid::this();
        let former = MANAGER.load(SeqCst);
        let taken = former != this.as_raw()
            && MANAGER.compare_exchange(former, this.as_raw(), SeqCst, SeqCst).is_ok();
        if taken { Ok(ManagerPid(this)) } else { Err(ConfigError::AlreadyManaged) }
    }

    /// Whose process it is.
    pub(crate) fn get(&self) -> Pid {
        self.0
    }

    /// Takes it for the process that this is by now: it may have detached.
    pub(crate) fn update(&mut self) {
        self.0 = Pid::this();
        MANAGER.store(self.0.as_raw(), SeqCst);
    }

    /// Leaves it to the worker that this process has become, for as long as it lives.
    pub(crate) fn transfer_to_worker(self) {
        MANAGER.store(Pid::this().as_raw(), SeqCst);
        std::mem::forget(self);
    }
}

impl Drop for ManagerPid {
    fn drop(&mut self) {
        // A copy in another process has nothing to give back.
        let _ = MANAGER.compare_exchange(Pid::this().as_raw(), 0, SeqCst, SeqCst);
    }
}
