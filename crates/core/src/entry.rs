//! What the line of one slot says.

use serde::Serialize;

use crate::atomics::{Ordering, fence};
use crate::label::{self, Label};
use crate::line::{Generation, ScoreboardLine, SlotNumber, SlotState, slot_word};
use crate::monotonic::MonotonicTime;
use crate::status::Status;

/// The number of attempts to read a slot whose status or owner changes during the read.
const TRIES: usize = if cfg!(loom) { 2 } else { 16 };

/// A snapshot of a slot.
///
/// The status, the generation and the pid always belong together. The times and the number of
/// requests belong to the same generation, but may already be those of the child's next status. If
/// the slot changes during each of 16 attempts to read it, the times and the number of requests may
/// be those of a later status or of a later owner.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct SlotEntry {
    /// The slot.
    pub slot: SlotNumber,
    /// The status of the child. If the line is damaged, `fault` has the details, and the status is
    /// the last plausible one in the parent's view, and `None` in all others.
    pub status: Option<Status>,
    /// The pid of the child, or 0 if no child has taken the seat.
    pub pid: u32,
    /// The generation of the slot; in an empty slot, the generation of its last owner.
    pub generation: Generation,
    /// When the child took its seat; before that, when the slot was opened.
    pub started_at: MonotonicTime,
    /// When the status last changed.
    pub since: MonotonicTime,
    /// The number of requests that the child has begun.
    pub requests: u64,
    /// The label that the child has set.
    pub label: Label,
    /// The time of the last heartbeat; `None` if the child has not sent any.
    pub heartbeat: Option<MonotonicTime>,
    /// The deadline to which the child has extended its current request.
    pub deadline: Option<MonotonicTime>,
    /// What is wrong with the line, if anything.
    pub fault: Option<SlotFault>,
}

impl SlotEntry {
    /// Returns the letter of the status; `?` if the line is damaged.
    #[must_use]
    pub fn letter(&self) -> char {
        match (self.status, self.fault) {
            (None, _) => '?',
            // The parent's view: a free slot is free, whatever its line contains.
            (Some(Status::Empty), _) => Status::Empty.letter(),
            (Some(_), Some(fault)) if fault.is_damage() => '?',
            (Some(status), _) => status.letter(),
        }
    }

    /// Returns the entry of a line that contains only a state.
    pub(crate) fn of_state(slot: SlotNumber, state: SlotState) -> SlotEntry {
        SlotEntry {
            slot,
            status: state.status(),
            pid: state.pid,
            generation: state.generation,
            started_at: MonotonicTime::ZERO,
            since: MonotonicTime::ZERO,
            requests: 0,
            label: Label::Text(label::LabelText::EMPTY),
            heartbeat: None,
            deadline: None,
            fault: match state.status() {
                Some(_status) => None,
                None => Some(SlotFault::InvalidStatus(state.code)),
            },
        }
    }

    /// Reads a line.
    pub(crate) fn read(slot: SlotNumber, line: &ScoreboardLine) -> SlotEntry {
        let word = |word: usize| line.words[word].load(Ordering::Relaxed);
        let mut tries = 0;
        loop {
            // Acquire: the loads below see all values that the writer stored before it changed the
            // state.
            let before = line.words[slot_word::STATE].load(Ordering::Acquire);
            let read = SlotEntry {
                started_at: MonotonicTime::from_nanos(word(slot_word::STARTED_AT)),
                since: MonotonicTime::from_nanos(word(slot_word::SINCE)),
                requests: word(slot_word::REQUESTS),
                label: label::read(line),
                heartbeat: non_zero_time(word(slot_word::HEARTBEAT)),
                deadline: non_zero_time(word(slot_word::DEADLINE)),
                ..SlotEntry::of_state(slot, SlotState::unpack(before))
            };
            // Pairs with the fence in `close_slot`: if a word above was written by the slot's next
            // owner, the state below is no longer equal to `before`.
            fence(Ordering::Acquire);
            tries += 1;
            if word(slot_word::STATE) == before || tries == TRIES {
                return read;
            }
        }
    }
}

/// What can be wrong with a slot's line.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, thiserror::Error)]
#[non_exhaustive]
pub enum SlotFault {
    /// The line contains a code that no status has, because a wild write has damaged the line.
    #[error("the status is damaged: no status has code {0}")]
    InvalidStatus(u8),
    /// The line contains a status that cannot follow the last one.
    #[error("the status is damaged: {status} cannot follow {last}")]
    ImpossibleStatus {
        /// The status on the line.
        status: Status,
        /// The last status that the parent has seen.
        last: Status,
    },
    /// The line contains a generation that the parent has not given to the slot.
    #[error("the generation is damaged: {found} instead of {own}")]
    WrongGeneration {
        /// The generation of the slot.
        own: Generation,
        /// The generation on the line.
        found: Generation,
    },
    /// The line contains a pid that is not the child's.
    #[error("the pid is damaged: {found}")]
    WrongPid {
        /// The pid on the line.
        found: u32,
    },
    /// The number of requests is less than before, or more than 4,294,967,295 greater.
    #[error("the number of requests is damaged: {0}")]
    ImpossibleRequests(u64),
    /// The child ended while it was writing its label. Only
    /// [`close_slot`](crate::Scoreboard::close_slot) returns this fault, because until the slot is
    /// closed, the child may still be writing.
    #[error("the child ended while it was writing its label")]
    TornLabel,
    /// The scoreboard has no such slot.
    #[error("the scoreboard has no such slot")]
    NoSuchSlot,
}

impl SlotFault {
    /// Returns whether other code than a seat has written to the line.
    #[must_use]
    pub fn is_damage(self) -> bool {
        match self {
            SlotFault::InvalidStatus(_)
            | SlotFault::ImpossibleStatus { .. }
            | SlotFault::WrongGeneration { .. }
            | SlotFault::WrongPid { .. }
            | SlotFault::ImpossibleRequests(_) => true,
            SlotFault::TornLabel | SlotFault::NoSuchSlot => false,
        }
    }
}

fn non_zero_time(nanos: u64) -> Option<MonotonicTime> {
    (nanos != 0).then(|| MonotonicTime::from_nanos(nanos))
}
