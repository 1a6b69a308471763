//! The word in shared memory by which the parent tells children whether it sleeps.

use crate::atomics::{AtomicU64, Ordering};

/// The wakeup's word: whether the parent waits to be woken, and a number that each arming
/// increases.
///
/// The number is in the lower 32 bits, and odd while the wakeup is armed. The upper 32 bits are the
/// complement of the lower ones. A word for which this does not hold has been damaged, and counts
/// as armed: the parent is woken once too often, which repairs the word, instead of never.
#[derive(Copy, Clone)]
pub(crate) struct WakeupWord(pub(crate) &'static AtomicU64);

/// Returns the word for this number.
pub(crate) fn encode(number: u32) -> u64 {
    u64::from(!number) << 32 | u64::from(number)
}

impl WakeupWord {
    /// Writes the number; called by the parent, which keeps the number in its own memory.
    pub(crate) fn store(self, number: u32) {
        // A swap, because a child's exchange must not be ordered after a store that has replaced
        // the number that the child has seen.
        let _replaced = self.0.swap(encode(number), Ordering::Relaxed);
    }

    /// Returns the word if the parent waits to be woken; called by a child.
    pub(crate) fn armed(self) -> Option<u64> {
        let word = self.0.load(Ordering::Relaxed);
        let number = word as u32;
        let is_disarmed = word == encode(number) && number.is_multiple_of(2);
        (!is_disarmed).then_some(word)
    }

    /// Disarms the wakeup, if the word is still the one that was loaded; called by a child that has
    /// woken the parent. If the parent has woken and armed the wakeup again, the word has another
    /// number, and the wakeup stays armed.
    pub(crate) fn disarm(self, armed: u64) {
        let disarmed = encode((armed as u32).wrapping_add(1));
        // A damaged word is left to the parent, which repairs it when it arms the wakeup again.
        if armed == encode(armed as u32) {
            let _ = self.0.compare_exchange(armed, disarmed, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn word(value: u64) -> WakeupWord {
        WakeupWord(Box::leak(Box::new(AtomicU64::new(value))))
    }

    #[test]
    fn an_odd_number_is_armed_and_an_even_one_is_not() {
        for number in [0, 1, 2, 7, u32::MAX - 1, u32::MAX] {
            let waker = word(0);
            waker.store(number);
            let expected = (number % 2 == 1).then_some(encode(number));
            assert_eq!(waker.armed(), expected, "{number}");
        }
    }

    #[test]
    fn a_child_disarms_only_the_arming_that_it_has_seen() {
        let waker = word(encode(1));
        waker.disarm(encode(1));
        assert_eq!(waker.armed(), None);
        waker.store(3);
        waker.disarm(encode(1));
        assert_eq!(waker.armed(), Some(encode(3)));
    }

    #[test]
    fn every_damaged_bit_of_a_disarmed_word_makes_it_armed() {
        let disarmed = encode(6);
        for bit in 0..64 {
            let damaged = disarmed ^ 1 << bit;
            assert_eq!(word(damaged).armed(), Some(damaged), "bit {bit}");
        }
        for damaged in [0, u64::MAX] {
            let waker = word(damaged);
            waker.disarm(damaged);
            assert_eq!(waker.armed(), Some(damaged));
        }
    }
}
