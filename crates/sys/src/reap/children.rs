//! A set of children, of which one learns who has ended without asking each of them.

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

/// Children of this process that it forked itself, and no others: a child that a library has
/// started is not reaped under that library's hands.
///
/// On Linux each is held by a pidfd(2) and all are watched by one epoll(7), so that it costs as much
/// to learn who has ended as there are such, however many live. Elsewhere, and where no descriptor
/// is left for one, they are asked one by one. `SIGCHLD` tells when to look.
///
/// A child forked meanwhile inherits a copy, which it drops.
///
/// # Examples
///
/// ```standalone_crate
/// use daemon_sys::fork::{Fork, fork};
/// use daemon_sys::process::exit_now;
/// use daemon_sys::reap::{Children, Ended, Exit};
///
/// # fn main() -> Result<(), daemon_sys::Error> {
/// let mut children = Children::new()?;
/// match fork()? {
///     Fork::Child => exit_now(7),
///     Fork::Parent(pid) => children.add(pid),
/// }
/// let mut ended = Vec::new();
/// while ended.is_empty() {
///     ended = children.reap_exited()?;
/// }
/// assert!(matches!(ended[..], [ExitedChild { exit: Some(Exit::Code(7)), .. }]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChildSet {
    watched: platform::PidFdSet,
    /// Those that must be asked one by one.
    unwatched: BTreeSet<Pid>,
}

/// A child that has ended, and is reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitedChild {
    /// Who it was.
    pub pid: Pid,
    /// How it ended; none if somebody else has reaped it.
    pub exit: Option<Exit>,
}

impl ChildSet {
    /// Makes a set of none.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub fn new() -> Result<ChildSet> {
        Ok(ChildSet { watched: platform::PidFdSet::new()?, unwatched: BTreeSet::new() })
    }

    /// Adds a child that this process has just forked.
    pub fn add(&mut self, pid: Pid) {
        if self.watched.add(pid).is_err() {
            self.unwatched.insert(pid);
        }
    }

    /// A descriptor that can be read from while one has ended and is not [taken](Self::reap_exited);
    /// none where the system has no such. Of a child for which no descriptor was left only `SIGCHLD`
    /// tells.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watched.descriptor()
    }

    /// Reaps those that have ended. It does not wait.
    ///
    /// # Errors
    ///
    /// None that epoll_wait(2) names for this call.
    pub fn reap_exited(&mut self) -> Result<Vec<ExitedChild>> {
        let mut ended = Vec::new();
        for pid in self.watched.ended()? {
            ended.extend(taken(pid));
        }
        for pid in &self.unwatched {
            ended.extend(taken(*pid));
        }
        for ExitedChild { pid, .. } in &ended {
            self.watched.forget(*pid);
            self.unwatched.remove(pid);
        }
        Ok(ended)
    }

    /// Sends a child a signal. One that has ended, reaped or not, gets none.
    ///
    /// # Errors
    ///
    /// If it has become another user's.
    pub fn signal(&self, pid: Pid, signal: Signal) -> Result<SignalOutcome> {
        if self.unwatched.contains(&pid) {
            // It is not reaped yet, so the number is still its own, unless another has reaped it.
            return match super::peek_exit(pid) {
                Ok(None) => crate::process::signal(pid, signal),
                Ok(Some(_)) | Err(_) => Ok(SignalOutcome::NoSuchProcess),
            };
        }
        self.watched.signal(pid, signal)
    }
}

/// Takes a child if it has ended. That it is no child of ours any more is an end too.
fn taken(pid: Pid) -> Option<ExitedChild> {
    match reap(pid) {
        Ok(None) => None,
        Ok(exit) => Some(ExitedChild { pid, exit }),
        Err(_not_ours_to_take) => Some(ExitedChild { pid, exit: None }),
    }
}
