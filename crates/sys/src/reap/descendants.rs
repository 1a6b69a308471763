//! Processes that lost their parent: descendants of this process that it adopts, and the groups of
//! processes that it does not adopt.

use super::reap;
use crate::error::{Error, Result};
use crate::process::{self, Pid, Signal, SignalOutcome, group_of};

pub use platform::{adopt_descendants, disown_descendants, signal_children_except};

/// Returns whether this process has children, including zombies and adopted ones.
#[must_use]
pub fn has_children() -> bool {
    has_child(libc::P_ALL, 0)
}

/// Returns whether a child of this process, or a process that it has adopted, is in this group.
/// While it is, the number of the group is not reused.
#[must_use]
pub fn has_child_in_group(group: Pid) -> bool {
    has_child(libc::P_PGID, group.as_raw() as libc::id_t)
}

fn has_child(kind: libc::idtype_t, id: libc::id_t) -> bool {
    super::peek(kind, id).is_ok()
}

/// Returns a child that has exited, whichever it is, but does not reap it; `None` if none has.
pub(super) fn peek_any() -> Result<Option<Pid>> {
    match super::peek(libc::P_ALL, 0) {
        Ok(exited) => Ok(exited.map(|(pid, _exit)| pid)),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(Error::os("wait for any child without reaping it", error)),
    }
}

/// The process group of a process that this process did not fork, for example of a child of a
/// process that has died. Its leader may be reaped at any time.
///
/// The system reuses the number of a group only when the group is empty. So when the leader is
/// gone, and a process has its pid, then the group is empty. Call
/// [`is_gone`](OrphanedGroup::is_gone) often enough to notice that the leader is gone before its
/// pid is reused: several times a second.
#[derive(Debug)]
pub struct OrphanedGroup {
    leader: Pid,
    is_led: bool,
}

impl OrphanedGroup {
    /// Creates a handle of the group that this process leads now.
    #[must_use]
    pub fn of(leader: Pid) -> OrphanedGroup {
        OrphanedGroup { leader, is_led: true }
    }

    /// Sends a signal to all processes of the group.
    ///
    /// # Errors
    ///
    /// If this process is permitted to signal none of them.
    pub fn signal(&mut self, signal: Signal) -> Result<SignalOutcome> {
        if self.is_gone() {
            return Ok(SignalOutcome::NoSuchProcess);
        }
        process::signal_group(self.leader, signal)
    }

    /// Returns whether the group has no processes.
    pub fn is_gone(&mut self) -> bool {
        // If this process is the init process of its container, or a subreaper, the leader is its
        // own child now.
        let _reaped = reap(self.leader);
        match (group_of(self.leader), self.is_led) {
            (Some(group), true) if group == self.leader => false,
            // The pid was reused, so the group is empty.
            (Some(_another), _) => true,
            (None, _) => {
                self.is_led = false;
                !process::group_exists(self.leader)
            }
        }
    }
}

/// Systems on which a process cannot adopt descendants. Init adopts them.
#[cfg(any(not(any(target_os = "linux", target_os = "freebsd")), fallback))]
mod platform {
    use crate::error::Result;
    use crate::process::{Pid, Signal};

    /// Makes this process adopt descendants whose parent exits. Not supported on this system:
    /// returns `false`.
    ///
    /// # Errors
    ///
    /// None on this system.
    pub fn adopt_descendants() -> Result<bool> {
        Ok(false)
    }

    /// Undoes [`adopt_descendants`]. Does nothing on this system.
    ///
    /// # Errors
    ///
    /// None on this system.
    pub fn disown_descendants() -> Result<()> {
        Ok(())
    }

    /// Sends a signal to the children of this process, except to some. Not supported on this
    /// system: returns 0.
    ///
    /// # Errors
    ///
    /// None on this system.
    pub fn signal_children_except(_: impl FnMut(Pid) -> bool, _: Signal) -> Result<u32> {
        Ok(0)
    }
}

