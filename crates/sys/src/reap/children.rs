//! A set of children that reports the exited ones without a wait call for each child.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use super::{Exit, reap};
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
