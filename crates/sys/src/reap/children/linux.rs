//! Watches children with epoll(7) on their pidfds.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::error::{Error, Result};
use crate::pidfd::PidFd;
use crate::process::{Pid, Signal, SignalOutcome};

/// The maximum number of events of one epoll_wait(2) call.
const EVENTS_MAX: usize = 64;

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

    pub(super) fn exited(&self) -> Result<Vec<Pid>> {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let mut exited: Vec<Pid> = Vec::new();
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::os("wait for exited children", errno)),
            };
            let pid = |event: &EpollEvent| i32::try_from(event.data()).ok().and_then(Pid::from_raw);
            exited.extend(events[..count].iter().filter_map(pid));
            // If the array is full, there may be more events. The next call of epoll_wait(2)
            // returns those first, and then repeats events that were already returned.
            if count < EVENTS_MAX || exited.len() >= self.handles.len() {
                exited.sort_unstable();
                exited.dedup();
                return Ok(exited);
            }
        }
    }

    /// Removes the child from the epoll instance. Closing the pidfd is not enough, because children
    /// that were forked later have copies of it. epoll reports a descriptor until its last copy is
    /// closed (epoll(7)).
    pub(super) fn remove(&mut self, pid: Pid) {
        if let Some(handle) = self.handles.remove(&pid) {
            // The pidfd was added before, so removing it does not fail.
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
