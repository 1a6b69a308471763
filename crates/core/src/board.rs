//! The scoreboard as anyone may read it: parent, children, or another program by way of a file.
//!
//! Nothing here writes. Whatever the memory holds, reading it ends, and does not panic.

use std::fmt;

use serde::Serialize;

use crate::accepting::OperatorPause;
use crate::atomics::{Ordering, fence};
use crate::dirty::{self, DirtyBits};
use crate::exit_cause::ExitCause;
use crate::label::{self, Label};
use crate::line::{Generation, MAX_SLOTS, ScoreboardLine, SlotNumber, SlotState, slot_word};
use crate::monotonic::MonotonicTime;
use crate::phase::Phase;
use crate::status::Status;

/// The first word of a scoreboard: a name and the layout's version, in the byte order of the
/// machine.
pub(crate) const MAGIC: u64 = u64::from_be_bytes(*b"actdmn\x00\x01");

/// The words of the header, line 0.
pub(crate) mod header_word {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const SLOTS: usize = 1;
    pub(crate) const PHASE: usize = 2;
    pub(crate) const WAKEUP: usize = 3;
    pub(crate) const STARTED: usize = 4;
    pub(crate) const VISIBLE_SLOTS: usize = 5;
    pub(crate) const OPERATOR_PAUSE: usize = 6;
}

/// How often a reader begins again when a slot changes its owner under its eyes.
const TRIES: usize = if cfg!(loom) { 2 } else { 16 };

/// Tells how many lines a scoreboard of so many slots takes.
///
/// One for the header, one for the summary of changes, one for the marks of each 1024 slots, and
/// one for each slot.
///
/// # Errors
///
/// [`ScoreboardError::Slots`] if there are none, or more than [`MAX_SLOTS`].
pub fn lines_for(slots: u32) -> Result<usize, ScoreboardError> {
    if slots == 0 || slots > MAX_SLOTS {
        return Err(ScoreboardError::Slots { slots: slots.into() });
    }
    Ok(first_slot(slots) + slots as usize)
}

/// Tells how many slots a scoreboard is made with for at most so many children: room for twice as
/// many, since it cannot grow while they become more. At least 16, at most [`MAX_SLOTS`].
#[must_use]
pub fn slots_for(children: u32) -> u32 {
    children.saturating_mul(2).clamp(16, MAX_SLOTS)
}

fn first_slot(slots: u32) -> usize {
    1 + dirty::lines_for(slots as usize)
}

/// Why memory is no scoreboard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreboardError {
    /// The number of slots makes no sense.
    #[error("cannot have a scoreboard of {slots} slots: it has 1 to {MAX_SLOTS}")]
    Slots {
        /// How many were asked for, or are written in the header.
        slots: u64,
    },
    /// The memory is too small for the number of slots.
    #[error("cannot use {lines} lines as a scoreboard: {needed} are needed")]
    TooShort {
        /// How many lines there are.
        lines: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The memory does not begin as a scoreboard of this version and byte order.
    #[error(
        "cannot read the scoreboard: it is none, or of another version, since it begins with {found:#018x}, not with {MAGIC:#018x}"
    )]
    Foreign {
        /// The first word.
        found: u64,
    },
}

/// The reading view of a scoreboard.
///
/// It is a pair of references, to be copied to whoever wants to look.
///
/// # Examples
///
/// ```
/// use daemon_core::{Board, BoardError, Line};
///
/// let zeros: &'static [ScoreboardLine] = Box::leak(Box::new([ScoreboardLine::new()]));
/// assert!(matches!(Board::open(zeros), Err(BoardError::Foreign { found: 0 })));
/// ```
#[derive(Copy, Clone)]
pub struct ScoreboardReader {
    header: &'static ScoreboardLine,
    dirty: DirtyBits,
    slots: &'static [ScoreboardLine],
}

