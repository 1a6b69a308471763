//! Waits for children and returns how they exited.

use std::io;

pub use daemon_core::Exit;
use libc::c_int;

use crate::error::{Error, Result};
use crate::process::Pid;

mod children;
mod descendants;

pub use children::{ChildTable, ExitedChild, GroupSignals, LateChildren};
pub use descendants::{
    OrphanedGroup, adopt_descendants, disown_descendants, has_child_in_group, has_children,
    signal_children_except,
};

fn from_status(status: c_int) -> Exit {
    if libc::WIFEXITED(status) {
        Exit::Code(libc::WEXITSTATUS(status))
    } else {
        Exit::Signal { number: libc::WTERMSIG(status), core: libc::WCOREDUMP(status) }
    }
}

/// Reaps one child that has exited, whichever it is. Returns `None` if no child has exited or there
/// are no children.
///
/// The kernel can merge the `SIGCHLD`s of several children into one, so call this function until it
/// returns `None`.
///
/// # Errors
///
/// wait(2) documents no error for this call.
pub fn reap_any() -> Result<Option<(Pid, Exit)>> {
    match wait(-1, libc::WNOHANG) {
        Ok(reaped) => Ok(reaped),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(Error::os("wait for any child", error)),
    }
}

/// Reaps this child if it has exited; returns `None` if it is still running.
///
/// # Errors
///
/// `ECHILD` if `child` is not a child of this process, or was reaped before.
pub fn reap(child: Pid) -> Result<Option<Exit>> {
    match wait(child.as_raw(), libc::WNOHANG) {
        Ok(reaped) => Ok(reaped.map(|(_, exit)| exit)),
        Err(error) => Err(Error::os(format!("wait for child {child}"), error)),
    }
}

/// Waits without a timeout until this child exits, and reaps it. Signals do not interrupt the wait.
///
/// # Errors
///
/// `ECHILD` if `child` is not a child of this process or was reaped before, or if `SIGCHLD` is
/// ignored in this process (waitpid(2)).
pub fn wait_for(child: Pid) -> Result<Exit> {
    loop {
        match wait(child.as_raw(), 0) {
            Ok(Some((_, exit))) => return Ok(exit),
            Ok(None) => {}
            Err(error) => return Err(Error::os(format!("wait for child {child}"), error)),
        }
    }
}

fn wait(pid: libc::pid_t, options: c_int) -> io::Result<Option<(Pid, Exit)>> {
    loop {
        let mut status: c_int = 0;
        // SAFETY: waitpid accepts any number, and writes one int to a pointer that is valid for it.
        let result = unsafe { libc::waitpid(pid, &raw mut status, options) };
        if result >= 0 {
            return Ok(Pid::from_raw(result).map(|pid| (pid, from_status(status))));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Returns how this child exited, but does not reap it; `None` if it is still running.
///
/// Until the child is reaped, its pid and the number of its process group cannot be reused, so the
/// group can still be signalled. Call [`reap`] afterwards.
///
/// # Errors
///
/// `ECHILD` if `child` is not a child of this process, or was reaped before.
pub fn peek_exit(child: Pid) -> Result<Option<Exit>> {
    match peek(libc::P_PID, child.as_raw() as libc::id_t) {
        Ok(exited) => Ok(exited.map(|(_pid, exit)| exit)),
        Err(error) => Err(Error::os(format!("wait for child {child} without reaping it"), error)),
    }
}

fn peek(kind: libc::idtype_t, id: libc::id_t) -> io::Result<Option<(Pid, Exit)>> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: siginfo_t is made of integers and pointers, for which zero is valid. Some systems
    // leave the struct unchanged if no child has exited (waitid(2)), so it must be zero before the
    // call.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: waitid writes one siginfo_t to a pointer that is valid for it.
    let result = unsafe { libc::waitid(kind, id, &raw mut info, options) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the field is valid for a result of waitid, and zero if there was no result.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let exit = match info.si_code {
        libc::CLD_EXITED => Exit::Code(status),
        code => Exit::Signal { number: status, core: code == libc::CLD_DUMPED },
    };
    Ok(Pid::from_raw(pid).map(|pid| (pid, exit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_process_that_is_not_a_child_is_refused() {
        let other = Pid::from_raw(i32::MAX).expect("positive");
        assert_eq!(reap(other).expect_err("refused").raw_os_error(), Some(libc::ECHILD));
        assert_eq!(peek_exit(other).expect_err("refused").raw_os_error(), Some(libc::ECHILD));
        assert_eq!(wait_for(other).expect_err("refused").raw_os_error(), Some(libc::ECHILD));
    }
}
