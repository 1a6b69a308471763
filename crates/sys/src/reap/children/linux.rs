//! Children watched by epoll(7) on their pidfds.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::error::{Error, Result};
use crate::pidfd::PidFd;
use crate::process::{Pid, Signal, SignalOutcome};

/// How many ends are told at a time.
const AT_ONCE: usize = 64;

#[derive(Debug)]
pub(super) struct PidFdSet {
    epoll: Epoll,
    handles: HashMap<Pid, PidFd>,
}

impl PidFdSet {
    pub(super) fn new() -> Result<PidFdSet> {
        match Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC) {
            Ok(epoll) => Ok(PidFdSet { epoll, handles: HashMap::new() }),
            Err(errno) => Err(Error::os("watch children", errno)),
        }
    }

    pub(super) fn add(&mut self, pid: Pid) -> Result<()> {
        let handle = PidFd::open(pid)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(pid.as_raw().unsigned_abs()));
        match self.epoll.add(&handle, event) {
            Ok(()) => {
                self.handles.insert(pid, handle);
                Ok(())
            }
            Err(errno) => Err(Error::os(format!("watch child {pid}"), errno)),
        }
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.0.as_fd())
    }

    pub(super) fn ended(&self) -> Result<Vec<Pid>> {
        let mut events = [EpollEvent::empty(); AT_ONCE];
        let mut ended: Vec<Pid> = Vec::new();
        loop {
            let told = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
                Ok(told) => told,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::os("look for children that have ended", errno)),
            };
            let pid = |event: &EpollEvent| i32::try_from(event.data()).ok().and_then(Pid::from_raw);
            ended.extend(events[..told].iter().filter_map(pid));
            // Full, there may be more: epoll tells the others first, but not only them.
            if told < AT_ONCE || ended.len() >= self.handles.len() {
                ended.sort_unstable();
                ended.dedup();
                return Ok(ended);
            }
        }
    }

    /// Takes the child off the list by hand: a child forked since holds copies of the descriptors,
    /// and epoll goes on telling of one until its last copy is closed (epoll(7)).
    pub(super) fn forget(&mut self, pid: Pid) {
        if let Some(handle) = self.handles.remove(&pid) {
            // It was added, so it can be taken off.
            let _ = self.epoll.delete(&handle);
        }
    }

    pub(super) fn signal(&self, pid: Pid, signal: Signal) -> Result<SignalOutcome> {
        match self.handles.get(&pid) {
            Some(handle) => handle.signal(signal),
            None => Ok(SignalOutcome::NoSuchProcess),
        }
    }
}
