//! A process held by a descriptor, so that its number can't be used again under our hands.

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

/// A handle on a process, any process: it means the one that had the pid when it was opened, and
/// never another that gets the number later.
///
/// On Linux it is a pidfd (pidfd_open(2)). Elsewhere it is the number alone, with the risk that
/// brings, and its descriptor is never readable.
#[derive(Debug)]
pub struct PidFd {
    pid: Pid,
    handle: platform::ProcessHandle,
}

impl PidFd {
    /// Opens a handle on the process that has this pid now.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is none.
    pub fn open(pid: Pid) -> Result<PidFd> {
        platform::ProcessHandle::open(pid).map(|handle| PidFd { pid, handle })
    }

    /// Returns the pid that it was opened by.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends the process a signal. Once it is reaped the answer is
    /// [`NoSuchProcess`](Sent::NoSuchProcess), whoever has its number.
    ///
    /// # Errors
    ///
    /// If the process is another user's.
    pub fn signal(&self, signal: Signal) -> Result<SignalOutcome> {
        self.handle.signal(self.pid, signal)
    }

    /// Says whether the process has ended. On Linux a zombie has; elsewhere only a reaped one.
    ///
    /// # Errors
    ///
    /// None that poll(2) names, but want of memory.
    pub fn has_exited(&self) -> Result<bool> {
        self.handle.has_exited(self.pid)
    }
}

/// The descriptor is readable when the process has ended.
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
    fn a_process_that_has_ended_is_gone_and_can_be_signalled_no_more() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let pid = Pid::from_raw(child.id() as i32).expect("a pid");
        let handle = PidFd::open(pid).expect("opens");
        assert!(!handle.has_exited().expect("answers"));
        assert_eq!(handle.signal(Signal::Kill).expect("ours"), SignalOutcome::Delivered);
        child.wait().expect("reaped");
        assert!(handle.has_exited().expect("answers"));
        assert_eq!(handle.signal(Signal::Kill).expect("answers"), SignalOutcome::NoSuchProcess);
    }

    #[test]
    fn nobody_can_be_held() {
        let nobody = Pid::from_raw(i32::MAX).expect("positive");
        let error = PidFd::open(nobody).expect_err("refused");
        assert_eq!(error.to_string(), "cannot hold process 2147483647: no such process");
    }
}
