//! The scoreboard as any process can read it: the parent, a child, or another program that maps the
//! file.
//!
//! This module does not write to the scoreboard. Reading terminates and does not panic, whatever
//! the memory contains.

use std::fmt;

use crate::accepting::OperatorPause;
use crate::atomics::Ordering;
use crate::dirty::{self, DirtyBits};
use crate::entry::{SlotEntry, SlotFault};
use crate::exit_cause::ExitCause;
use crate::line::{Generation, MAX_SLOTS, ScoreboardLine, SlotNumber, SlotState, slot_word};
use crate::log_limit::{self, LimitedRecord};
use crate::monotonic::MonotonicTime;
use crate::phase::Phase;
use crate::record::Record;
use crate::status::Status;
use crate::wakeup_word::WakeupWord;

/// The first word of a scoreboard: a magic number that includes the version of the layout, in
/// native byte order.
pub(crate) const MAGIC: u64 = u64::from_be_bytes(*b"actdmn\x00\x02");

/// The indices of the words in the header, which is line 0. Only the parent writes them.
pub(crate) mod header_word {
    use std::ops::Range;

    pub(crate) const MAGIC: usize = 0;
    pub(crate) const SLOTS: usize = 1;
    pub(crate) const PHASE: usize = 2;
    pub(crate) const STARTED: usize = 3;
    pub(crate) const VISIBLE_SLOTS: usize = 4;
    pub(crate) const OPERATOR_PAUSE: usize = 5;
    /// All words that are used.
    pub(crate) const ALL: Range<usize> = 0..6;
}

/// The number of lines at the start of a scoreboard that only the parent writes: 16 KiB, which are
/// whole pages on most systems. Only the first line is used.
///
/// Make this memory read-only before the first child is forked. A wild write to it then ends the
/// child that makes the write, and has no other effect.
pub const HEADER_LINES: usize = if cfg!(loom) { 1 } else { 128 };

/// The index of the line whose first word is the wakeup, see [`WakeupWord`]. The next words are the
/// limits of log records, see [`LimitedRecord`].
const WAKEUP_LINE: usize = HEADER_LINES;

/// The index of the first line of dirty bits.
const DIRTY_LINE: usize = WAKEUP_LINE + 1;

/// Returns the number of lines of a scoreboard with this many slots.
///
/// There are [`HEADER_LINES`] lines for the header, one for the wakeup, one for the summary of the
/// dirty bits (the marks of changed slots), one for the dirty bits of each group of 1024 slots, and
/// one for each slot.
///
/// # Errors
///
/// [`ScoreboardError::Slots`] if `slots` is 0 or more than [`MAX_SLOTS`].
pub fn lines_for(slots: u32) -> Result<usize, ScoreboardError> {
    if slots == 0 || slots > MAX_SLOTS {
        return Err(ScoreboardError::Slots { slots: slots.into() });
    }
    Ok(first_slot(slots) + slots as usize)
}

/// Returns the number of slots to create for at most `children` children.
///
/// The result is twice the number of children, at least 16 and at most [`MAX_SLOTS`]. The
/// additional slots are needed if `max_children` is raised at run time, because a scoreboard cannot
/// grow.
#[must_use]
pub fn slots_for(children: u32) -> u32 {
    children.saturating_mul(2).clamp(16, MAX_SLOTS)
}

fn first_slot(slots: u32) -> usize {
    DIRTY_LINE + dirty::lines_for(slots as usize)
}

/// Why memory cannot be used as a scoreboard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreboardError {
    /// The number of slots is 0 or more than [`MAX_SLOTS`].
    #[error("invalid number of slots: {slots}; a scoreboard has 1 to {MAX_SLOTS}")]
    Slots {
        /// The number that was requested, or that the header contains.
        slots: u64,
    },
    /// The memory is too small for the number of slots.
    #[error("too small for a scoreboard: {lines} lines of 128 bytes, but {needed} are needed")]
    TooShort {
        /// The number of lines in the memory.
        lines: usize,
        /// The number of lines that are needed.
        needed: usize,
    },
    /// The memory does not begin with the magic number of this version in this byte order.
    #[error(
        "not a scoreboard, or one of another version or byte order: it begins with {found:#018x}, not with {MAGIC:#018x}"
    )]
    Foreign {
        /// The first word of the memory.
        found: u64,
    },
}

