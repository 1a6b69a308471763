//! Receiving signals: dispositions, the signal mask, and descriptors to read signals from. The
//! module [`process`](crate::process) sends signals.
//!
//! Signal handlers run only code of this crate, never code of the program that uses it.

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use libc::c_int;
use nix::sys::signal::SigSet;

use crate::error::{Error, Result};
use crate::process::{Signal, number_of, raw_signal};

mod listener;
mod queue;
mod unused;

pub use listener::SignalListener;
pub use queue::SignalQueue;
use queue::{release, reserved};
pub use unused::disregard_unused;

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

/// Restores the default action of every signal that is ignored, except `SIGPIPE`.
///
/// An ignored signal stays ignored in a program that is executed, so it may come from the process
/// that launched this one.
pub fn restore_ignored() {
    for number in (1..=MAX_SIGNAL).filter(|number| !RUST_RUNTIME_SIGNALS.contains(number)) {
        match disposition(number) {
            // An ignored signal can be changed.
            Ok(libc::SIG_IGN) => drop(set(number, libc::SIG_DFL)),
            Ok(_) => {}
            Err(_) if number > 64 => return,
            Err(_not_a_signal) => {}
        }
    }
}

/// Makes the exits of children visible to wait(2): if `SIGCHLD` is ignored, restores its default
/// action, which has no effect. While `SIGCHLD` is ignored, the kernel reaps the children.
pub fn keep_exits() {
    if matches!(disposition(libc::SIGCHLD), Ok(libc::SIG_IGN)) {
        // SIGCHLD can be changed.
        let _ = set(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// Installs a handler that does nothing, in place of the signal's default action. Programs that
/// this process executes get the default action.
///
/// Do not use it for [`Signal::Ttin`] and [`Signal::Ttou`]: the call that the terminal refuses
/// would be repeated without end.
///
/// # Errors
///
/// For [`Signal::Kill`] and [`Signal::Stop`], which cannot be handled.
pub fn disregard(signal: Signal) -> Result<()> {
    handle(signal, unused::on_unused)
        .map_err(|error| Error::os(format!("disregard {signal}"), error))
}

/// Removes these signals from those that are pending for this process. Their actions stay as they
/// are.
pub fn discard_pending(signals: &[Signal]) {
    for number in signals.iter().copied().map(number_of) {
        // Setting a signal to be ignored removes it from the pending ones (sigaction(2)).
        if let Ok(action) = action(number)
            && set(number, libc::SIG_IGN).is_ok()
        {
            // SAFETY: the action is the previous one of this signal.
            unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) };
        }
    }
}

/// Returns the disposition of a signal: `SIG_DFL`, `SIG_IGN`, or the address of a handler.
fn disposition(number: c_int) -> io::Result<libc::sighandler_t> {
    Ok(action(number)?.sa_sigaction)
}

fn action(number: c_int) -> io::Result<libc::sigaction> {
    let mut action = empty_action();
    // SAFETY: null means that the action is not changed; the other pointer is to a whole sigaction,
    // which the call writes.
    match unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) } {
        0 => Ok(action),
        _ => Err(io::Error::last_os_error()),
    }
}

fn empty_action() -> libc::sigaction {
    // SAFETY: sigaction is made of integers and an optional function pointer, for which zero is
    // valid.
    unsafe { std::mem::zeroed() }
}

/// Installs a handler that restarts interrupted system calls.
fn handle(signal: Signal, handler: extern "C" fn(c_int)) -> io::Result<()> {
    set(number_of(signal), handler as *const () as libc::sighandler_t)
}

/// Installs a handler that receives the interrupted context and restarts interrupted system calls.
#[cfg(feature = "trace")]
pub(crate) fn handle_with_context(
    signal: Signal,
    handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut std::ffi::c_void),
) -> io::Result<()> {
    let handler = handler as *const () as libc::sighandler_t;
    set_with(number_of(signal), handler, libc::SA_RESTART | libc::SA_SIGINFO)
}

fn set(number: c_int, disposition: libc::sighandler_t) -> io::Result<()> {
    set_with(number, disposition, libc::SA_RESTART)
}

fn set_with(number: c_int, disposition: libc::sighandler_t, flags: c_int) -> io::Result<()> {
    let mut action = empty_action();
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

/// Blocks signals until the guard is dropped. Dropping the guard restores the previous mask.
///
/// The mask belongs to the thread, so the guard cannot be sent to another thread. A forked child
/// inherits the mask and a copy of the guard. When the child is ready for signals, it drops its
/// copy, and the signals that have arrived until then are delivered. No signal is lost.
///
/// Dropping the guard does not unblock the signals of a [`SignalQueue`], even
/// if the queue was created after the guard. If they were unblocked, the next such signal would
/// kill the process instead of being read from the queue.
#[derive(Debug)]
#[must_use = "the signals are unblocked when the guard is dropped"]
pub struct SignalBlockGuard {
    previous: SigSet,
    not_send: PhantomData<*const ()>,
}

impl SignalBlockGuard {
    /// Blocks these signals, in addition to those that are blocked already.
    ///
    /// # Errors
    ///
    /// pthread_sigmask(3) documents no error for this call.
    pub fn block(signals: &[Signal]) -> Result<SignalBlockGuard> {
        SignalBlockGuard::add(set_of(signals))
    }

    /// Makes these signals the only blocked ones. Dropping the guard unblocks them, too.
    ///
    /// # Errors
    ///
    /// pthread_sigmask(3) documents no error for this call.
    pub fn replace_mask(signals: &[Signal]) -> Result<SignalBlockGuard> {
        let mut mask = set_of(signals);
        mask.extend(reserved().map(raw_signal));
        mask.thread_set_mask().map_err(|errno| Error::os("block signals", errno))?;
        Ok(SignalBlockGuard { previous: SigSet::empty(), not_send: PhantomData })
    }

    /// Changes what dropping the guard does: it then unblocks every signal instead of restoring the
    /// previous mask.
    pub fn unblock_all_on_drop(&mut self) {
        self.previous = SigSet::empty();
    }

    fn add(set: SigSet) -> Result<SignalBlockGuard> {
        match set.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK) {
            Ok(previous) => Ok(SignalBlockGuard { previous, not_send: PhantomData }),
            Err(errno) => Err(Error::os("block signals", errno)),
        }
    }

    /// Restores the previous mask for all signals, including these signals of a
    /// [`SignalQueue`], which stay blocked if the guard is only dropped. A
    /// forked child calls this with the signals of its parent's queue, which the child does not
    /// read.
    pub fn restore_without_queue(self, signals: &[Signal]) {
        release(signals);
        drop(self);
    }

    /// Drops the guard without unblocking the signals.
    pub fn leave_blocked(self) {
        std::mem::forget(self);
    }
}

