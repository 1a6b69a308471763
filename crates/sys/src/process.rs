//! Processes by number: who we are, signals to others, groups, and the ways to end.
//!
//! Not here: waiting for a child (`reap`), receiving signals (`signals`).

use std::fmt;
use std::num::NonZeroI32;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal as Raw;
use nix::unistd;

use crate::error::{Error, Result};

#[cfg(all(target_os = "linux", not(plain_means)))]
mod linux;
#[cfg(any(not(target_os = "linux"), plain_means))]
mod plain;
#[cfg(all(target_os = "linux", not(plain_means)))]
use linux as platform;
#[cfg(any(not(target_os = "linux"), plain_means))]
use plain as platform;

/// A process id: always positive, so that it can't be taken for "everybody" or "my group" by
/// kill(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// Makes a pid of a number; `None` unless it is positive.
    #[must_use]
    pub fn from_raw(number: i32) -> Option<Pid> {
        if number > 0 { NonZeroI32::new(number).map(Pid) } else { None }
    }

    /// Returns the number.
    #[must_use]
    pub fn as_raw(self) -> i32 {
        self.0.get()
    }

    /// Returns the pid of this process.
    ///
    /// # Panics
    ///
    /// Never: getpid(2) always answers a positive number.
    #[must_use]
    #[inline]
    pub fn this() -> Pid {
        Pid::from_raw(unistd::getpid().as_raw()).expect("getpid answers a positive number")
    }

    /// Returns the pid of the parent of this process; `None` if the parent is outside our pid
    /// namespace, which getppid(2) reports as 0.
    #[must_use]
    #[inline]
    pub fn of_parent() -> Option<Pid> {
        Pid::from_raw(unistd::getppid().as_raw())
    }

    pub(crate) fn nix(self) -> unistd::Pid {
        unistd::Pid::from_raw(self.as_raw())
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The signals that a daemon sends or listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// `SIGHUP`: reopen the logs, or reload.
    Hup,
    /// `SIGINT`: finish, from the terminal.
    Int,
    /// `SIGQUIT`: finish at once.
    Quit,
    /// `SIGABRT`: abort, with a core.
    Abort,
    /// `SIGKILL`: the end, which can't be caught.
    Kill,
    /// `SIGUSR1`: free for the program.
    Usr1,
    /// `SIGUSR2`: a verbose peek.
    Usr2,
    /// `SIGPIPE`: a write to nobody.
    Pipe,
    /// `SIGALRM`: a timer of alarm(2).
    Alarm,
    /// `SIGTERM`: finish in order.
    Term,
    /// `SIGCHLD`: a child ended.
    Child,
    /// `SIGCONT`: go on after a stop.
    Cont,
    /// `SIGSTOP`: stop, which can't be caught.
    Stop,
    /// `SIGTSTP`: stop, from the terminal.
    Tstp,
    /// `SIGTTIN`: one child more.
    Ttin,
    /// `SIGTTOU`: one child fewer.
    Ttou,
    /// `SIGWINCH`: the terminal changed its size.
    Winch,
    /// `SIGURG`: where is it? Ignored by who does not answer, see [`trace`](crate::trace).
    Urg,
}

impl Signal {
    /// Every signal of this enum.
    pub const ALL: [Signal; 18] = [
        Signal::Hup,
        Signal::Int,
        Signal::Quit,
        Signal::Abort,
        Signal::Kill,
        Signal::Usr1,
        Signal::Usr2,
        Signal::Pipe,
        Signal::Alarm,
        Signal::Term,
        Signal::Child,
        Signal::Cont,
        Signal::Stop,
        Signal::Tstp,
        Signal::Ttin,
        Signal::Ttou,
        Signal::Winch,
        Signal::Urg,
    ];

    #[inline]
    pub(crate) fn nix(self) -> Raw {
        match self {
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
            Signal::Winch => Raw::SIGWINCH,
            Signal::Urg => Raw::SIGURG,
        }
    }

    /// Returns the name as the manual writes it: `SIGTERM`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.nix().as_str()
    }

    /// Returns the number that this system gives it.
    #[must_use]
    #[inline]
    pub fn number(self) -> i32 {
        self.nix() as i32
    }

    /// Finds the signal of a number; `None` for those that a daemon has no name for.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| signal.number() == number)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// The process (or one of the group) exists and the signal is pending for it. A zombie counts.
    Delivered,
    /// There is no such process or group.
    NoSuchProcess,
}

/// Sends a signal to a process.
///
/// A pid is only safe to signal while its number can't be used again: by its parent, before it
/// reaps it. For any other process use [`PidFd`](crate::pidfd::Handle).
///
/// # Errors
///
/// If the process is another user's. A process that is gone is no error but
/// [`Sent::NoSuchProcess`].
pub fn signal(pid: Pid, signal: Signal) -> Result<Sent> {
    sent(nix::sys::signal::kill(pid.nix(), signal.nix()))
        .map_err(|errno| Error::os(format!("send {signal} to process {pid}"), errno))
}

