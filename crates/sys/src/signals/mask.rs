//! The signal mask of the calling thread, changed for a while by a value that is held.

use std::marker::PhantomData;

use nix::sys::signal::SigSet;

use crate::error::{Error, Result};
use crate::process::Signal;
use crate::signals::queue::{give_up, is_kept, keeps_any};

/// Signals that are blocked as long as this value lives; dropped, it puts the former mask back.
///
/// The mask is the thread's, so the value can't be sent to another. A child forked meanwhile
/// inherits mask and value: it drops its own copy when it is ready for signals, and those that came
/// in between are delivered then. None is lost.
///
/// Signals of a [`SignalQueue`](super::SignalQueue) that was made in the meantime stay blocked, or
/// the next one would kill instead of being read.
#[derive(Debug)]
#[must_use = "dropped at once, it blocks nothing"]
pub struct SignalBlockGuard {
    former: SigSet,
    of_this_thread: PhantomData<*const ()>,
}

impl SignalBlockGuard {
    /// Blocks these signals, besides those that are blocked already.
    ///
    /// # Errors
    ///
    /// None that pthread_sigmask(3) names for this call.
    pub fn block(signals: &[Signal]) -> Result<SignalBlockGuard> {
        SignalBlockGuard::add(set_of(signals))
    }

    fn add(set: SigSet) -> Result<SignalBlockGuard> {
        match set.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK) {
            Ok(former) => Ok(SignalBlockGuard { former, of_this_thread: PhantomData }),
            Err(errno) => Err(Error::os("block signals", errno)),
        }
    }

    /// Says whether the signal was blocked before, and so will be after.
    #[must_use]
    pub fn was_blocked(&self, signal: Signal) -> bool {
        self.former.contains(signal.nix())
    }

    /// Puts the former mask back, also for the signals of a queue that this process will not read:
    /// a forked child, of a queue of its parent's.
    pub fn restore_without_queue(self, signals: &[Signal]) {
        give_up(signals);
        drop(self);
    }

    /// Leaves the signals blocked for good.
    pub fn leave_blocked(self) {
        std::mem::forget(self);
    }
}

impl Drop for SignalBlockGuard {
    fn drop(&mut self) {
        let mut mask = self.former;
        if keeps_any() {
            let kept = Signal::ALL.into_iter().filter(|signal| is_kept(*signal));
            mask.extend(kept.map(Signal::nix));
        }
        // The only error of pthread_sigmask is an unknown way of changing, which this is not.
        let _ = mask.thread_set_mask();
    }
}

/// Blocks every signal that can be, around a fork for one.
///
/// # Errors
///
/// None that pthread_sigmask(3) names for this call.
pub fn block_all() -> Result<SignalBlockGuard> {
    SignalBlockGuard::add(SigSet::all())
}

/// Unblocks these signals in the calling thread; those that are pending are delivered at once.
///
/// # Errors
///
/// None that pthread_sigmask(3) names for this call.
pub fn unblock(signals: &[Signal]) -> Result<()> {
    give_up(signals);
    set_of(signals).thread_unblock().map_err(|errno| Error::os("unblock signals", errno))
}

pub(super) fn set_of(signals: &[Signal]) -> SigSet {
    signals.iter().map(|signal| signal.nix()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_former_mask_comes_back() {
        let blocks =
            |signal: Signal| SigSet::thread_get_mask().expect("mask").contains(signal.nix());
        let outer = SignalBlockGuard::block(&[Signal::Usr1]).expect("blocks");
        assert!(!outer.was_blocked(Signal::Usr1));
        {
            let inner = block_all().expect("blocks");
            assert!(inner.was_blocked(Signal::Usr1));
            assert!(blocks(Signal::Usr2));
        }
        assert!(blocks(Signal::Usr1) && !blocks(Signal::Usr2));
        drop(outer);
        assert!(!blocks(Signal::Usr1));
    }

    #[test]
    fn forgotten_signals_stay_blocked_until_unblocked() {
        SignalBlockGuard::block(&[Signal::Winch]).expect("blocks").leave_blocked();
        let mask = || SigSet::thread_get_mask().expect("mask");
        assert!(mask().contains(Signal::Winch.nix()));
        unblock(&[Signal::Winch]).expect("unblocks");
        assert!(!mask().contains(Signal::Winch.nix()));
    }
}
