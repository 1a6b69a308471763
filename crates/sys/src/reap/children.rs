//! The children that a process has forked: their signals, their exits, and those that are late.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use daemon_core::MonotonicTime;

use super::descendants::peek_any;
use super::{Exit, peek_exit, reap, reap_any};
use crate::error::Result;
use crate::process::{self, Pid, Signal, SignalOutcome};

/// The interval at which a child that was killed because it was late is checked, because other code
/// may have reaped it.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The children that this process forked itself, each with an id.
///
/// A process that has other children too, for example those of a library, uses a table of
/// [its own children](ChildTable::of_own), which reaps no others. On Linux each of these children
/// has a pidfd, and one epoll(7) instance watches all pidfds. The cost of finding the exited
/// children therefore depends only on the number of exited children, not on the number of running
/// children. A child has no pidfd on other systems, or if the limit on descriptors had been reached
/// when the child was added. [`reap`](ChildTable::reap) makes a wait call for each such child; call
/// it after a `SIGCHLD`.
///
/// A table of [all children](ChildTable::of_all) needs neither pidfds nor a wait call for each
/// child, but it reaps every child of this process.
///
/// A forked child inherits a copy of the table and must not use it. It must drop a table of its own
/// children.
///
/// # Examples
///
/// ```standalone_crate
/// use daemon_sys::fork::{ForkResult, fork};
/// use daemon_sys::process::exit_now;
/// use daemon_sys::reap::{ChildTable, Exit};
///
/// # fn main() -> Result<(), daemon_sys::Error> {
/// let mut children = ChildTable::of_own()?;
/// match fork()? {
///     ForkResult::Child => exit_now(7),
///     ForkResult::Parent(pid) => children.add("seven", pid),
/// }
/// let mut exited = Vec::new();
/// while exited.is_empty() {
///     exited = children.reap()?;
/// }
/// assert_eq!((exited[0].id, exited[0].exit), ("seven", Exit::Code(7)));
/// assert!(children.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChildTable<K> {
    pids: HashMap<K, Pid>,
    children: HashMap<Pid, Entry<K>>,
    /// The times at which children are killed or checked.
    due: BTreeSet<(MonotonicTime, Pid)>,
    /// `None` in a table of all children.
    watched: Option<platform::PidFdSet>,
    /// Children without a pidfd, which need a wait call each. Empty in a table of all children.
    unwatched: BTreeSet<Pid>,
    groups: GroupSignals,
}

/// The signals that are sent to the processes of a child's group, in addition to the child. For
/// tables of children that each lead a process group. By default there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSignals {
    /// Whether KILL to a child is sent to its group too.
    pub kill: bool,
    /// A signal for the rest of the group when the child has exited, before it is reaped.
    pub at_exit: Option<Signal>,
}

#[derive(Debug)]
struct Entry<K> {
    id: K,
    /// When the child is killed or, after that, checked.
    due: Option<MonotonicTime>,
    was_late: bool,
    is_group_killed: bool,
}

/// A child that has exited and been reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitedChild<K> {
    /// The child's id.
    pub id: K,
    /// The child's pid.
    pub pid: Pid,
    /// How the child exited; [`Exit::Unknown`] if other code has reaped the child.
    pub exit: Exit,
    /// Whether the table has sent KILL to the child's group, see [`GroupSignals::kill`].
    pub is_group_killed: bool,
}

/// What [`ChildTable::kill_late`] has done.
#[derive(Debug)]
pub struct LateChildren<K> {
    /// The children that were late, and the results of sending KILL to them.
    pub killed: Vec<(K, Result<SignalOutcome>)>,
    /// Children that were late before, and that have exited since.
    pub exited: Vec<ExitedChild<K>>,
}

impl<K: Copy + Eq + Hash> ChildTable<K> {
    /// Creates an empty table of all children of this process.
    #[must_use]
    pub fn of_all() -> ChildTable<K> {
        ChildTable {
            pids: HashMap::new(),
            children: HashMap::new(),
            due: BTreeSet::new(),
            watched: None,
            unwatched: BTreeSet::new(),
            groups: GroupSignals::default(),
        }
    }