/// Sends a signal to every process of the group that `leader` leads, or led.
///
/// # Errors
///
/// If not one of its processes may be signalled by us.
pub fn signal_group(leader: Pid, signal: Signal) -> Result<Sent> {
    sent(nix::sys::signal::killpg(leader.nix(), signal.nix()))
        .map_err(|errno| Error::os(format!("send {signal} to process group {leader}"), errno))
}

/// Says whether the group that `leader` led has no process left.
///
/// A zombie is still of its group: an unreaped leader keeps the answer at `false`, and keeps the
/// number from being used again. After the leader is reaped the kernel keeps the number reserved as
/// long as the group has a member, so `false` is then about the same group.
///
/// # Errors
///
/// If the system answers anything but yes, no, or "not yours".
pub fn group_is_empty(leader: Pid) -> Result<bool> {
    match nix::sys::signal::killpg(leader.nix(), None) {
        Ok(()) | Err(Errno::EPERM) => Ok(false),
        Err(Errno::ESRCH) => Ok(true),
        Err(errno) => Err(Error::os(format!("look at process group {leader}"), errno)),
    }
}

fn sent(answer: nix::Result<()>) -> nix::Result<Sent> {
    match answer {
        Ok(()) => Ok(Sent::Delivered),
        Err(Errno::ESRCH) => Ok(Sent::NoSuchProcess),
        Err(errno) => Err(errno),
    }
}

/// Says whether there is a process of this number: a zombie counts, and another user's does.
#[must_use]
pub fn exists(pid: Pid) -> bool {
    !matches!(nix::sys::signal::kill(pid.nix(), None), Err(Errno::ESRCH))
}

/// Tells which process group a process is in, by the pid of its leader: `None` if there is no such
/// process, or it is in a session that may not be asked.
#[must_use]
pub fn group_of(pid: Pid) -> Option<Pid> {
    let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid.as_raw()))).ok()?;
    Pid::from_raw(group.as_raw())
}

/// Makes this process the leader of a process group of its own, so that it and all that it starts
/// can be signalled together and the terminal's signals pass it by.
///
/// # Errors
///
/// If this process leads a session already (setpgid(2)).
pub fn lead_own_group() -> Result<()> {
    let this = unistd::Pid::from_raw(0);
    unistd::setpgid(this, this).map_err(|errno| Error::os("lead a process group", errno))
}

/// Has the system end this process by `SIGALRM` when the time is over, whatever it does then: the
/// clock of alarm(2), in whole seconds, rounded up.
pub fn end_after(time: Duration) {
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    nix::unistd::alarm::set(seconds);
}

/// Ends this process at once: no destructor, no `atexit` function, no flush of buffers runs.
///
/// For a child that must not run what its parent registered.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes any number and does not return; it touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Has the kernel send this process `signal` when its parent ends.
///
/// Then looks whether the parent still is `expected`: one that ended before this call signals
/// nobody. The setting is lost by a fork, and by a change of user or group (prctl(2),
/// `PR_SET_PDEATHSIG`): call it after both. The kernel watches the *thread* that forked, so the
/// parent must fork from one that stays.
///
/// Elsewhere than on Linux nothing is set, only the parent is checked: watch a link for its end
/// instead.
///
/// # Errors
///
/// [`Error::ParentIsGone`] if the parent is not `expected` any more.
#[inline]
pub fn die_with_parent(signal: Signal, expected: Pid) -> Result<()> {
    platform::ask_for_signal(signal)?;
    if Pid::of_parent() == Some(expected) { Ok(()) } else { Err(Error::ParentIsGone { expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_positive() {
        assert_eq!(Pid::from_raw(0), None);
        assert_eq!(Pid::from_raw(-1), None);
        assert_eq!(Pid::from_raw(7).map(Pid::as_raw), Some(7));
        assert_eq!(size_of::<Option<Pid>>(), 4);
    }

    #[test]
    fn every_signal_is_found_by_its_number() {
        for signal in Signal::ALL {
            assert_eq!(Signal::from_number(signal.number()), Some(signal));
        }
        assert_eq!(Signal::from_number(0), None);
        assert_eq!(Signal::Term.name(), "SIGTERM");
    }

    #[test]
    fn a_pid_past_the_last_is_nobody() {
        let nobody = Pid::from_raw(i32::MAX).expect("positive");
        assert_eq!(signal(nobody, Signal::Term).expect("answers"), Sent::NoSuchProcess);
        assert_eq!(signal_group(nobody, Signal::Term).expect("answers"), Sent::NoSuchProcess);
        assert!(group_is_empty(nobody).expect("answers"));
    }
}
