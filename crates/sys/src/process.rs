//! Pids, sending signals, process groups, and exiting.
//!
//! The module [`reap`](crate::reap) waits for children. The module [`signals`](crate::signals)
//! receives signals.

pub use daemon_core::{Pid, Signal};
use nix::errno::Errno;
use nix::sys::signal::Signal as Raw;
use nix::unistd;

use crate::error::{Error, Result};

/// Returns the pid of this process.
///
/// # Panics
///
/// Never, because getpid(2) always returns a positive number.
#[must_use]
#[inline]
pub fn this_pid() -> Pid {
    Pid::from_raw(unistd::getpid().as_raw()).expect("getpid returns a positive number")
}

/// Returns the pid of this process's parent; `None` if the parent is outside this process's pid
/// namespace, because getppid(2) then returns 0.
#[must_use]
#[inline]
pub fn parent_pid() -> Option<Pid> {
    Pid::from_raw(unistd::getppid().as_raw())
}

/// Returns the signal's number on this system.
#[must_use]
#[inline]
pub fn number_of(signal: Signal) -> i32 {
    raw_signal(signal) as i32
}

pub(crate) fn raw_pid(pid: Pid) -> unistd::Pid {
    unistd::Pid::from_raw(pid.as_raw())
}

#[inline]
pub(crate) fn raw_signal(signal: Signal) -> Raw {
    match signal {
        Signal::Hup => Raw::SIGHUP,
        Signal::Int => Raw::SIGINT,
        Signal::Quit => Raw::SIGQUIT,
        Signal::Abort => Raw::SIGABRT,
        Signal::Kill => Raw::SIGKILL,
        Signal::Usr1 => Raw::SIGUSR1,
        Signal::Usr2 => Raw::SIGUSR2,
        Signal::Pipe => Raw::SIGPIPE,
        Signal::Alarm => Raw::SIGALRM,
        Signal::Term => Raw::SIGTERM,
        Signal::Child => Raw::SIGCHLD,
        Signal::Cont => Raw::SIGCONT,
        Signal::Stop => Raw::SIGSTOP,
        Signal::Tstp => Raw::SIGTSTP,
        Signal::Ttin => Raw::SIGTTIN,
        Signal::Ttou => Raw::SIGTTOU,
        Signal::Urg => Raw::SIGURG,
        Signal::Winch => Raw::SIGWINCH,
    }
}

/// The outcome of sending a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SignalOutcome {
    /// The signal was sent to the process, or to at least one process of the group. A zombie counts
    /// as a process.
    Delivered,
    /// No such process or group exists.
    NoSuchProcess,
}

/// Sends a signal to a process.
///
/// Signalling a pid is safe only while the system cannot reuse the number. This is guaranteed only
/// in the parent of the process, before the parent reaps it. For any other process use
/// [`PidFd`](crate::pidfd::PidFd).
///
/// # Errors
///
/// If this process is not permitted to signal the process, for example because the other process
/// belongs to another user. If the process does not exist any more, the result is
/// [`SignalOutcome::NoSuchProcess`], not an error.
pub fn signal(pid: Pid, signal: Signal) -> Result<SignalOutcome> {
    outcome(nix::sys::signal::kill(raw_pid(pid), raw_signal(signal)))
        .map_err(|errno| Error::os(format!("send {signal} to process {pid}"), errno))
}

/// Sends a signal to every process of the group that `leader` created.
///
/// A zombie is still a member of its group. The kernel reserves the number of the group until its
/// leader is reaped and it has no members left, so until then the number means this group.
///
/// # Errors
///
/// If this process is permitted to signal none of the processes of the group.
pub fn signal_group(leader: Pid, signal: Signal) -> Result<SignalOutcome> {
    outcome(nix::sys::signal::killpg(raw_pid(leader), raw_signal(signal)))
        .map_err(|errno| Error::os(format!("send {signal} to process group {leader}"), errno))
}

fn outcome(result: nix::Result<()>) -> nix::Result<SignalOutcome> {
    match result {
        Ok(()) => Ok(SignalOutcome::Delivered),
        Err(Errno::ESRCH) => Ok(SignalOutcome::NoSuchProcess),
        Err(errno) => Err(errno),
    }
}

