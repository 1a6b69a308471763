//! On systems without pidfds, no descriptor reports the exit of a child, so `ChildSet` makes a wait
//! call for each child.

use std::os::fd::BorrowedFd;

use crate::error::{Error, Result};
use crate::process::{Pid, Signal, SignalOutcome};

#[derive(Debug)]
pub(super) struct PidFdSet;

impl PidFdSet {
    pub(super) fn new() -> Result<PidFdSet> {
        Ok(PidFdSet)
    }

    pub(super) fn add(&mut self, pid: Pid) -> Result<()> {
        let source = std::io::ErrorKind::Unsupported.into();
        Err(Error::Os { action: format!("watch child {pid}"), source })
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    pub(super) fn exited(&self) -> Result<Vec<Pid>> {
        Ok(Vec::new())
    }

    pub(super) fn remove(&mut self, _: Pid) {}

    pub(super) fn signal(&self, _: Pid, _: Signal) -> Result<SignalOutcome> {
        Ok(SignalOutcome::NoSuchProcess)
    }
}
