//! Lines of the scoreboard in shared memory, slot numbers, and generations.
//!
//! The words of a slot's line are defined here, those of the scoreboard's header and of the wakeup
//! in `reader`, and those of the dirty bits in `dirty`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::atomics::AtomicU64;
use crate::status::Status;

/// The maximum number of slots of a scoreboard.
///
/// The scoreboard has only one line that summarizes the dirty bits. The 16 words of this line have
/// 1024 bits, each for 64 slots.
pub const MAX_SLOTS: u32 = 65_536;

/// The number of words in a line.
pub(crate) const WORDS: usize = 16;

/// A line of the scoreboard: 128 bytes, which is two cache lines.
///
/// A line has two cache lines because processors prefetch pairs of cache lines. If two children
/// wrote to the two cache lines of one pair, they would slow each other down. A line consists of
/// atomics, so a `&ScoreboardLine` may point to memory that other processes change at any time.
/// Zeroed memory is a valid line, but not yet a scoreboard: see
/// [`Scoreboard::format`](crate::Scoreboard::format).
///
/// # Examples
///
/// ```
/// use daemon_core::{ScoreboardLine, lines_for};
///
/// let count = lines_for(8)?;
/// let lines: Box<[_]> = (0..count).map(|_| ScoreboardLine::new()).collect();
/// let lines: &'static [ScoreboardLine] = Box::leak(lines);
/// assert_eq!(size_of_val(lines), count * 128);
/// # Ok::<(), daemon_core::ScoreboardError>(())
/// ```
#[repr(C, align(128))]
#[derive(Debug)]
#[cfg_attr(not(loom), derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout))]
pub struct ScoreboardLine {
    pub(crate) words: [AtomicU64; WORDS],
}

impl ScoreboardLine {
    /// Creates a line of zeros, for a scoreboard in memory that is not shared, such as in tests and
    /// models.
    #[must_use]
    pub fn new() -> ScoreboardLine {
        ScoreboardLine { words: std::array::from_fn(|_word| AtomicU64::new(0)) }
    }
}

impl Default for ScoreboardLine {
    fn default() -> ScoreboardLine {
        ScoreboardLine::new()
    }
}

/// The words of a slot's line.
pub(crate) mod slot_word {
    use std::ops::Range;

    /// Status, generation and pid, see [`SlotState`](super::SlotState).
    pub(crate) const STATE: usize = 0;
    /// When the child took its seat; before that, when the slot was opened.
    pub(crate) const STARTED_AT: usize = 1;
    /// When the status last changed.
    pub(crate) const SINCE: usize = 2;
    /// The number of requests that the child has begun.
    pub(crate) const REQUESTS: usize = 3;
    /// The guard of the label.
    pub(crate) const GUARD: usize = 4;
    /// The bytes of the label. A label in a loom model has only two words: they can show the same
    /// races as six words, and six words have too many interleavings to explore.
    pub(crate) const LABEL: Range<usize> = if cfg!(loom) { 5..7 } else { 5..11 };
    /// The time of the child's last heartbeat, or 0.
    pub(crate) const HEARTBEAT: usize = 11;
    /// The deadline to which the child has extended its current request, or 0.
    pub(crate) const DEADLINE: usize = 12;
    /// Why the slot's last four owners exited, 16 bits each, the latest in the lowest bits. This
    /// word is not changed when the slot is closed.
    pub(crate) const EXIT_CAUSES: usize = 13;
    /// Unused, zero.
    #[cfg(test)]
    pub(crate) const SPARE: Range<usize> = 14..16;
}

/// The number of a slot on the scoreboard, counted from 0.
#[derive(
    Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SlotNumber(u32);

