//! Signals as a descriptor to wait for, by handlers that ring a bell: any Unix, and no mask.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use libc::c_int;
use nix::errno::Errno;

use super::action::{handle, restore_default};
use crate::bell::Bell;
use crate::error::{Error, Result};
use crate::process::Signal;

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
pub struct Ears {
    bell: Bell,
    signals: Vec<Signal>,
}

impl Ears {
    /// Sets the handlers. Signals that are blocked stay so, and come when they are unblocked.
    ///
    /// # Errors
    ///
    /// If no descriptor is left, or for a signal that cannot be handled: KILL and STOP.
    pub fn open(signals: &[Signal]) -> Result<Ears> {
        let ears = Ears { bell: Bell::new()?, signals: signals.to_vec() };
        BELL.store(ears.bell.mouth(), Ordering::SeqCst);
        for signal in signals {
            handle(*signal, note).map_err(|error| Error::os(format!("handle {signal}"), error))?;
        }
        Ok(ears)
    }

    /// Takes the signals that have come; empty if none has. It does not wait.
    pub fn drain(&self) -> Vec<Signal> {
        self.bell.hush();
        let come = COME.swap(0, Ordering::SeqCst);
        let has_come = |signal: &Signal| come & bit(signal.number()) != 0;
        self.signals.iter().copied().filter(has_come).collect()
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        let ours = self.bell.mouth();
        // Later ears may have taken the signals over.
        if BELL.compare_exchange(ours, -1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            for signal in &self.signals {
                // It was set before, so it can be set again.
                let _ = restore_default(*signal);
            }
        }
    }
}

impl AsFd for Ears {
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
