//! Signal dispositions: ignore, the default action, or one of this crate's handlers.

use std::ffi::c_void;
use std::io;

use libc::{c_int, siginfo_t};

use crate::error::{Error, Result};
use crate::process::{Signal, number_of};

/// Signals whose disposition Rust's runtime sets. The runtime ignores `SIGPIPE`, so that a write to
/// a closed pipe returns an error instead of killing the process. It handles the other two signals
/// to report stack overflows.
const RUST_RUNTIME_SIGNALS: [c_int; 3] = [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS];

/// The highest signal number of all supported systems: Linux has 64, FreeBSD 128 with gaps.
const MAX_SIGNAL: c_int = 128;

/// Ignores the signal in this process, in the processes that it forks, and in the programs that it
/// executes.
///
/// Do not ignore [`Signal::Child`], because the kernel would then reap the children and their exit
/// statuses would be lost.
///
/// # Errors
///
/// For [`Signal::Kill`] and [`Signal::Stop`], which cannot be ignored.
pub fn ignore(signal: Signal) -> Result<()> {
    set(number_of(signal), libc::SIG_IGN)
        .map_err(|error| Error::os(format!("ignore {signal}"), error))
}

/// Restores the signal's default action.
///
/// # Errors
///
/// For [`Signal::Kill`] and [`Signal::Stop`], whose action cannot be changed.
pub fn restore_default(signal: Signal) -> Result<()> {
    set(number_of(signal), libc::SIG_DFL)
        .map_err(|error| Error::os(format!("restore the default of {signal}"), error))
}

/// Restores the default action of every signal except the three that Rust's runtime uses
/// (`SIGPIPE`, `SIGSEGV`, `SIGBUS`). Use this function in a child that must not run its parent's
/// handlers.
///
/// Makes one system call for each signal number. All calls together take about 10 us.
pub fn restore_all_defaults() {
    for number in (1..=MAX_SIGNAL).filter(|number| !RUST_RUNTIME_SIGNALS.contains(number)) {
        // Errors are ignored: some numbers are not signals, and two signals cannot be changed.
        // Above 64, an error means that there are no further signals.
        if set(number, libc::SIG_DFL).is_err() && number > 64 {
            return;
        }
    }
}

/// Installs a handler that restarts interrupted system calls.
pub(super) fn handle(signal: Signal, handler: extern "C" fn(c_int)) -> io::Result<()> {
    set(number_of(signal), handler as *const () as libc::sighandler_t)
}

/// Installs a handler that receives the interrupted context and restarts interrupted system calls.
pub(crate) fn handle_with_context(
    signal: Signal,
    handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void),
) -> io::Result<()> {
    let handler = handler as *const () as libc::sighandler_t;
    set_with(number_of(signal), handler, libc::SA_RESTART | libc::SA_SIGINFO)
}

fn set(number: c_int, disposition: libc::sighandler_t) -> io::Result<()> {
    set_with(number, disposition, libc::SA_RESTART)
}

fn set_with(number: c_int, disposition: libc::sighandler_t, flags: c_int) -> io::Result<()> {
    // SAFETY: sigaction is made of integers and an optional function pointer, for which zero is
    // valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = disposition;
    action.sa_flags = flags;
    // SAFETY: the pointer is to a whole sigaction; SIG_IGN and SIG_DFL run no code of ours, and
    // `handle` and `handle_with_context` pass only a handler's function, each with the flags that
    // match its arguments; null means that the previous action is not returned.
    match unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignoring_sigkill_and_restoring_the_default_of_sigstop_are_refused() {
        let refused = ignore(Signal::Kill).expect_err("refused");
        assert_eq!(refused.to_string(), "cannot ignore KILL: invalid argument");
        let refused = restore_default(Signal::Stop).expect_err("refused").to_string();
        assert!(refused.ends_with(": invalid argument"), "{refused}");
    }
}