/// Adopts descendants with prctl(2), `PR_SET_CHILD_SUBREAPER`.
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::fs;

    use crate::error::{Error, Result};
    use crate::process::{self, Pid, Signal, SignalOutcome, this_pid};

    /// Makes this process adopt descendants whose parent exits, instead of init: they become its
    /// children, which it must reap. Returns whether the system supports this. A fork does not pass
    /// this on to the child.
    ///
    /// # Errors
    ///
    /// prctl(2) documents no error for this call.
    pub fn adopt_descendants() -> Result<bool> {
        set_subreaper(1).map(|()| true)
    }

    /// Undoes [`adopt_descendants`]. The launcher of a program may have requested it, because it
    /// stays in force if the process executes another program.
    ///
    /// # Errors
    ///
    /// prctl(2) documents no error for this call.
    pub fn disown_descendants() -> Result<()> {
        set_subreaper(0)
    }

    fn set_subreaper(enabled: libc::c_ulong) -> Result<()> {
        // SAFETY: PR_SET_CHILD_SUBREAPER takes a number; no pointer is passed.
        match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, enabled, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(Error::last("adopt descendants")),
        }
    }

    /// Sends a signal to the children of this process, including adopted ones, except to those for
    /// which the function returns true. Returns the number of signalled processes.
    ///
    /// # Errors
    ///
    /// If the children cannot be listed, because `/proc` is not mounted.
    pub fn signal_children_except(
        mut is_excepted: impl FnMut(Pid) -> bool,
        signal: Signal,
    ) -> Result<u32> {
        let path = format!("/proc/self/task/{}/children", this_pid());
        let list = fs::read_to_string(&path).map_err(|error| {
            Error::os(format!("list the children of this process in {path}"), error)
        })?;
        let pids =
            list.split_whitespace().filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw));
        let mut signalled = 0;
        for pid in pids.filter(|pid| !is_excepted(*pid)) {
            // The process may belong to another user.
            if matches!(process::signal(pid, signal), Ok(SignalOutcome::Delivered)) {
                signalled += 1;
            }
        }
        Ok(signalled)
    }
}

/// Adopts descendants with procctl(2), `PROC_REAP_ACQUIRE`.
#[cfg(all(target_os = "freebsd", not(fallback)))]
mod platform {
    use libc::c_int;

    use crate::error::{Error, Result};
    use crate::process::{Pid, Signal, number_of, this_pid};

    /// The argument of `PROC_REAP_KILL`, `struct procctl_reaper_kill`.
    #[repr(C)]
    struct ReaperKill {
        signal: c_int,
        flags: libc::c_uint,
        subtree: libc::pid_t,
        killed: libc::c_uint,
        failed: libc::pid_t,
        reserved: [libc::c_uint; 15],
    }

    /// Makes this process adopt descendants whose parent exits, instead of init: they become its
    /// children, which it must reap. Returns whether the system supports this. A fork does not pass
    /// this on to the child.
    ///
    /// # Errors
    ///
    /// If this process is the reaper of its descendants already.
    pub fn adopt_descendants() -> Result<bool> {
        control(libc::PROC_REAP_ACQUIRE, None).map(|()| true)
    }

    /// Undoes [`adopt_descendants`]. Does nothing if it is not in force.
    ///
    /// # Errors
    ///
    /// None: an error means that it is not in force.
    pub fn disown_descendants() -> Result<()> {
        let _not_in_force = control(libc::PROC_REAP_RELEASE, None);
        Ok(())
    }

    /// Sends a signal to all descendants of this process. On this system there are no exceptions.
    /// Returns the number of signalled processes.
    ///
    /// # Errors
    ///
    /// If this process is not the reaper of its descendants.
    pub fn signal_children_except(_: impl FnMut(Pid) -> bool, signal: Signal) -> Result<u32> {
        let mut kill = ReaperKill {
            signal: number_of(signal),
            flags: 0,
            subtree: 0,
            killed: 0,
            failed: 0,
            reserved: [0; 15],
        };
        match control(libc::PROC_REAP_KILL, Some(&mut kill)) {
            Ok(()) => Ok(kill.killed),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn control(command: c_int, kill: Option<&mut ReaperKill>) -> Result<()> {
        let argument = kill.map_or(std::ptr::null_mut(), std::ptr::from_mut);
        let this = this_pid().as_raw() as libc::id_t;
        // SAFETY: PROC_REAP_KILL reads and writes the struct that the pointer is to; the other two
        // commands take a null pointer.
        match unsafe { libc::procctl(libc::P_PID, this, command, argument.cast()) } {
            0 => Ok(()),
            _ => Err(Error::last("control the reaping of descendants")),
        }
    }
}
