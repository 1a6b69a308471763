//! A set of children that reports the exited ones without a wait call for each child.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use super::{Exit, reap};
use crate::error::Result;
use crate::process::{Pid, Signal, SignalOutcome};

/// A set of children that this process forked itself. Other children are not reaped, so the set
/// does not interfere with libraries that start processes.
///
/// On Linux each child has a pidfd, and one epoll(7) instance watches all pidfds. The cost of
/// finding the exited children therefore depends only on the number of exited children, not on the
/// number of running children.
///
/// A child has no pidfd on other systems, or if the limit on descriptors had been reached when the
/// child was added. [`reap_exited`](ChildSet::reap_exited) makes a wait call for each such child;
/// call it after a `SIGCHLD`.
///
/// A forked child inherits a copy of the set and must drop it.
///
/// # Examples
///
/// ```standalone_crate
/// use daemon_sys::fork::{ForkResult, fork};
/// use daemon_sys::process::exit_now;
/// use daemon_sys::reap::{ChildSet, ExitedChild, Exit};
///
/// # fn main() -> Result<(), daemon_sys::Error> {
/// let mut children = ChildSet::new()?;
/// match fork()? {
///     ForkResult::Child => exit_now(7),
///     ForkResult::Parent(pid) => children.add(pid),
/// }
/// let mut exited = Vec::new();
/// while exited.is_empty() {
///     exited = children.reap_exited()?;
/// }
/// assert!(matches!(exited[..], [ExitedChild { exit: Exit::Code(7), .. }]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChildSet {
    watched: platform::PidFdSet,
    /// Children without a pidfd, which need a wait call each.
    unwatched: BTreeSet<Pid>,
}

/// A child that has exited and been reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitedChild {
    /// The child's pid.
    pub pid: Pid,
    /// How the child exited; [`Exit::Unknown`] if other code has reaped the child.
    pub exit: Exit,
}

impl ChildSet {
    /// Creates an empty set.
    ///
    /// # Errors
    ///
    /// If the system is out of descriptors.
    pub fn new() -> Result<ChildSet> {
        Ok(ChildSet { watched: platform::PidFdSet::new()?, unwatched: BTreeSet::new() })
    }

    /// Adds a child that this process has just forked.
    pub fn add(&mut self, pid: Pid) {
        if self.watched.add(pid).is_err() {
            self.unwatched.insert(pid);
        }
    }

    /// Returns a descriptor that is readable while a child has exited and is not
    /// [reaped](Self::reap_exited) yet; `None` on systems without pidfds. Only `SIGCHLD` reports
    /// the exit of a child without a pidfd.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watched.descriptor()
    }

    /// Reaps the children that have exited, and returns them. Does not block.
    ///
    /// # Errors
    ///
    /// epoll_wait(2) documents no error for this call.
    pub fn reap_exited(&mut self) -> Result<Vec<ExitedChild>> {
        let mut exited = Vec::new();
        for pid in self.watched.exited()? {
            exited.extend(reap_one(pid));
        }
        for pid in &self.unwatched {
            exited.extend(reap_one(*pid));
        }
        for ExitedChild { pid, .. } in &exited {
            self.watched.remove(*pid);
            self.unwatched.remove(pid);
        }
        Ok(exited)
    }

    /// Sends a signal to a child. A signal to a child that has exited has no effect, whether the
    /// child has been reaped or not.
    ///
    /// # Errors
    ///
    /// If the child has changed to another user.
    pub fn signal(&self, pid: Pid, signal: Signal) -> Result<SignalOutcome> {
        if self.unwatched.contains(&pid) {
            // This set has not reaped the child, so its pid cannot have been reused, unless other
            // code has reaped the child. In that case `peek_exit` returns an error.
            return match super::peek_exit(pid) {
                Ok(None) => crate::process::signal(pid, signal),
                Ok(Some(_)) | Err(_) => Ok(SignalOutcome::NoSuchProcess),
            };
        }
        self.watched.signal(pid, signal)
    }
}

/// Reaps a child if it has exited. A process that is not a child any more counts as exited.
fn reap_one(pid: Pid) -> Option<ExitedChild> {
    let exit = reap(pid).unwrap_or(Some(Exit::Unknown))?;
    Some(ExitedChild { pid, exit })
}

/// On systems without pidfds, no descriptor reports the exit of a child, so `ChildSet` makes a wait
/// call for each child.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
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
}

/// Watches children with epoll(7) on their pidfds.
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
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
            let event =
                EpollEvent::new(EpollFlags::EPOLLIN, u64::from(pid.as_raw().unsigned_abs()));
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
                let pid =
                    |event: &EpollEvent| i32::try_from(event.data()).ok().and_then(Pid::from_raw);
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

        /// Removes the child from the epoll instance. Closing the pidfd is not enough, because
        /// children that were forked later have copies of it. epoll reports a descriptor until its
        /// last copy is closed (epoll(7)).
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
}