/// A read-only view of a scoreboard.
///
/// It consists of a few references and is cheap to copy. The parent's view
/// ([`Scoreboard::view`](crate::Scoreboard::view)) compares each line with what the parent knows,
/// and corrects what cannot be true. All other views return what the memory contains.
///
/// # Examples
///
/// ```
/// use daemon_core::{ScoreboardReader, ScoreboardError, ScoreboardLine};
///
/// let zeros: &'static [ScoreboardLine] = Box::leak(Box::new([ScoreboardLine::new()]));
/// assert!(matches!(ScoreboardReader::open(zeros), Err(ScoreboardError::Foreign { found: 0 })));
/// ```
#[derive(Copy, Clone)]
pub struct ScoreboardReader {
    header: &'static ScoreboardLine,
    wakeup: &'static ScoreboardLine,
    dirty: DirtyBits,
    slots: &'static [ScoreboardLine],
    record: Option<&'static Record>,
}

impl ScoreboardReader {
    /// Opens memory that another process has formatted, or a mapped scoreboard file.
    ///
    /// # Errors
    ///
    /// [`ScoreboardError`] if the memory does not begin like a scoreboard of this version and byte
    /// order, is too short, or contains an invalid number of slots.
    pub fn open(lines: &'static [ScoreboardLine]) -> Result<ScoreboardReader, ScoreboardError> {
        let header = lines.first().ok_or(ScoreboardError::TooShort { lines: 0, needed: 1 })?;
        // Acquire: the magic number is the last word that `format` writes.
        let found = header.words[header_word::MAGIC].load(Ordering::Acquire);
        if found != MAGIC {
            return Err(ScoreboardError::Foreign { found });
        }
        let slots = header.words[header_word::SLOTS].load(Ordering::Relaxed);
        let slots = u32::try_from(slots).map_err(|_wide| ScoreboardError::Slots { slots })?;
        ScoreboardReader::over(lines, slots)
    }

    /// Creates a view of lines, whatever they contain. The number of slots is stored in the view,
    /// so that a wild write to the header cannot change it.
    pub(crate) fn over(
        lines: &'static [ScoreboardLine],
        slots: u32,
    ) -> Result<ScoreboardReader, ScoreboardError> {
        let needed = lines_for(slots)?;
        let too_short = || ScoreboardError::TooShort { lines: lines.len(), needed };
        let header = lines.first().ok_or_else(too_short)?;
        let wakeup = lines.get(WAKEUP_LINE).ok_or_else(too_short)?;
        let dirty = lines.get(DIRTY_LINE..first_slot(slots));
        let dirty = dirty.and_then(DirtyBits::of).ok_or_else(too_short)?;
        let slots = lines.get(first_slot(slots)..needed).ok_or_else(too_short)?;
        Ok(ScoreboardReader { header, wakeup, dirty, slots, record: None })
    }

    /// Returns the parent's view, which compares the memory with the parent's record.
    pub(crate) fn with_record(self, record: &'static Record) -> ScoreboardReader {
        ScoreboardReader { record: Some(record), ..self }
    }

    pub(crate) fn without_record(self) -> ScoreboardReader {
        ScoreboardReader { record: None, ..self }
    }

    /// Returns the number of slots.
    #[must_use]
    pub fn slots(&self) -> u32 {
        // There are at most MAX_SLOTS.
        u32::try_from(self.slots.len()).unwrap_or(MAX_SLOTS)
    }

    /// Returns the number of slots to show: the current maximum number of children, which can be
    /// less than the number of slots.
    #[must_use]
    pub fn visible_slots(&self) -> u32 {
        let shown = self.header_word(header_word::VISIBLE_SLOTS);
        u32::try_from(shown).unwrap_or(u32::MAX).min(self.slots())
    }

