//! A process handle that, on Linux, stays valid when the system reuses the process's pid.

use std::os::fd::{AsFd, BorrowedFd};

use crate::error::Result;
use crate::process::{Pid, Signal, SignalOutcome};

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

/// Process handles on systems without pidfds. The descriptor of a handle is the reading end of an
/// empty pipe, which is never readable. [`PidFd`](super::PidFd) stores the pid.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use std::io::{self, PipeReader, PipeWriter};
    use std::os::fd::{AsFd, BorrowedFd};

    use nix::errno::Errno;
    use nix::sys::signal::kill;

    use crate::error::{Error, Result};
    use crate::process::{self, Pid, Signal, SignalOutcome, raw_pid};

    #[derive(Debug)]
    pub(super) struct ProcessHandle {
        reader: PipeReader,
        _writer: PipeWriter,
    }

    impl ProcessHandle {
        pub(super) fn open(pid: Pid) -> Result<ProcessHandle> {
            let action = || format!("open process {pid}");
            if has_exited(pid) {
                return Err(Error::os(action(), Errno::ESRCH));
            }
            let (reader, _writer) = io::pipe().map_err(|error| Error::os(action(), error))?;
            Ok(ProcessHandle { reader, _writer })
        }

        #[expect(clippy::unused_self, reason = "the same signature as on Linux")]
        pub(super) fn signal(&self, pid: Pid, signal: Signal) -> Result<SignalOutcome> {
            process::signal(pid, signal)
        }

        #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on Linux")]
        pub(super) fn has_exited(&self, pid: Pid) -> Result<bool> {
            Ok(has_exited(pid))
        }
    }

    fn has_exited(pid: Pid) -> bool {
        kill(raw_pid(pid), None) == Err(Errno::ESRCH)
    }

    impl AsFd for ProcessHandle {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.reader.as_fd()
        }
    }
}

/// Process handles with pidfd_open(2). nix and some C libraries have no wrapper for this system
/// call.
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
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
            // SAFETY: pidfd_open takes two numbers; for a pid without a process it returns an
            // error.
            let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0_u32) };
            if result < 0 {
                return Err(Error::last(format!("open process {pid}")));
            }
            // SAFETY: the kernel opened this descriptor for us, close-on-exec, and no other code
            // owns it.
            Ok(ProcessHandle(unsafe { OwnedFd::from_raw_fd(result as RawFd) }))
        }

        pub(super) fn signal(&self, pid: Pid, signal: Signal) -> Result<SignalOutcome> {
            let siginfo = std::ptr::null::<libc::siginfo_t>();
            let (fd, number) = (self.0.as_raw_fd(), number_of(signal));
            // SAFETY: the descriptor is a pidfd; for a null siginfo, the kernel sends the same
            // siginfo as for kill(2), see pidfd_send_signal(2).
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