/// What a slot's line says.
///
/// Status, generation and pid always belong together, and the moments and requests are of the same
/// generation; they may be one report newer than the status.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct SlotEntry {
    /// Which slot it is.
    pub slot: SlotNumber,
    /// What the child does; `None` if the line was damaged, and then `fault` says how.
    pub status: Option<Status>,
    /// The child's process, or 0 as long as it has not taken its seat.
    pub pid: u32,
    /// Which of the slot's owners it is; in an empty slot the last one.
    pub generation: Generation,
    /// When the child took its seat; before that, when it was ordered.
    pub started_at: MonotonicTime,
    /// When it became what it is.
    pub since: MonotonicTime,
    /// How many requests it has begun.
    pub requests: u64,
    /// What it says that it does.
    pub label: Label,
    /// The last beat of its heart; none if it has none.
    pub heartbeat: Option<MonotonicTime>,
    /// Until when the request in hand has asked to be let alone.
    pub deadline: Option<MonotonicTime>,
    /// What is wrong with the line.
    pub fault: Option<SlotFault>,
}

impl SlotEntry {
    /// Tells the letter of its status; `?` if the line was damaged.
    #[must_use]
    pub fn letter(&self) -> char {
        letter(self.status)
    }
}

/// What can be wrong with a slot's line.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, thiserror::Error)]
#[non_exhaustive]
pub enum SlotFault {
    /// No status has this code: something has written where it must not.
    #[error("the status is damaged: its code is {0}")]
    InvalidStatus(u8),
    /// The child ended while it wrote its label. Told by
    /// [`close`](crate::Scoreboard::close) alone: before that, it may still be writing.
    #[error("the child ended while it wrote its label")]
    TornLabel,
    /// The scoreboard has no such slot.
    #[error("the scoreboard has no such slot")]
    NoSuchSlot,
}

impl ScoreboardReader {
    /// Opens memory that another process has formatted, or a file of it.
    ///
    /// # Errors
    ///
    /// [`ScoreboardError`] if it does not begin as a scoreboard of this version, or is too short.
    pub fn open(lines: &'static [ScoreboardLine]) -> Result<ScoreboardReader, ScoreboardError> {
        let header = lines.first().ok_or(ScoreboardError::TooShort { lines: 0, needed: 1 })?;
        // Written last of all when the scoreboard was formatted.
        let found = header.words[header_word::MAGIC].load(Ordering::Acquire);
        if found != MAGIC {
            return Err(ScoreboardError::Foreign { found });
        }
        let slots = header.words[header_word::SLOTS].load(Ordering::Relaxed);
        let slots = u32::try_from(slots).map_err(|_wide| ScoreboardError::Slots { slots })?;
        ScoreboardReader::over(lines, slots)
    }

    /// Lays the view over lines whatever they hold. The number of slots is kept here, so that a
    /// wild write to the header leads nobody astray.
    pub(crate) fn over(
        lines: &'static [ScoreboardLine],
        slots: u32,
    ) -> Result<ScoreboardReader, ScoreboardError> {
        let needed = lines_for(slots)?;
        let too_short = || ScoreboardError::TooShort { lines: lines.len(), needed };
        let header = lines.first().ok_or_else(too_short)?;
        let dirty =
            lines.get(1..first_slot(slots)).and_then(DirtyBits::of).ok_or_else(too_short)?;
        let slots = lines.get(first_slot(slots)..needed).ok_or_else(too_short)?;
        Ok(ScoreboardReader { header, dirty, slots })
    }

    /// Tells how many slots there are.
    #[must_use]
    pub fn slots(&self) -> u32 {
        // There are at most MAX_SLOTS.
        u32::try_from(self.slots.len()).unwrap_or(MAX_SLOTS)
    }

    /// Tells how many slots there are to show: the most children there may be now, where there is
    /// room for more.
    #[must_use]
    pub fn visible_slots(&self) -> u32 {
        let shown = self.header.words[header_word::VISIBLE_SLOTS].load(Ordering::Relaxed);
        u32::try_from(shown).unwrap_or(u32::MAX).min(self.slots())
    }

