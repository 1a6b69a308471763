//! How children end: waiting for one, for any, and looking without taking.

use std::fmt;
use std::io;

use libc::c_int;

use crate::error::{Error, Result};
use crate::process::{Pid, Signal};

mod children;

pub use children::{ChildSet, ExitedChild};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It exited by itself, with this code; 0 is success.
    Code(i32),
    /// A signal ended it. The number is kept raw, since it may be one we have no name for.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether a core was dumped.
        core: bool,
    },
}

impl Exit {
    fn from_status(status: c_int) -> Exit {
        if libc::WIFEXITED(status) {
            Exit::Code(libc::WEXITSTATUS(status))
        } else {
            Exit::Signal { number: libc::WTERMSIG(status), core: libc::WCOREDUMP(status) }
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal { number, core } => {
                match nix::sys::signal::Signal::try_from(number) {
                    Ok(signal) => f.write_str(signal.as_str())?,
                    Err(_) => write!(f, "signal {number}")?,
                }
                f.write_str(if core { " (core dumped)" } else { "" })
            }
        }
    }
}

/// Takes one child that has ended, whichever it is; `None` if none has, or there are no children.
///
/// Signals of several children that end together are merged into one: call it until `None`.
///
/// # Errors
///
/// None that wait(2) names for this call; one that it doesn't is passed on.
pub fn reap_any() -> Result<Option<(Pid, Exit)>> {
    match wait(-1, libc::WNOHANG) {
        Ok(answer) => Ok(answer),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(Error::os("wait for any child", error)),
    }
}

/// Takes this child if it has ended; `None` if it is alive.
///
/// # Errors
///
/// `ECHILD` if it is no child of ours, or was taken before.
pub fn reap(child: Pid) -> Result<Option<Exit>> {
    match wait(child.as_raw(), libc::WNOHANG) {
        Ok(answer) => Ok(answer.map(|(_, exit)| exit)),
        Err(error) => Err(Error::os(format!("wait for child {child}"), error)),
    }
}

/// Waits until this child ends, however long, and takes it. Signals do not disturb it.
///
/// # Errors
///
/// `ECHILD` if it is no child of ours, or was taken before, or `SIGCHLD` is ignored in this process
/// (waitpid(2)).
pub fn wait_for(child: Pid) -> Result<Exit> {
    loop {
        match wait(child.as_raw(), 0) {
            Ok(Some((_, exit))) => return Ok(exit),
            Ok(None) => {}
            Err(error) => return Err(Error::os(format!("wait for child {child}"), error)),
        }
    }
}

fn wait(whom: libc::pid_t, options: c_int) -> io::Result<Option<(Pid, Exit)>> {
    loop {
        let mut status: c_int = 0;
        // SAFETY: waitpid takes any number, and writes one int to a pointer that is valid for it.
        let answer = unsafe { libc::waitpid(whom, &raw mut status, options) };
        if answer >= 0 {
            return Ok(Pid::from_raw(answer).map(|pid| (pid, Exit::from_status(status))));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Looks how this child ended, and leaves it unreaped; `None` if it is alive.
///
/// As long as it is not reaped its pid can't be used again, nor the number of the group it led: the
/// group can be signalled in the meantime. [`reap`] then takes it.
///
/// # Errors
///
/// `ECHILD` if it is no child of ours, or was taken before.
pub fn peek_exit(child: Pid) -> Result<Option<Exit>> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: siginfo_t is made of integers and pointers, for which zeroes are a value; waitid(2)
    // leaves it untouched when nobody has ended, so it must be zero before.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: waitid writes one siginfo_t to a pointer that is valid for it.
    let answer =
        unsafe { libc::waitid(libc::P_PID, child.as_raw() as libc::id_t, &raw mut info, options) };
    if answer != 0 {
        return Err(Error::last(format!("look at child {child}")));
    }
    // SAFETY: the field is valid for what waitid fills in, and zero if it filled in nothing.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(match info.si_code {
        libc::CLD_EXITED => Exit::Code(status),
        code => Exit::Signal { number: status, core: code == libc::CLD_DUMPED },
    }))
}

/// Says whether a signal by that name ended the process.
impl PartialEq<Signal> for Exit {
    fn eq(&self, signal: &Signal) -> bool {
        matches!(self, Exit::Signal { number, .. } if *number == signal.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_says_its_code_or_its_signal() {
        assert_eq!(Exit::Code(3).to_string(), "exit code 3");
        let killed = Exit::Signal { number: libc::SIGKILL, core: false };
        assert_eq!(killed.to_string(), "SIGKILL");
        assert_eq!(killed, Signal::Kill);
        let dumped = Exit::Signal { number: libc::SIGSEGV, core: true };
        assert_eq!(dumped.to_string(), "SIGSEGV (core dumped)");
        assert_eq!(Exit::Signal { number: 50, core: false }.to_string(), "signal 50");
    }

    #[test]
    fn a_stranger_is_no_child_of_ours() {
        let stranger = Pid::from_raw(i32::MAX).expect("positive");
        assert_eq!(reap(stranger).expect_err("refused").raw_os_error(), Some(libc::ECHILD));
        assert_eq!(peek_exit(stranger).expect_err("refused").raw_os_error(), Some(libc::ECHILD));
        assert_eq!(wait_for(stranger).expect_err("refused").raw_os_error(), Some(libc::ECHILD));
    }
}
