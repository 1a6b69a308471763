//! A process by its number, where there are no pidfds. The descriptor is a pipe that stays silent.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::kill;

use crate::error::{Error, Result};
use crate::process::{self, Pid, Sent, Signal};

#[derive(Debug)]
pub(super) struct Hold {
    silent: PipeReader,
    _keeps_it_silent: PipeWriter,
}

impl Hold {
    pub(super) fn open(pid: Pid) -> Result<Hold> {
        let act = || format!("hold process {pid}");
        if is_gone(pid) {
            return Err(Error::os(act(), Errno::ESRCH));
        }
        let (silent, _keeps_it_silent) = io::pipe().map_err(|error| Error::os(act(), error))?;
        Ok(Hold { silent, _keeps_it_silent })
    }

    #[expect(clippy::unused_self, reason = "the same signature as on Linux")]
    pub(super) fn signal(&self, pid: Pid, signal: Signal) -> Result<Sent> {
        process::signal(pid, signal)
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on Linux")]
    pub(super) fn is_gone(&self, pid: Pid) -> Result<bool> {
        Ok(is_gone(pid))
    }
}

fn is_gone(pid: Pid) -> bool {
    kill(pid.nix(), None) == Err(Errno::ESRCH)
}

impl AsFd for Hold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.silent.as_fd()
    }
}