    /// Returns the daemon's phase, as the parent last wrote it.
    ///
    /// An unknown code, which only a wild write can leave, reads as [`Phase::Stopped`], because a
    /// daemon with a damaged scoreboard cannot be relied on.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let code = self.header_word(header_word::PHASE);
        u8::try_from(code).ok().and_then(Phase::from_code).unwrap_or(Phase::Stopped)
    }

    /// Returns whether the operator has paused the daemon. While the daemon is paused, the children
    /// of a pool accept no requests.
    #[must_use]
    pub fn operator_pause(&self) -> OperatorPause {
        match self.header_word(header_word::OPERATOR_PAUSE) {
            0 => OperatorPause::Off,
            _paused => OperatorPause::On,
        }
    }

    /// Returns when the daemon was started.
    #[must_use]
    pub fn started_at(&self) -> MonotonicTime {
        MonotonicTime::from_nanos(self.header_word(header_word::STARTED))
    }

    fn header_word(&self, word: usize) -> u64 {
        match self.record {
            Some(record) => record.header(word),
            None => self.header.words[word].load(Ordering::Acquire),
        }
    }

    /// Reads a slot.
    ///
    /// A slot that does not exist reads as an empty one with [`SlotFault::NoSuchSlot`].
    #[must_use]
    pub fn read(&self, slot: SlotNumber) -> SlotEntry {
        match self.line(slot) {
            None => SlotEntry {
                fault: Some(SlotFault::NoSuchSlot),
                ..SlotEntry::of_state(slot, SlotState::of(Status::Empty, Generation::default(), 0))
            },
            Some(line) => {
                self.checked(SlotEntry::read(slot, line), MonotonicTime::from_nanos(u64::MAX))
            }
        }
    }

    /// Reads a slot at this time. In the parent's view, times that are later than `now` are
    /// limited to it, and the parent remembers what it has read: later reads return nothing that
    /// contradicts it.
    #[must_use]
    pub fn observe(&self, slot: SlotNumber, now: MonotonicTime) -> SlotEntry {
        let (Some(line), Some(record)) = (self.line(slot), self.record) else {
            return self.read(slot);
        };
        let entry = self.checked(SlotEntry::read(slot, line), now);
        if let Some(known) = record.get(slot) {
            record.set(slot, known.accept(&entry));
        }
        entry
    }

    /// Returns the entries of all slots, [observed](ScoreboardReader::observe) at this time.
    pub fn observe_all(&self, now: MonotonicTime) -> impl Iterator<Item = SlotEntry> + use<> {
        let board = *self;
        (0..board.slots()).map(move |slot| board.observe(SlotNumber::new(slot), now))
    }

    fn checked(&self, entry: SlotEntry, now: MonotonicTime) -> SlotEntry {
        match self.record.and_then(|record| record.get(entry.slot)) {
            Some(known) => known.check(entry, now),
            None => entry,
        }
    }

    /// Returns why the last owners of a slot exited: at most four causes, the latest first.
    #[must_use]
    pub fn exit_causes(&self, slot: SlotNumber) -> Vec<ExitCause> {
        let Some(line) = self.line(slot) else {
            return Vec::new();
        };
        let word = match self.record {
            Some(record) => record.exit_causes(slot),
            None => line.words[slot_word::EXIT_CAUSES].load(Ordering::Relaxed),
        };
        (0..4).filter_map(|past| ExitCause::unpack((word >> (16 * past)) as u16)).collect()
    }

    /// Returns the entries of all slots. Each slot is read when the iterator reaches it, so the
    /// entries need not be of the same instant.
    pub fn entries(&self) -> impl Iterator<Item = SlotEntry> + use<> {
        let board = *self;
        (0..board.slots()).map(move |slot| board.read(SlotNumber::new(slot)))
    }

    /// Returns the letters of the [visible slots](ScoreboardReader::visible_slots), and those of
    /// further slots up to the last slot that has a child. The letter of a damaged slot is `?`.
    #[must_use]
    pub fn letters(&self) -> String {
        let letters = self.entries().map(|entry| entry.letter()).collect::<String>();
        let (shown, beyond) = letters.split_at(self.visible_slots() as usize);
        let mut shown = shown.to_owned();
        shown.push_str(beyond.trim_end_matches(' '));
        shown
    }

    /// Returns the number of empty slots.
    #[must_use]
    pub fn empty_slots(&self) -> u32 {
        let taken = self.entries().filter(|entry| entry.status != Some(Status::Empty)).count();
        self.slots() - u32::try_from(taken).unwrap_or(self.slots())
    }

    pub(crate) fn line(&self, slot: SlotNumber) -> Option<&'static ScoreboardLine> {
        self.slots.get(slot.index())
    }

    pub(crate) fn header(&self) -> &'static ScoreboardLine {
        self.header
    }

    pub(crate) fn wakeup(&self) -> WakeupWord {
        WakeupWord(&self.wakeup.words[0])
    }

    /// Decides whether a child writes a log record now, see [`LimitedRecord`].
    pub(crate) fn admit_record(&self, record: LimitedRecord, now: MonotonicTime) -> Option<u64> {
        let word = record.word();
        log_limit::admit(&self.wakeup.words[word], &self.wakeup.words[word + 1], now)
    }

    pub(crate) fn dirty(&self) -> &DirtyBits {
        &self.dirty
    }
}

impl fmt::Debug for ScoreboardReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScoreboardReader")
            .field("slots", &self.slots())
            .field("phase", &self.phase())
            .field("letters", &self.letters())
            .finish_non_exhaustive()
    }
}