/// Returns whether the group that `leader` created has processes, including zombies.
#[must_use]
pub fn group_exists(leader: Pid) -> bool {
    !matches!(nix::sys::signal::killpg(raw_pid(leader), None), Err(Errno::ESRCH))
}

/// Returns whether a process with this pid exists, including zombies and processes of other users.
#[must_use]
pub fn exists(pid: Pid) -> bool {
    !matches!(nix::sys::signal::kill(raw_pid(pid), None), Err(Errno::ESRCH))
}

/// Returns the process group of a process, as the pid of the group's leader. Returns `None` if
/// there is no such process, or if the process is in a session that this process cannot query.
#[must_use]
pub fn group_of(pid: Pid) -> Option<Pid> {
    let group = unistd::getpgid(Some(raw_pid(pid))).ok()?;
    Pid::from_raw(group.as_raw())
}

/// Makes this process the leader of a new process group. This process and the processes that it
/// starts can then be signalled together, and do not receive the terminal's signals.
///
/// # Errors
///
/// If this process is a session leader already (setpgid(2)).
#[inline]
pub fn become_group_leader() -> Result<()> {
    let this = unistd::Pid::from_raw(0);
    unistd::setpgid(this, this).map_err(|errno| Error::os("create a process group", errno))
}

/// Exits this process immediately, without running destructors or `atexit` functions and without
/// flushing buffers.
///
/// Use this function in a child that must not run the functions that its parent registered.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes any number and does not return; it touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Sets the signal that the kernel sends to this process when its parent exits.
///
/// After setting the signal, this function checks that the parent is still `expected`, because the
/// kernel sends no signal if the parent exited before this call. A fork and a change of user or
/// group reset the setting (prctl(2), `PR_SET_PDEATHSIG`), so call this function after both. The
/// kernel watches the *thread* that forked, so the parent must fork from a thread that does not
/// exit.
///
/// On systems other than Linux this function sets no signal and only checks the parent. There, use
/// a [link](crate::link) to the parent instead: when the parent exits, the parent's end of the link
/// is closed.
///
/// # Errors
///
/// [`Error::ParentExited`] if the parent is not `expected`.
#[inline]
pub fn die_with_parent(signal: Signal, expected: Pid) -> Result<()> {
    platform::set_parent_death_signal(signal)?;
    if parent_pid() == Some(expected) { Ok(()) } else { Err(Error::ParentExited { expected }) }
}

/// Does nothing, on systems without a parent death signal (the signal that a process receives when
/// its parent exits). Callers detect the parent's exit with a [link](crate::link) instead: when the
/// parent exits, the parent's end of the link is closed.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use super::Signal;
    use crate::error::Result;

    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
    pub(super) fn set_parent_death_signal(_: Signal) -> Result<()> {
        Ok(())
    }
}

/// Sets the parent death signal with prctl(2). The kernel sends this signal to the process when its
/// parent exits.
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use super::Signal;
    use crate::error::{Error, Result};
    use crate::process::number_of;

    #[inline]
    pub(super) fn set_parent_death_signal(signal: Signal) -> Result<()> {
        let action = || format!("set parent death signal {signal}");
        // SAFETY: PR_SET_PDEATHSIG reads one number, which is a valid signal; no pointer is passed.
        let result =
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, number_of(signal) as libc::c_ulong) };
        if result == 0 { Ok(()) } else { Err(Error::last(action())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_the_name_that_the_system_gives_its_number() {
        for signal in Signal::ALL {
            let raw = Raw::try_from(number_of(signal)).expect("a signal");
            assert_eq!(raw.as_str(), format!("SIG{signal}"));
        }
    }

    #[test]
    fn a_signal_to_an_unused_pid_reports_no_such_process() {
        let unused = Pid::from_raw(i32::MAX).expect("positive");
        assert_eq!(signal(unused, Signal::Term).expect("a result"), SignalOutcome::NoSuchProcess);
        assert_eq!(
            signal_group(unused, Signal::Term).expect("a result"),
            SignalOutcome::NoSuchProcess
        );
    }
}