impl SlotNumber {
    /// Creates a slot number.
    #[must_use]
    pub const fn new(number: u32) -> SlotNumber {
        SlotNumber(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for SlotNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The generation of a slot. It increases by one each time the slot is opened for a child.
///
/// A generation has 24 bits and wraps after 16,777,215. It distinguishes a late write by a former
/// owner of the slot from a write by the current owner.
#[derive(
    Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(from = "u32", into = "u32")]
pub struct Generation(u32);

impl Generation {
    const MASK: u32 = 0x00ff_ffff;

    /// Creates a generation from the lower 24 bits of a number.
    #[must_use]
    pub const fn new(number: u32) -> Generation {
        Generation(number & Generation::MASK)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the next generation, which is 0 after 16,777,215.
    #[must_use]
    pub const fn next(self) -> Generation {
        Generation::new(self.0.wrapping_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u32> for Generation {
    fn from(number: u32) -> Generation {
        Generation::new(number)
    }
}

impl From<Generation> for u32 {
    fn from(generation: Generation) -> u32 {
        generation.0
    }
}

/// A slot's first word, unpacked: 8 bits of status, 24 of generation, 32 of pid.
///
/// Status, generation and pid share one word, so they always belong to the same child. A writer
/// whose slot has a new owner detects the new generation in the same atomic operation that would
/// write the word.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct SlotState {
    pub(crate) code: u8,
    pub(crate) generation: Generation,
    pub(crate) pid: u32,
}

impl SlotState {
    pub(crate) fn of(status: Status, generation: Generation, pid: u32) -> SlotState {
        SlotState { code: status.code(), generation, pid }
    }

    /// Returns the status; `None` if the memory was damaged.
    pub(crate) fn status(self) -> Option<Status> {
        Status::from_code(self.code)
    }

    pub(crate) fn with(self, status: Status) -> SlotState {
        SlotState { code: status.code(), ..self }
    }

    /// Returns the state that the parent has written for a child of this generation if the line was
    /// erased, for example by a truncation of the scoreboard's file; otherwise this state. The
    /// parent writes a word of zeros only to slots that no child has had.
    pub(crate) fn or_opened(self, owner: Generation) -> SlotState {
        let is_erased = self.pack() == 0 && owner.get() != 0;
        if is_erased { SlotState::of(Status::Forking, owner, 0) } else { self }
    }

    pub(crate) fn pack(self) -> u64 {
        u64::from(self.code) << 56 | u64::from(self.generation.get()) << 32 | u64::from(self.pid)
    }

    pub(crate) fn unpack(word: u64) -> SlotState {
        let [code, g2, g1, g0, pid @ ..] = word.to_be_bytes();
        SlotState {
            code,
            generation: Generation::new(u32::from_be_bytes([0, g2, g1, g0])),
            pid: u32::from_be_bytes(pid),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_two_cache_lines() {
        assert_eq!((size_of::<ScoreboardLine>(), align_of::<ScoreboardLine>()), (128, 128));
    }

    #[test]
    fn the_words_of_a_slot_fill_its_line_without_gaps_or_overlaps() {
        use slot_word::{
            DEADLINE, EXIT_CAUSES, GUARD, HEARTBEAT, LABEL, REQUESTS, SINCE, SPARE, STARTED_AT,
            STATE,
        };
        let first = [STATE, STARTED_AT, SINCE, REQUESTS, GUARD].into_iter().chain(LABEL);
        let words = first.chain([HEARTBEAT, DEADLINE, EXIT_CAUSES]).chain(SPARE);
        assert!(words.eq(0..WORDS));
    }

    #[test]
    fn a_line_can_be_mapped_from_shared_memory() {
        fn mappable<T: zerocopy::FromBytes + Sync + 'static>() {}
        mappable::<ScoreboardLine>();
    }

    #[test]
    fn a_generation_wraps_after_24_bits() {
        let last = Generation::new(0x00ff_ffff);
        assert_eq!(last.next(), Generation::new(0));
        assert_eq!(Generation::new(0x1200_0003).get(), 3);
    }

    #[test]
    fn a_slot_state_survives_packing() {
        for status in Status::ALL {
            let state = SlotState::of(status, Generation::new(0x00ab_cdef), 0x8765_4321);
            assert_eq!(SlotState::unpack(state.pack()), state);
            assert_eq!(SlotState::unpack(state.pack()).status(), Some(status));
        }
        assert_eq!(SlotState::unpack(u64::MAX).status(), None);
    }
}
