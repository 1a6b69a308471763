//! A process handle that, on Linux, stays valid when the system reuses the process's pid.

use std::os::fd::{AsFd, BorrowedFd};

use crate::error::Result;
use crate::process::{Pid, Signal, SignalOutcome};

#[cfg(any(not(target_os = "linux"), fallback))]
mod fallback;
#[cfg(all(target_os = "linux", not(fallback)))]
mod linux;
#[cfg(any(not(target_os = "linux"), fallback))]
use fallback as platform;
#[cfg(all(target_os = "linux", not(fallback)))]
use linux as platform;

/// A handle for any process.
///
/// On Linux the handle is a pidfd (pidfd_open(2)). It refers to the process that had the pid when
/// the handle was opened, and never to a later process with the same pid. On other systems the
/// handle contains only the pid, which the system can reuse, and its descriptor is never readable.
#[derive(Debug)]
pub struct PidFd {
    pid: Pid,
    handle: platform::ProcessHandle,
}

impl PidFd {
    /// Opens a handle for the process with this pid.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such process.
    pub fn open(pid: Pid) -> Result<PidFd> {
        platform::ProcessHandle::open(pid).map(|handle| PidFd { pid, handle })
    }

    /// Returns the pid that the handle was opened with.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to the process. After the process is reaped, the result is
    /// [`NoSuchProcess`](SignalOutcome::NoSuchProcess), on Linux even if the pid is reused.
    ///
    /// # Errors
    ///
    /// If the process belongs to another user.
    pub fn signal(&self, signal: Signal) -> Result<SignalOutcome> {
        self.handle.signal(self.pid, signal)
    }

    /// Returns whether the process has exited. On Linux a zombie counts as exited. On other systems
    /// a process counts as exited only after it is reaped.
    ///
    /// # Errors
    ///
    /// If poll(2) fails because the system is out of memory.
    pub fn has_exited(&self) -> Result<bool> {
        self.handle.has_exited(self.pid)
    }
}

/// On Linux, the descriptor is readable when the process has exited.
impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_exited_process_is_detected_and_cannot_be_signalled() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let pid = Pid::from_raw(child.id() as i32).expect("a pid");
        let handle = PidFd::open(pid).expect("opened");
        assert!(!handle.has_exited().expect("a result"));
        assert_eq!(handle.signal(Signal::Kill).expect("permitted"), SignalOutcome::Delivered);
        child.wait().expect("reaped");
        assert!(handle.has_exited().expect("a result"));
        assert_eq!(handle.signal(Signal::Kill).expect("a result"), SignalOutcome::NoSuchProcess);
    }

    #[test]
    fn a_pid_without_a_process_is_refused() {
        let unused = Pid::from_raw(i32::MAX).expect("positive");
        let error = PidFd::open(unused).expect_err("refused");
        assert_eq!(error.to_string(), "cannot open process 2147483647: no such process");
    }
}
