//! Process handles with pidfd_open(2). nix and some C libraries have no wrapper for this system
//! call.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::poll::{Interest, wait};
use crate::process::{Pid, Signal, SignalOutcome, number_of};

#[derive(Debug)]
pub(super) struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    pub(super) fn open(pid: Pid) -> Result<ProcessHandle> {
        // SAFETY: pidfd_open takes two numbers; for a pid without a process it returns an error.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0_u32) };
        if result < 0 {
            return Err(Error::last(format!("open process {pid}")));
        }
        // SAFETY: the kernel opened this descriptor for us, close-on-exec, and no other code owns
        // it.
        Ok(ProcessHandle(unsafe { OwnedFd::from_raw_fd(result as RawFd) }))
    }

    pub(super) fn signal(&self, pid: Pid, signal: Signal) -> Result<SignalOutcome> {
        let siginfo = std::ptr::null::<libc::siginfo_t>();
        let (fd, number) = (self.0.as_raw_fd(), number_of(signal));
        // SAFETY: the descriptor is a pidfd; for a null siginfo, the kernel sends the same siginfo
        // as for kill(2), see pidfd_send_signal(2).
        let result =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, number, siginfo, 0_u32) };
        if result == 0 {
            return Ok(SignalOutcome::Delivered);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) {
            return Ok(SignalOutcome::NoSuchProcess);
        }
        Err(Error::os(format!("send {signal} to process {pid}"), error))
    }

    pub(super) fn has_exited(&self, _: Pid) -> Result<bool> {
        let ready = wait(&[(self.0.as_fd(), Interest::Read)], Some(Duration::ZERO))?;
        Ok(ready.iter().any(|ready| ready.is_readable()))
    }
}

impl AsFd for ProcessHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_descriptor_of_an_exited_process_is_readable_before_the_process_is_reaped() {
        let mut child = Command::new("true").spawn().expect("true starts");
        let pid = Pid::from_raw(child.id() as i32).expect("a pid");
        let handle = ProcessHandle::open(pid).expect("opened");
        let limit = Some(Duration::from_secs(10));
        let ready = wait(&[(handle.as_fd(), Interest::Read)], limit).expect("polled");
        assert!(ready[0].is_readable() && handle.has_exited(pid).expect("a result"));
        child.wait().expect("reaped");
    }
}