    /// Tells the phase that the daemon is in, by what its parent has last written.
    ///
    /// A code that stands for none, left by a wild write, reads as [`Phase::Stopped`]: nothing is
    /// to be expected of such a daemon.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let code = self.header.words[header_word::PHASE].load(Ordering::Acquire);
        u8::try_from(code).ok().and_then(Phase::from_code).unwrap_or(Phase::Stopped)
    }

    /// Tells whether the operator has paused the daemon: children of a pool then take no request.
    #[must_use]
    pub fn operator_pause(&self) -> OperatorPause {
        match self.header.words[header_word::OPERATOR_PAUSE].load(Ordering::Acquire) {
            0 => OperatorPause::Off,
            _held => OperatorPause::On,
        }
    }

    /// Tells when the daemon was started.
    #[must_use]
    pub fn started_at(&self) -> MonotonicTime {
        MonotonicTime::from_nanos(self.header.words[header_word::STARTED].load(Ordering::Relaxed))
    }

    /// Reads a slot's line.
    ///
    /// A slot that does not exist reads as an empty one with [`SlotFault::NoSuchSlot`].
    #[must_use]
    pub fn read(&self, slot: SlotNumber) -> SlotEntry {
        match self.line(slot) {
            None => SlotEntry {
                fault: Some(SlotFault::NoSuchSlot),
                ..entry(slot, SlotState::of(Status::Empty, Generation::default(), 0))
            },
            Some(line) => read(slot, line),
        }
    }

    /// Tells why the last owners of a slot are gone, four at most, the last one first.
    #[must_use]
    pub fn exit_causes(&self, slot: SlotNumber) -> Vec<ExitCause> {
        let Some(line) = self.line(slot) else {
            return Vec::new();
        };
        let word = line.words[slot_word::EXIT_CAUSES].load(Ordering::Relaxed);
        (0..4).filter_map(|past| ExitCause::unpack((word >> (16 * past)) as u16)).collect()
    }

    /// Reads all lines, one after the other: they need not be of the same moment.
    pub fn entries(&self) -> impl Iterator<Item = SlotEntry> + use<> {
        let board = *self;
        (0..board.slots()).map(move |slot| board.read(SlotNumber::new(slot)))
    }

    /// Shows the letters of the slots that are [`shown`](Board::shown), and those beyond that have
    /// a child; `?` for a damaged one.
    #[must_use]
    pub fn letters(&self) -> String {
        let letters = self.slots.iter().map(|line| letter(status(line))).collect::<String>();
        let (shown, beyond) = letters.split_at(self.visible_slots() as usize);
        let mut shown = shown.to_owned();
        shown.push_str(beyond.trim_end_matches(' '));
        shown
    }

    /// Tells how many slots are empty.
    #[must_use]
    pub fn empty_slots(&self) -> u32 {
        let taken = self.slots.iter().filter(|line| status(line) != Some(Status::Empty)).count();
        self.slots() - u32::try_from(taken).unwrap_or(self.slots())
    }

    pub(crate) fn line(&self, slot: SlotNumber) -> Option<&'static ScoreboardLine> {
        self.slots.get(slot.index())
    }

    pub(crate) fn header(&self) -> &'static ScoreboardLine {
        self.header
    }

    pub(crate) fn dirty(&self) -> &DirtyBits {
        &self.dirty
    }
}

fn status(line: &ScoreboardLine) -> Option<Status> {
    SlotState::unpack(line.words[slot_word::STATE].load(Ordering::Acquire)).status()
}

fn letter(status: Option<Status>) -> char {
    status.map_or('?', Status::letter)
}

fn moment(nanos: u64) -> Option<MonotonicTime> {
    (nanos != 0).then(|| MonotonicTime::from_nanos(nanos))
}

fn entry(slot: SlotNumber, state: SlotState) -> SlotEntry {
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

fn read(slot: SlotNumber, line: &ScoreboardLine) -> SlotEntry {
    let word = |word: usize| line.words[word].load(Ordering::Relaxed);
    let mut tries = 0;
    loop {
        // Acquire: what the writer stored before it changed the state is seen below.
        let before = line.words[slot_word::STATE].load(Ordering::Acquire);
        let read = SlotEntry {
            started_at: MonotonicTime::from_nanos(word(slot_word::STARTED_AT)),
            since: MonotonicTime::from_nanos(word(slot_word::SINCE)),
            requests: word(slot_word::REQUESTS),
            label: label::read(line),
            heartbeat: moment(word(slot_word::HEARTBEAT)),
            deadline: moment(word(slot_word::DEADLINE)),
            ..entry(slot, SlotState::unpack(before))
        };
        // With the fence in `close`: who has read a word of the slot's next owner sees here that
        // the state is no more what it was.
        fence(Ordering::Acquire);
        tries += 1;
        if word(slot_word::STATE) == before || tries == TRIES {
            return read;
        }
    }
}

impl fmt::Debug for ScoreboardReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board")
            .field("slots", &self.slots())
            .field("phase", &self.phase())
            .field("letters", &self.letters())
            .finish_non_exhaustive()
    }
}
