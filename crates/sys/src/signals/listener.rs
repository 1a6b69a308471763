//! A listener whose descriptor becomes readable when a signal arrives. It uses signal handlers,
//! works on any Unix, and does not change the signal mask.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use libc::c_int;
use nix::errno::Errno;

use super::{handle, restore_default};
use crate::error::{Error, Result};
use crate::process::{Signal, number_of};
use crate::wakeup::Wakeup;

/// The signals that have arrived, with one bit for each signal number.
static PENDING: AtomicU64 = AtomicU64::new(0);
/// The descriptor that the handler writes to; -1 if there is no listener.
static WAKEUP_FD: AtomicI32 = AtomicI32::new(-1);

/// Handles some signals, and has a descriptor that is readable when one of them has arrived.
///
/// A signal that arrives several times before it is read is reported once, as usual for signals.
/// Unlike a [`SignalQueue`](super::SignalQueue), a listener does not change the signal mask, which
/// is inherited by programs that this process starts. A process can have only one listener at a
/// time, and a second listener replaces the first. If other code later installs handlers for the
/// same signals, those handlers replace the listener's.
#[derive(Debug)]
pub struct SignalListener {
    wakeup: Wakeup,
    /// The signals that this listener handles, with one bit for each signal number.
    handled: AtomicU64,
}

impl SignalListener {
    /// Creates a listener that handles no signals yet.
    ///
    /// # Errors
    ///
    /// If the system is out of descriptors.
    pub fn new() -> Result<SignalListener> {
        Ok(SignalListener { wakeup: Wakeup::new()?, handled: AtomicU64::new(0) })
    }

    /// Creates a listener that handles these signals.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](SignalListener::new) and [`handle`](SignalListener::handle).
    pub fn open(signals: &[Signal]) -> Result<SignalListener> {
        let listener = SignalListener::new()?;
        listener.handle(signals)?;
        Ok(listener)
    }

    /// Installs handlers for these signals, in addition to those that are handled already. Blocked
    /// signals stay blocked, and arrive when they are unblocked.
    ///
    /// # Errors
    ///
    /// For [`Signal::Kill`] and [`Signal::Stop`], which cannot be handled.
    pub fn handle(&self, signals: &[Signal]) -> Result<()> {
        WAKEUP_FD.store(self.wakeup.writer(), Ordering::SeqCst);
        for &signal in signals {
            handle(signal, on_signal)
                .map_err(|error| Error::os(format!("handle {signal}"), error))?;
            self.handled.fetch_or(bit(number_of(signal)), Ordering::SeqCst);
        }
        Ok(())
    }

    /// Restores the default action of these signals. Ignores signals that the listener does not
    /// handle.
    pub fn restore_default(&self, signals: &[Signal]) {
        for signal in self.handled().filter(|handled| signals.contains(handled)) {
            // The signal's action was changed before, so this change cannot fail.
            let _ = restore_default(signal);
            self.handled.fetch_and(!bit(number_of(signal)), Ordering::SeqCst);
        }
    }

    /// Returns and clears the signals that have arrived; the result is empty if no signal has
    /// arrived. Does not block.
    pub fn drain(&self) -> Vec<Signal> {
        self.wakeup.clear();
        let pending = PENDING.swap(0, Ordering::SeqCst);
        self.handled().filter(|signal| pending & bit(number_of(*signal)) != 0).collect()
    }

    /// Returns whether a signal has arrived that [`drain`](SignalListener::drain) has not returned
    /// yet. Does not clear the signal, so the descriptor stays readable. Makes no system call.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        PENDING.load(Ordering::SeqCst) & self.handled.load(Ordering::SeqCst) != 0
    }

    fn handled(&self) -> impl Iterator<Item = Signal> + use<> {
        let handled = self.handled.load(Ordering::SeqCst);
        Signal::ALL.into_iter().filter(move |signal| handled & bit(number_of(*signal)) != 0)
    }
}

/// Restores the default action of the handled signals and discards the signals that
/// [`drain`](SignalListener::drain) has not returned. A forked child that drops its copy of the
/// listener therefore does not handle its parent's signals. Does nothing if a later listener has
/// replaced this one.
impl Drop for SignalListener {
    fn drop(&mut self) {
        let fd = self.wakeup.writer();
        // A later listener may have replaced this one.
        if WAKEUP_FD.compare_exchange(fd, -1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            PENDING.fetch_and(!self.handled.load(Ordering::SeqCst), Ordering::SeqCst);
            self.restore_default(&Signal::ALL);
        }
    }
}

impl AsFd for SignalListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }
}

const fn bit(number: c_int) -> u64 {
    1 << (number & 63)
}

/// The signal handler. It makes only async-signal-safe calls (signal-safety(7)): two atomics and a
/// write(2). It preserves `errno`.
extern "C" fn on_signal(number: c_int) {
    PENDING.fetch_or(bit(number), Ordering::SeqCst);
    let byte = 1_u8;
    let errno = Errno::last_raw();
    // SAFETY: write(2) is async-signal-safe, the pointer is to one byte, and a write to a
    // descriptor that is closed or full only returns an error.
    unsafe { libc::write(WAKEUP_FD.load(Ordering::SeqCst), (&raw const byte).cast(), 1) };
    Errno::set_raw(errno);
}