    /// Creates an empty table of the children that are added to it.
    ///
    /// # Errors
    ///
    /// If the system is out of descriptors.
    pub fn of_own() -> Result<ChildTable<K>> {
        Ok(ChildTable { watched: Some(platform::PidFdSet::new()?), ..ChildTable::of_all() })
    }

    /// Sets the signals to the groups of children from now on.
    pub fn set_group_signals(&mut self, groups: GroupSignals) {
        self.groups = groups;
    }

    /// Adds a child that this process has just forked.
    pub fn add(&mut self, id: K, pid: Pid) {
        self.pids.insert(id, pid);
        self.children.insert(pid, Entry { id, due: None, was_late: false, is_group_killed: false });
        if self.watched.as_mut().is_some_and(|watched| watched.add(pid).is_err()) {
            self.unwatched.insert(pid);
        }
    }

    /// Returns whether the table has no children.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty()
    }

    /// Returns the ids of the children.
    pub fn ids(&self) -> impl Iterator<Item = K> + '_ {
        self.pids.keys().copied()
    }

    /// Returns the pid of a child.
    #[must_use]
    pub fn pid(&self, id: K) -> Option<Pid> {
        self.pids.get(&id).copied()
    }

    /// Returns a descriptor that is readable while a child has exited and is not
    /// [reaped](Self::reap) yet; `None` in a table of all children, and on systems without pidfds.
    /// Only `SIGCHLD` reports the exit of a child without a pidfd.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watched.as_ref()?.descriptor()
    }

    /// Reaps the children that have exited, and returns those of the table. Does not block.
    ///
    /// # Errors
    ///
    /// epoll_wait(2) and wait(2) document no error for these calls.
    pub fn reap(&mut self) -> Result<Vec<ExitedChild<K>>> {
        let mut exited = Vec::new();
        self.reap_into(&mut exited)?;
        Ok(exited)
    }

    /// Does the same as [`reap`](Self::reap), with a buffer of the caller.
    ///
    /// # Errors
    ///
    /// As for [`reap`](Self::reap).
    pub fn reap_into(&mut self, exited: &mut Vec<ExitedChild<K>>) -> Result<()> {
        let Some(watched) = &self.watched else {
            while let Some((pid, exit)) = self.reap_next()? {
                exited.extend(self.remove(pid, exit));
            }
            return Ok(());
        };
        let pids = watched.exited()?.into_iter().chain(self.unwatched.iter().copied());
        for pid in pids.collect::<Vec<_>>() {
            exited.extend(self.reap_one(pid));
        }
        Ok(())
    }

    /// Reaps one child that has exited, whichever it is.
    fn reap_next(&self) -> Result<Option<(Pid, Exit)>> {
        let Some(signal) = self.groups.at_exit else { return reap_any() };
        let Some(pid) = peek_any()? else { return Ok(None) };
        if self.children.contains_key(&pid) {
            // Until the child is reaped, no other group can get its number.
            let _no_group = process::signal_group(pid, signal);
        }
        Ok(reap(pid)?.map(|exit| (pid, exit)))
    }

    /// Reaps one child if it has exited. In a table of all children, this also finds a child that
    /// other code has reaped.
    pub fn check(&mut self, id: K) -> Option<ExitedChild<K>> {
        self.reap_one(self.pid(id)?)
    }

    fn reap_one(&mut self, pid: Pid) -> Option<ExitedChild<K>> {
        if let (Some(signal), Ok(Some(_exit))) = (self.groups.at_exit, peek_exit(pid)) {
            let _no_group = process::signal_group(pid, signal);
        }
        // A process that is not a child any more has been reaped by other code.
        let exit = reap(pid).unwrap_or(Some(Exit::Unknown))?;
        self.remove(pid, exit)
    }

    fn remove(&mut self, pid: Pid, exit: Exit) -> Option<ExitedChild<K>> {
        let Entry { id, due, was_late: _, is_group_killed } = self.children.remove(&pid)?;
        self.pids.remove(&id);
        if let Some(time) = due {
            self.due.remove(&(time, pid));
        }
        if let Some(watched) = &mut self.watched {
            watched.remove(pid);
            self.unwatched.remove(&pid);
        }
        Some(ExitedChild { id, pid, exit, is_group_killed })
    }

    /// Sends a signal to a child. A signal to a child that has exited has no effect, whether the
    /// child has been reaped or not.
    ///
    /// # Errors
    ///
    /// If the child has changed to another user.
    pub fn signal(&mut self, id: K, signal: Signal) -> Result<SignalOutcome> {
        let Some(pid) = self.pid(id) else {
            return Ok(SignalOutcome::NoSuchProcess);
        };
        let sent = self.signal_process(pid, signal);
        if self.groups.kill && signal == Signal::Kill && peek_exit(pid).is_ok() {
            // A child that has not made its group yet has started no processes.
            let _no_group = process::signal_group(pid, signal);
            if let Some(entry) = self.children.get_mut(&pid) {
                entry.is_group_killed = true;
            }
        }
        sent
    }

    fn signal_process(&self, pid: Pid, signal: Signal) -> Result<SignalOutcome> {
        match &self.watched {
            Some(watched) if !self.unwatched.contains(&pid) => watched.signal(pid, signal),
            // This table has not reaped the child, so its pid cannot have been reused, unless other
            // code has reaped the child. In that case `peek_exit` returns an error. No other code
            // runs between the check and the signal.
            Some(_) | None => match peek_exit(pid) {
                Ok(None) => process::signal(pid, signal),
                Ok(Some(_)) | Err(_) => Ok(SignalOutcome::NoSuchProcess),
            },
        }
    }

    /// Sets the time at which a child is late. A child that is late already, or is late earlier, is
    /// not given more time.
    pub fn late_at(&mut self, id: K, time: MonotonicTime) {
        let Some(pid) = self.pid(id) else { return };
        let Some(entry) = self.children.get_mut(&pid) else { return };
        if entry.was_late || entry.due.is_some_and(|due| due <= time) {
            return;
        }
        if let Some(later) = entry.due.replace(time) {
            self.due.remove(&(later, pid));
        }
        self.due.insert((time, pid));
    }

    /// Gives all children unlimited time.
    pub fn clear_deadlines(&mut self) {
        for (_time, pid) in std::mem::take(&mut self.due) {
            if let Some(entry) = self.children.get_mut(&pid) {
                (entry.due, entry.was_late) = (None, false);
            }
        }
    }

    /// Kills the children that are late. Checks from time to time whether those that were killed
    /// before still exist, because other code may have reaped them.
    pub fn kill_late(&mut self, now: MonotonicTime) -> LateChildren<K> {
        let mut late = LateChildren { killed: Vec::new(), exited: Vec::new() };
        while let Some((time, pid)) = self.due.first().copied().filter(|(time, _pid)| *time <= now)
        {
            self.due.remove(&(time, pid));
            let Some(entry) = self.children.get_mut(&pid) else { continue };
            let (id, next) = (entry.id, now + CHECK_INTERVAL);
            entry.due = Some(next);
            if std::mem::replace(&mut entry.was_late, true) {
                late.exited.extend(self.reap_one(pid));
            } else {
                late.killed.push((id, self.signal(id, Signal::Kill)));
            }
            if self.children.contains_key(&pid) {
                self.due.insert((next, pid));
            }
        }
        late
    }

    /// Returns the time at which [`kill_late`](Self::kill_late) must be called.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonotonicTime> {
        self.due.first().map(|(time, _pid)| *time)
    }
}

/// On systems without pidfds, no descriptor reports the exit of a child, so the table makes a wait
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
            let event = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(pid.as_u32()));
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
