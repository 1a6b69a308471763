//! Changes the signal mask of the calling thread with a guard.

use std::marker::PhantomData;

use nix::sys::signal::SigSet;

use crate::error::{Error, Result};
use crate::process::{Signal, raw_signal};
use crate::signals::queue::{has_reserved, is_reserved, release};

/// Blocks signals until the guard is dropped. Dropping the guard restores the previous mask.
///
/// The mask belongs to the thread, so the guard cannot be sent to another thread. A forked child
/// inherits the mask and a copy of the guard. When the child is ready for signals, it drops its
/// copy, and the signals that have arrived until then are delivered. No signal is lost.
///
/// Dropping the guard does not unblock the signals of a [`SignalQueue`](super::SignalQueue), even
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

    fn add(set: SigSet) -> Result<SignalBlockGuard> {
        match set.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK) {
            Ok(previous) => Ok(SignalBlockGuard { previous, not_send: PhantomData }),
            Err(errno) => Err(Error::os("block signals", errno)),
        }
    }

    /// Returns whether the signal was blocked before the guard was created, and so stays blocked
    /// when the guard is dropped.
    #[must_use]
    pub fn was_blocked(&self, signal: Signal) -> bool {
        self.previous.contains(raw_signal(signal))
    }

    /// Restores the previous mask for all signals, including these signals of a
    /// [`SignalQueue`](super::SignalQueue), which stay blocked if the guard is only dropped. A
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
        if has_reserved() {
            let reserved = Signal::ALL.into_iter().filter(|signal| is_reserved(*signal));
            mask.extend(reserved.map(raw_signal));
        }
        // pthread_sigmask fails only for an invalid operation, and this operation is valid.
        let _ = mask.thread_set_mask();
    }
}

/// Blocks every signal that can be blocked, for example around a fork.
///
/// # Errors
///
/// pthread_sigmask(3) documents no error for this call.
pub fn block_all() -> Result<SignalBlockGuard> {
    SignalBlockGuard::add(SigSet::all())
}

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
/// [`SignalQueue`](super::SignalQueue) that this process does not read any more. Pending signals are
/// delivered immediately.
///
/// # Errors
///
/// pthread_sigmask(3) documents no error for this call.
pub fn unblock_all() -> Result<()> {
    release(&Signal::ALL);
    SigSet::empty().thread_set_mask().map_err(|errno| Error::os("unblock all signals", errno))
}

pub(super) fn set_of(signals: &[Signal]) -> SigSet {
    signals.iter().map(|signal| raw_signal(*signal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_the_guard_restores_the_previous_mask() {
        let is_blocked =
            |signal: Signal| SigSet::thread_get_mask().expect("mask").contains(raw_signal(signal));
        let outer = SignalBlockGuard::block(&[Signal::Usr1]).expect("blocked");
        assert!(!outer.was_blocked(Signal::Usr1));
        {
            let inner = block_all().expect("blocked");
            assert!(inner.was_blocked(Signal::Usr1));
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
