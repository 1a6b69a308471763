//! Signals as a descriptor to wait for, by handlers that ring a bell: any Unix, and no mask.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use libc::c_int;
use nix::errno::Errno;

use super::action::{handle, restore_default};
use crate::error::{Error, Result};
use crate::process::Signal;
use crate::wakeup::Wakeup;

/// Which signals have come, a bit each by number.
static COME: AtomicU64 = AtomicU64::new(0);
/// What the handler rings; -1 while nobody listens.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// Handlers for some signals, and a descriptor that is readable when one of them has come.
///
/// A signal that comes several times before it is read is told once, as signals are. Unlike a
/// [`SignalQueue`](super::SignalQueue) it leaves the mask alone: a program that this process starts
/// has its signals as ever. A process has one at a time: a second takes the signals over. Others
/// may set handlers for them later; then those count.
#[derive(Debug)]
pub struct SignalListener {
    bell: Wakeup,
    /// The signals it has set handlers for, a bit each by number.
    heeded: AtomicU64,
}

impl SignalListener {
    /// Makes ears that heed no signal yet: all go on doing what they did.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub fn new() -> Result<SignalListener> {
        Ok(SignalListener { bell: Wakeup::new()?, heeded: AtomicU64::new(0) })
    }

    /// Makes ears that heed these signals.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Ears::new) and [`heed`](Ears::heed).
    pub fn open(signals: &[Signal]) -> Result<SignalListener> {
        let ears = SignalListener::new()?;
        ears.handle(signals)?;
        Ok(ears)
    }

    /// Sets the handlers for these signals too. Those that are blocked stay so, and come when they
    /// are unblocked.
    ///
    /// # Errors
    ///
    /// For a signal that cannot be handled: KILL and STOP.
    pub fn handle(&self, signals: &[Signal]) -> Result<()> {
        BELL.store(self.bell.writer(), Ordering::SeqCst);
        for signal in signals {
            handle(*signal, note).map_err(|error| Error::os(format!("handle {signal}"), error))?;
            self.heeded.fetch_or(bit(signal.number()), Ordering::SeqCst);
        }
        Ok(())
    }

    /// Gives these signals their default effect again.
    pub fn restore_default(&self, signals: &[Signal]) {
        for signal in self.heeded().filter(|heeded| signals.contains(heeded)) {
            // It was set before, so it can be set again.
            let _ = restore_default(signal);
            self.heeded.fetch_and(!bit(signal.number()), Ordering::SeqCst);
        }
    }

    /// Takes the signals that have come; empty if none has. It does not wait.
    pub fn drain(&self) -> Vec<Signal> {
        self.bell.clear();
        let come = COME.swap(0, Ordering::SeqCst);
        self.heeded().filter(|signal| come & bit(signal.number()) != 0).collect()
    }

    /// Says whether a signal has come that was not taken yet, and leaves it there: the descriptor
    /// stays readable. It makes no system call.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        COME.load(Ordering::SeqCst) & self.heeded.load(Ordering::SeqCst) != 0
    }

    fn heeded(&self) -> impl Iterator<Item = Signal> + use<> {
        let heeded = self.heeded.load(Ordering::SeqCst);
        Signal::ALL.into_iter().filter(move |signal| heeded & bit(signal.number()) != 0)
    }
}

/// Gives the signals their default effect again, and forgets those that were not taken: a forked
/// child that drops its copy does not take its parent's for its own.
impl Drop for SignalListener {
    fn drop(&mut self) {
        let ours = self.bell.writer();
        // Later ears may have taken the signals over.
        if BELL.compare_exchange(ours, -1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            COME.fetch_and(!self.heeded.load(Ordering::SeqCst), Ordering::SeqCst);
            self.restore_default(&Signal::ALL);
        }
    }
}

impl AsFd for SignalListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

const fn bit(number: c_int) -> u64 {
    1 << (number & 63)
}

/// The handler. All that it does may be done at any instant (signal-safety(7)): two atomics and a
/// write(2), and it leaves `errno` as it was.
extern "C" fn note(number: c_int) {
    COME.fetch_or(bit(number), Ordering::SeqCst);
    let ring = 1_u64.to_ne_bytes();
    let errno = Errno::last_raw();
    // SAFETY: write(2) is async-signal-safe, the pointer is to eight bytes, and a descriptor that
    // is closed or full is only an error.
    unsafe { libc::write(BELL.load(Ordering::SeqCst), (&raw const ring).cast(), ring.len()) };
    Errno::set_raw(errno);
}