impl Drop for SignalBlockGuard {
    fn drop(&mut self) {
        let mut mask = self.previous;
        mask.extend(reserved().map(raw_signal));
        // pthread_sigmask fails only for an invalid operation, and this operation is valid.
        let _ = mask.thread_set_mask();
    }
}

/// Blocks every signal that can be blocked, for example around a fork, except those that an
/// instruction of this process itself causes, such as `SIGBUS`: the system ends a process that
/// blocks them, even if it has a handler.
///
/// # Errors
///
/// pthread_sigmask(3) documents no error for this call.
pub fn block_all() -> Result<SignalBlockGuard> {
    let mut signals = SigSet::all();
    for caused_by_instruction in CAUSED_BY_INSTRUCTIONS {
        signals.remove(caused_by_instruction);
    }
    SignalBlockGuard::add(signals)
}

/// The signals that an instruction of the process causes.
const CAUSED_BY_INSTRUCTIONS: [nix::sys::signal::Signal; 5] = [
    nix::sys::signal::Signal::SIGBUS,
    nix::sys::signal::Signal::SIGFPE,
    nix::sys::signal::Signal::SIGILL,
    nix::sys::signal::Signal::SIGSEGV,
    nix::sys::signal::Signal::SIGTRAP,
];

/// Unblocks these signals in the calling thread. Pending signals are delivered immediately.
///
/// # Errors
///
/// pthread_sigmask(3) documents no error for this call.
pub fn unblock(signals: &[Signal]) -> Result<()> {
    release(signals);
    set_of(signals).thread_unblock().map_err(|errno| Error::os("unblock signals", errno))
}

/// Unblocks every signal in the calling thread, including those of a
/// [`SignalQueue`] that this process does not read any more. Pending signals are
/// delivered immediately.
///
/// # Errors
///
/// pthread_sigmask(3) documents no error for this call.
pub fn unblock_all() -> Result<()> {
    release(&Signal::ALL);
    SigSet::empty().thread_set_mask().map_err(|errno| Error::os("unblock all signals", errno))
}

/// Sets an alarm(2) that terminates this process with `SIGALRM` after this time, whatever the
/// process is doing then and whatever handler the signal had. The time is rounded down to whole
/// seconds, and one second is added, so the alarm is never early.
pub fn terminate_after(time: Duration) {
    // These calls succeed for this signal.
    let _ = restore_default(Signal::Alarm);
    discard_pending(&[Signal::Alarm]);
    let _ = unblock(&[Signal::Alarm]);
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    nix::unistd::alarm::set(seconds);
}

fn set_of(signals: &[Signal]) -> SigSet {
    signals.iter().map(|signal| raw_signal(*signal)).collect()
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

    #[test]
    fn dropping_the_guard_restores_the_previous_mask() {
        let is_blocked =
            |signal: Signal| SigSet::thread_get_mask().expect("mask").contains(raw_signal(signal));
        let outer = SignalBlockGuard::block(&[Signal::Usr1]).expect("blocked");
        {
            let _inner = block_all().expect("blocked");
            assert!(is_blocked(Signal::Usr1));
            assert!(is_blocked(Signal::Usr2));
        }
        assert!(is_blocked(Signal::Usr1) && !is_blocked(Signal::Usr2));
        drop(outer);
        assert!(!is_blocked(Signal::Usr1));
    }

    #[test]
    fn unblock_all_leaves_no_signal_blocked() {
        block_all().expect("blocked").leave_blocked();
        unblock_all().expect("unblocked");
        let mask = SigSet::thread_get_mask().expect("mask");
        assert_eq!(mask.iter().count(), 0, "{mask:?}");
    }

    #[test]
    fn leave_blocked_keeps_the_signals_blocked_until_they_are_unblocked() {
        SignalBlockGuard::block(&[Signal::Winch]).expect("blocked").leave_blocked();
        let mask = || SigSet::thread_get_mask().expect("mask");
        assert!(mask().contains(raw_signal(Signal::Winch)));
        unblock(&[Signal::Winch]).expect("unblocked");
        assert!(!mask().contains(raw_signal(Signal::Winch)));
    }
}
