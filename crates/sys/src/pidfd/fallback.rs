//! Process handles on systems without pidfds. The descriptor of a handle is the reading end of an
//! empty pipe, which is never readable. [`PidFd`](super::PidFd) stores the pid.

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
