//! The marks by which changed slots are found without looking at all of them.
//!
//! Two levels: a bit for each slot, and in the summary a bit for each word of those. Finding the
//! changes of a scoreboard of any size looks at the 16 words of the summary and at one word for
//! each that is marked there.

use crate::atomics::Ordering;
use crate::line::{ScoreboardLine, SlotNumber, WORDS};

const BITS: usize = 64;

/// How many slots one line of marks is for.
const SLOTS_A_LINE: usize = WORDS * BITS;

/// The marks on a scoreboard: its summary line, and the lines of a bit for each slot.
#[derive(Copy, Clone)]
pub(crate) struct DirtyBits {
    summary: &'static ScoreboardLine,
    marks: &'static [ScoreboardLine],
}

/// How many lines the marks for so many slots take, the summary among them.
pub(crate) fn lines_for(slots: usize) -> usize {
    1 + slots.div_ceil(SLOTS_A_LINE)
}

impl DirtyBits {
    /// Takes the lines that [`lines_for`] has counted; `None` if there are none.
    pub(crate) fn of(lines: &'static [ScoreboardLine]) -> Option<DirtyBits> {
        let (summary, marks) = lines.split_first()?;
        Some(DirtyBits { summary, marks })
    }

    /// Marks a slot whose line has been written to.
    #[inline]
    pub(crate) fn mark(&self, slot: SlotNumber) {
        let word = slot.index() / BITS;
        let Some(marks) = self.marks.get(word / WORDS) else {
            return;
        };
        // Release, so that who takes the mark sees what was written before it. The mark goes
        // first: a summary that is taken between the two is written again here, and then points
        // to a word that may have been emptied. The other way round a mark could be left without
        // a summary, and nobody would find it.
        //
        // Both are written even if they stand: a mark may be left by a child that was killed
        // between the two, and would hide this one.
        marks.words[word % WORDS].fetch_or(1 << (slot.index() % BITS), Ordering::Release);
        self.summary.words[word / BITS].fetch_or(1 << (word % BITS), Ordering::Release);
    }

    /// Takes all marks away, and names the slots that had one.
    pub(crate) fn drain(&self, mut changed: impl FnMut(SlotNumber)) {
        for (nth, summary) in self.summary.words.iter().enumerate() {
            // Looked at before it is taken, so that a scoreboard at rest stays in every cache.
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

    /// Tells whether there is a mark, as far as can be seen from here.
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
        DirtyBits::of(Box::leak(lines)).expect("there is a summary")
    }

    fn drained(dirty: &DirtyBits) -> Vec<u32> {
        let mut slots = Vec::new();
        dirty.drain(|slot| slots.push(slot.get()));
        slots
    }

    #[test]
    fn the_marked_slots_are_found_once_and_in_order() {
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
    fn a_mark_without_a_summary_is_found_with_the_slots_next_change() {
        let dirty = dirty(8);
        dirty.marks[0].words[0].store(1 << 5, Ordering::Relaxed);
        assert_eq!(drained(&dirty), []);
        dirty.mark(SlotNumber::new(5));
        assert_eq!(drained(&dirty), [5]);
    }

    #[test]
    fn wild_marks_name_no_slot_beyond_the_marks_that_there_are() {
        let dirty = dirty(8);
        for word in &dirty.summary.words {
            word.store(u64::MAX, Ordering::Relaxed);
        }
        dirty.mark(SlotNumber::new(70_000));
        assert_eq!(drained(&dirty), []);
    }

    #[test]
    fn a_line_of_marks_is_for_1024_slots() {
        assert_eq!([1, 1024, 1025, 65_536].map(lines_for), [2, 2, 3, 65]);
    }
}
