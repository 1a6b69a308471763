//! A process by its number, where there are no pidfds. The descriptor is a pipe that stays silent.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::kill;

use crate::error::{Error, Result};
use crate::process::{self, Pid, Signal, SignalOutcome};

#[derive(Debug)]
pub(super) struct ProcessHandle {
    silent: PipeReader,
    _keeps_it_silent: PipeWriter,
}

impl ProcessHandle {
    pub(super) fn open(pid: Pid) -> Result<ProcessHandle> {
        let action = || format!("hold process {pid}");
        if has_exited(pid) {
            return Err(Error::os(action(), Errno::ESRCH));
        }
        let (silent, _keeps_it_silent) = io::pipe().map_err(|error| Error::os(action(), error))?;
        Ok(ProcessHandle { silent, _keeps_it_silent })
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
    kill(pid.nix(), None) == Err(Errno::ESRCH)
}

impl AsFd for ProcessHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.silent.as_fd()
    }
}
