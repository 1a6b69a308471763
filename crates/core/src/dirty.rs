//! Dirty bits. They show which slots have changed, so that the parent need not scan all slots.
//!
//! There are two levels: one bit for each slot, and a summary with one bit for each 64-bit word of
//! slot bits. Whatever the size of the scoreboard, the parent finds the changes by reading the 16
//! words of the summary and, for each bit that is set there, one word of slot bits.

use crate::atomics::Ordering;
use crate::line::{ScoreboardLine, SlotNumber, WORDS};

const BITS: usize = 64;

/// The number of slots whose bits fit in one line.
const SLOTS_PER_LINE: usize = WORDS * BITS;

/// The dirty bits of a scoreboard: the summary line, and the lines with one bit for each slot.
#[derive(Copy, Clone)]
pub(crate) struct DirtyBits {
    summary: &'static ScoreboardLine,
    marks: &'static [ScoreboardLine],
}

/// Returns the number of lines for the dirty bits of this many slots, including the summary.
pub(crate) fn lines_for(slots: usize) -> usize {
    1 + slots.div_ceil(SLOTS_PER_LINE)
}

impl DirtyBits {
    /// Returns the dirty bits that are stored in these lines, or `None` if `lines` is empty.
    /// [`lines_for`] returns the required number of lines.
    pub(crate) fn of(lines: &'static [ScoreboardLine]) -> Option<DirtyBits> {
        let (summary, marks) = lines.split_first()?;
        Some(DirtyBits { summary, marks })
    }

    /// Marks a slot as changed.
    #[inline]
    pub(crate) fn mark(&self, slot: SlotNumber) {
        let word = slot.index() / BITS;
        let Some(marks) = self.marks.get(word / WORDS) else {
            return;
        };
        // Release, so that a parent that clears the bit sees all writes made before the bit was
        // set. The slot's bit is set first. If the parent drains the bits after the slot's bit was
        // set, the summary bit at worst points to a word in which no bit is set. If the summary bit
        // were set first and the parent drained the bits between the two writes, the slot's bit
        // would remain set without its summary bit, and would not be found.
        //
        // Both bits are always written, even if the slot's bit is set already. A child that was
        // killed between the two writes has set only the slot's bit. If the summary bit were
        // written only with a new slot bit, no later change of the slot would be found.
        marks.words[word % WORDS].fetch_or(1 << (slot.index() % BITS), Ordering::Release);
        self.summary.words[word / BITS].fetch_or(1 << (word % BITS), Ordering::Release);
    }

    /// Clears the summary bits and the slot bits that they point to, and calls `changed` for each
    /// slot whose bit was set.
    pub(crate) fn drain(&self, mut changed: impl FnMut(SlotNumber)) {
        for (nth, summary) in self.summary.words.iter().enumerate() {
            // Swap only if a bit is set, because a swap removes the line from the caches of other
            // processors.
            if summary.load(Ordering::Relaxed) == 0 {
                continue;
            }
            for word in bits(summary.swap(0, Ordering::Acquire)).map(|bit| nth * BITS + bit) {
                let Some(marks) = self.marks.get(word / WORDS) else {
                    continue;
                };
                for bit in bits(marks.words[word % WORDS].swap(0, Ordering::Acquire)) {
                    if let Ok(number) = u32::try_from(word * BITS + bit) {
                        changed(SlotNumber::new(number));
                    }
                }
            }
        }
    }

    /// Returns whether any summary bit is set. Slot bits without a summary bit are not considered.
    pub(crate) fn is_marked(&self) -> bool {
        self.summary.words.iter().any(|summary| summary.load(Ordering::Acquire) != 0)
    }
}

fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.checked_sub(1)?;
        Some(bit)
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn dirty(slots: usize) -> DirtyBits {
        let lines = (0..lines_for(slots)).map(|_line| ScoreboardLine::new()).collect();
        DirtyBits::of(Box::leak(lines)).expect("the lines include a summary")
    }

    fn drained(dirty: &DirtyBits) -> Vec<u32> {
        let mut slots = Vec::new();
        dirty.drain(|slot| slots.push(slot.get()));
        slots
    }

    #[test]
    fn marked_slots_are_reported_once_and_in_ascending_order() {
        let dirty = dirty(65_536);
        let marked = [0, 1, 63, 64, 1023, 1024, 4095, 4096, 40_000, 65_535];
        for slot in marked.iter().rev() {
            dirty.mark(SlotNumber::new(*slot));
            dirty.mark(SlotNumber::new(*slot));
        }
        assert!(dirty.is_marked());
        assert_eq!(drained(&dirty), marked);
        assert!(!dirty.is_marked());
        assert_eq!(drained(&dirty), []);
    }

    #[test]
    fn a_slot_bit_without_a_summary_bit_is_found_with_the_next_change_of_the_slot() {
        let dirty = dirty(8);
        dirty.marks[0].words[0].store(1 << 5, Ordering::Relaxed);
        assert_eq!(drained(&dirty), []);
        dirty.mark(SlotNumber::new(5));
        assert_eq!(drained(&dirty), [5]);
    }

    #[test]
    fn summary_bits_and_slots_beyond_the_lines_are_ignored() {
        let dirty = dirty(8);
        for word in &dirty.summary.words {
            word.store(u64::MAX, Ordering::Relaxed);
        }
        dirty.mark(SlotNumber::new(70_000));
        assert_eq!(drained(&dirty), []);
    }

    #[test]
    fn one_line_has_the_bits_of_1024_slots() {
        assert_eq!([1, 1024, 1025, 65_536].map(lines_for), [2, 2, 3, 65]);
    }
}
