//! What a signal does when it comes: ignored, the system's default, or one of this crate's handlers.

use std::ffi::c_void;
use std::io;

use libc::{c_int, siginfo_t};

use crate::error::{Error, Result};
use crate::process::Signal;

/// Signals whose disposition Rust's runtime owns: it ignores `SIGPIPE`, so that a write to nobody is
/// an error and not a death, and catches the other two to report an overflown stack.
const RUNTIMES: [c_int; 3] = [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS];

/// The highest signal number on the systems we know: Linux has 64, FreeBSD 128 with gaps.
const LAST: c_int = 128;

/// Ignores the signal in this process, and in what it forks or executes.
///
/// Beware of [`Signal::Child`]: ignored, children are reaped by the kernel and nobody learns how
/// they ended.
///
/// # Errors
///
/// For [`Signal::Kill`] and [`Signal::Stop`], which can't be.
pub fn ignore(signal: Signal) -> Result<()> {
    set(signal.number(), libc::SIG_IGN)
        .map_err(|error| Error::os(format!("ignore {signal}"), error))
}

/// Gives the signal its default effect again.
///
/// # Errors
///
/// For [`Signal::Kill`] and [`Signal::Stop`], which always have it.
pub fn restore_default(signal: Signal) -> Result<()> {
    set(signal.number(), libc::SIG_DFL)
        .map_err(|error| Error::os(format!("restore the default of {signal}"), error))
}

/// Gives every signal its default effect again, as a child needs that must not run its parent's
/// handlers, save the three that are Rust's own (`SIGPIPE`, `SIGSEGV`, `SIGBUS`).
///
/// Costs a system call for each signal number, about 10 us in all.
pub fn restore_all_defaults() {
    for number in (1..=LAST).filter(|number| !RUNTIMES.contains(number)) {
        // Numbers that are no signal, or the two that can't be changed, are refused: no matter.
        if set(number, libc::SIG_DFL).is_err() && number > 64 {
            return;
        }
    }
}

/// Has the signal run a handler, which restarts what it interrupts.
pub(super) fn handle(signal: Signal, handler: extern "C" fn(c_int)) -> io::Result<()> {
    set(signal.number(), handler as *const () as libc::sighandler_t)
}

/// Has the signal run a handler that is shown what it interrupts, and restarts it.
pub(crate) fn handle_with_context(
    signal: Signal,
    handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void),
) -> io::Result<()> {
    let handler = handler as *const () as libc::sighandler_t;
    set_with(signal.number(), handler, libc::SA_RESTART | libc::SA_SIGINFO)
}

fn set(number: c_int, disposition: libc::sighandler_t) -> io::Result<()> {
    set_with(number, disposition, libc::SA_RESTART)
}

fn set_with(number: c_int, disposition: libc::sighandler_t, flags: c_int) -> io::Result<()> {
    // SAFETY: sigaction is made of integers and an optional function pointer: zeroes are a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = disposition;
    action.sa_flags = flags;
    // SAFETY: the pointer is to a whole sigaction; SIG_IGN and SIG_DFL run no code of ours, and
    // `handle` and `handle_with_context` take only a handler's function, each with the flags that go
    // with its arguments; null means that the former one is not wanted.
    match unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_signal_can_be_neither_ignored_nor_restored() {
        let refused = ignore(Signal::Kill).expect_err("refused");
        assert_eq!(refused.to_string(), "cannot ignore SIGKILL: invalid argument");
        let refused = restore_default(Signal::Stop).expect_err("refused").to_string();
        assert!(refused.ends_with(": invalid argument"), "{refused}");
    }
}
