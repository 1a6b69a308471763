//! The scoreboard as the parent writes it. The parent opens and closes slots, collects changes, and
//! arms the wakeup.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

use crate::accepting::OperatorPause;
use crate::atomics::{Ordering, fence};
use crate::entry::{SlotEntry, SlotFault};
use crate::exit_cause::ExitCause;
use crate::label::{self, LabelText};
use crate::line::{Generation, ScoreboardLine, SlotNumber, slot_word};
use crate::monotonic::MonotonicTime;
use crate::phase::Phase;
use crate::reader::{MAGIC, ScoreboardError, ScoreboardReader, header_word};
use crate::record::{Record, SlotRecord};
use crate::seat::ReportError;
use crate::status::Status;

/// The parent's view of a scoreboard.
///
/// Each scoreboard has one such view. It belongs to one thread: it can be sent to another thread,
/// but can be neither cloned nor shared. The view dereferences to a [`ScoreboardReader`].
///
/// The parent keeps a record of the scoreboard in its own memory, and decides by it. A line that
/// contradicts the record is damaged. [`observe_slot`](Scoreboard::observe_slot) and
/// [`sweep`](Scoreboard::sweep) repair damage, and [`take_faults`](Scoreboard::take_faults) reports
/// it. No damage makes a slot unusable, or hides the exit of a child.
///
/// # Examples
///
/// ```
/// use daemon_core::{ScoreboardLine, MonotonicTime, Scoreboard, SlotNumber, Status, lines_for};
///
/// let lines = Box::leak((0..lines_for(4)?).map(|_| ScoreboardLine::new()).collect());
/// let scoreboard = Scoreboard::format(lines, 4, MonotonicTime::ZERO)?;
/// let slot = SlotNumber::new(0);
/// scoreboard.open_slot(slot, MonotonicTime::from_nanos(1))?;
/// assert_eq!(scoreboard.letters(), "F   ");
/// let closed = scoreboard.close_slot(slot, MonotonicTime::from_nanos(2));
/// assert_eq!(closed.status, Some(Status::Forking));
/// assert_eq!(scoreboard.empty_slots(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Scoreboard {
    view: ScoreboardReader,
    record: &'static Record,
    wakeup_number: Cell<u32>,
    faults: Cell<FaultCount>,
}

/// Damage that the parent has found on the scoreboard, and has repaired.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FaultCount {
    /// The number of damaged lines, counting a line each time that it was damaged again.
    pub lines: u64,
    /// The last damaged line that was found.
    pub last: Option<(SlotNumber, SlotFault)>,
    /// The number of damaged words of the header.
    pub header_words: u64,
}

impl FaultCount {
    /// Returns whether no damage was found.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.lines == 0 && self.header_words == 0
    }
}

/// The result of arming the wakeup.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "a parent that sleeps with changes pending is not woken for them"]
pub enum ArmResult {
    /// Nothing has changed: the next report wakes the parent.
    Armed,
    /// Changes are pending, so the wakeup is not armed. Process the changes first.
    ChangesPending,
}

impl Scoreboard {
    /// Creates an empty scoreboard in these lines, and overwrites what they contain. The phase is
    /// [`Starting`](Phase::Starting), and all slots are visible.
    ///
    /// # Errors
    ///
    /// [`ScoreboardError`] if there are too few lines, or if the number of slots is out of range.
    pub fn format(
        lines: &'static [ScoreboardLine],
        slots: u32,
        now: MonotonicTime,
    ) -> Result<Scoreboard, ScoreboardError> {
        Scoreboard::format_with(lines, slots, Box::leak(Box::new(Record::new(slots))), now)
    }

    /// Creates an empty scoreboard, and reuses the record of an earlier one with as many slots.
    ///
    /// # Errors
    ///
    /// See [`format`](Scoreboard::format).
    pub(crate) fn format_with(
        lines: &'static [ScoreboardLine],
        slots: u32,
        record: &'static Record,
        now: MonotonicTime,
    ) -> Result<Scoreboard, ScoreboardError> {
        let board = ScoreboardReader::over(lines, slots)?;
        record.clear();
        let header = board.header();
        header.words[header_word::MAGIC].store(0, Ordering::Relaxed);
        for word in lines.iter().flat_map(|line| &line.words) {
            word.store(0, Ordering::Relaxed);
        }
        let view = board.with_record(record);
        let numbers = Cell::new(0);
        let scoreboard =
            Scoreboard { view, record, wakeup_number: numbers, faults: Cell::default() };
        scoreboard.set_header(header_word::SLOTS, slots.into());
        scoreboard.set_header(header_word::VISIBLE_SLOTS, slots.into());
        scoreboard.set_header(header_word::STARTED, now.as_nanos());
        scoreboard.set_header(header_word::PHASE, Phase::Starting.code().into());
        scoreboard.store_wakeup(0);
        // The magic number is written last, because a reader may open the file at the same time.
        scoreboard.set_header(header_word::MAGIC, MAGIC);
        Ok(scoreboard)
    }

    /// Returns a read-only view for other processes, which returns what the memory contains.
    #[must_use]
    pub fn reader(&self) -> ScoreboardReader {
        self.view.without_record()
    }

    /// Returns the parent's read-only view. Do not use it in a process that was forked later: its
    /// copy of the parent's record is out of date.
    #[must_use]
    pub fn view(&self) -> ScoreboardReader {
        self.view
    }

    /// Opens a free slot for a child that is about to be forked, and returns its generation. What
    /// the line contains is overwritten.
    ///
    /// # Errors
    ///
    /// [`ReportError`] if there is no such slot, or if the slot is not free.
    pub fn open_slot(
        &self,
        slot: SlotNumber,
        now: MonotonicTime,
    ) -> Result<Generation, ReportError> {
        let line = self.line(slot).ok_or(ReportError::NoSuchSlot { slot })?;
        let last = self.view.observe(slot, now);
        last.status.unwrap_or(Status::Empty).transition_to(Status::Forking)?;
        self.note_fault(&last);
        let generation = last.generation.next();
        wipe(line, now);
        let opened = SlotRecord::new(Status::Forking, generation, now);
        self.record.set(slot, opened);
        // Release: a reader that sees the new generation sees the cleared fields.
        line.words[slot_word::STATE].store(opened.state().pack(), Ordering::Release);
        Ok(generation)
    }

    /// Records the pid of a slot's child, which the process that forks has reported.
    pub fn set_pid(&self, slot: SlotNumber, pid: u32) {
        if let Some(record) = self.record.get(slot).filter(|slot| slot.status != Status::Empty) {
            self.record.set(slot, SlotRecord { pid, ..record });
        }
    }

    /// Closes the slot of a child that was reaped or was never forked, and returns the last entry
    /// of the slot.
    ///
    /// A slot can be closed in any status. If the child ended while it was writing its label, the
    /// label is repaired, and the fault of the returned entry is [`SlotFault::TornLabel`]. If the
    /// line was damaged, the returned entry has the last plausible values. A free slot is not
    /// changed.
    ///
    /// The child must not be able to write any more: [reap
    /// it](https://man7.org/linux/man-pages/man2/waitpid.2.html) first.
    pub fn close_slot(&self, slot: SlotNumber, now: MonotonicTime) -> SlotEntry {
        let (Some(line), Some(record)) = (self.line(slot), self.record.get(slot)) else {
            return self.read(slot);
        };
        if record.status == Status::Empty {
            return self.observe_slot(slot, now);
        }
        let last = self.view.observe(slot, now);
        self.note_fault(&last);
        let torn = label::is_torn(line).then_some(SlotFault::TornLabel);
        self.free(slot, line, record.generation, now);
        SlotEntry { fault: last.fault.or(torn), ..last }
    }

    fn free(
        &self,
        slot: SlotNumber,
        line: &ScoreboardLine,
        generation: Generation,
        now: MonotonicTime,
    ) {
        let freed = SlotRecord::new(Status::Empty, generation, now);
        self.record.set(slot, freed);
        line.words[slot_word::STATE].store(freed.state().pack(), Ordering::Release);
        // Pairs with the fence in `ScoreboardReader::read`: a reader that sees a word that is
        // cleared below, or a word that the slot's next child writes, also sees that the slot was
        // closed.
        fence(Ordering::Release);
        wipe(line, now);
    }

    /// Reads a slot as [`ScoreboardReader::observe`] does, and repairs the line if it is damaged.
    pub fn observe_slot(&self, slot: SlotNumber, now: MonotonicTime) -> SlotEntry {
        let entry = self.view.observe(slot, now);
        self.note_fault(&entry);
        if entry.fault.is_some_and(SlotFault::is_damage) {
            self.repair(slot, now);
        }
        entry
    }

    /// Reads all slots and the header, and repairs what is damaged. Finds damage of slots that no
    /// child has marked as changed.
    pub fn sweep(&self, now: MonotonicTime, mut observed: impl FnMut(&SlotEntry)) {
        for slot in (0..self.slots()).map(SlotNumber::new) {
            observed(&self.observe_slot(slot, now));
        }
        let header = self.header();
        for word in header_word::ALL {
            let recorded = self.record.header(word);
            if header.words[word].load(Ordering::Relaxed) != recorded {
                header.words[word].store(recorded, Ordering::Release);
                let faults = self.faults.get();
                let header_words = faults.header_words.saturating_add(1);
                self.faults.set(FaultCount { header_words, ..faults });
            }
        }
    }

    /// Returns the damage that was found since the last call.
    pub fn take_faults(&self) -> FaultCount {
        self.faults.take()
    }

    fn note_fault(&self, entry: &SlotEntry) {
        if let Some(fault) = entry.fault.filter(|fault| fault.is_damage()) {
            let faults = self.faults.get();
            let lines = faults.lines.saturating_add(1);
            self.faults.set(FaultCount { lines, last: Some((entry.slot, fault)), ..faults });
        }
    }

    /// Writes what the record says to a damaged line.
    fn repair(&self, slot: SlotNumber, now: MonotonicTime) {
        let (Some(line), Some(record)) = (self.line(slot), self.record.get(slot)) else { return };
        if record.status == Status::Empty {
            self.free(slot, line, record.generation, now);
            line.words[slot_word::EXIT_CAUSES]
                .store(self.record.exit_causes(slot), Ordering::Relaxed);
            return;
        }
        line.words[slot_word::REQUESTS].store(record.requests, Ordering::Relaxed);
        line.words[slot_word::STARTED_AT].store(record.started_at.as_nanos(), Ordering::Relaxed);
        line.words[slot_word::SINCE].store(record.since.as_nanos(), Ordering::Relaxed);
        // If the child reports at the same time, one of the two writes is lost. The child writes
        // its own values with its next report.
        line.words[slot_word::STATE].store(record.state().pack(), Ordering::Release);
    }

    /// Records why the child in this slot exited, for [`ScoreboardReader::exit_causes`].
    pub fn record_exit(&self, slot: SlotNumber, cause: ExitCause) {
        if let Some(line) = self.line(slot) {
            let causes = self.record.exit_causes(slot) << 16 | u64::from(cause.pack());
            self.record.set_exit_causes(slot, causes);
            line.words[slot_word::EXIT_CAUSES].store(causes, Ordering::Relaxed);
        }
    }

    /// Writes the phase of the daemon. If the parent then reads the status of a child that has
    /// reported nothing since, the child finds this phase when it has reported its next status.
    pub fn set_phase(&self, phase: Phase) {
        self.set_header(header_word::PHASE, phase.code().into());
        // Pairs with the fence after a report, in `Seat::wake_if_armed`: either the parent sees the
        // new status, or the child sees the new phase.
        fence(Ordering::SeqCst);
    }

    /// Writes whether the operator has paused the daemon, see [`ScoreboardReader::operator_pause`].
    pub fn set_operator_pause(&self, operator_pause: OperatorPause) {
        let word = match operator_pause {
            OperatorPause::Off => 0,
            OperatorPause::On => 1,
        };
        self.set_header(header_word::OPERATOR_PAUSE, word);
    }

    /// Writes the number of visible slots, see [`ScoreboardReader::visible_slots`].
    pub fn set_visible_slots(&self, slots: u32) {
        self.set_header(header_word::VISIBLE_SLOTS, slots.into());
    }

    fn set_header(&self, word: usize, value: u64) {
        self.record.set_header(word, value);
        self.header().words[word].store(value, Ordering::Release);
    }

    /// Calls `changed` once for each slot that a child has changed since the last call.
    ///
    /// The cost depends on the number of changes, not on the number of slots. A slot may be
    /// reported without a new change, but no change is missed.
    pub fn drain_changes(&self, mut changed: impl FnMut(SlotNumber)) {
        let slots = self.slots();
        // A wild write may have marked a slot that does not exist.
        self.dirty().drain(|slot| {
            if slot.get() < slots {
                changed(slot);
            }
        });
    }

    /// Arms the wakeup, so that the next report wakes the parent. The parent may sleep if the
    /// result is [`ArmResult::Armed`].
    ///
    /// Changes that were reported before the wakeup was armed do not wake the parent. Therefore
    /// this method checks for changes after arming, and disarms the wakeup if there are any. So no
    /// wakeup is lost between checking and sleeping.
    pub fn arm_wakeup(&self) -> ArmResult {
        // Give the wakeup's word a new odd number, even if the wakeup is armed already: a report
        // that has seen the previous number may be about to disarm the wakeup. It disarms the
        // wakeup by a compare-and-exchange, which fails if the word has a new number.
        self.store_wakeup((self.wakeup_number.get() | 1).wrapping_add(2));
        // The parent stores "armed" and loads the dirty bits; a report stores its bit and loads
        // "armed". With a sequentially consistent fence between the store and the load on both
        // sides, at least one side sees the store of the other side (Dekker's algorithm). With a
        // weaker fence, each side could miss the store of the other side.
        fence(Ordering::SeqCst);
        if self.dirty().is_marked() {
            self.disarm_wakeup();
            return ArmResult::ChangesPending;
        }
        ArmResult::Armed
    }

    /// Disarms the wakeup, so that reports do not wake the parent.
    pub fn disarm_wakeup(&self) {
        let number = self.wakeup_number.get();
        if !number.is_multiple_of(2) {
            // A report may have disarmed the wakeup already, with the same number.
            self.store_wakeup(number.wrapping_add(1));
        }
    }

    fn store_wakeup(&self, number: u32) {
        self.wakeup_number.set(number);
        self.wakeup().store(number);
    }
}

/// Clears the fields of a slot that no child owns, and sets its times to `now`.
fn wipe(line: &ScoreboardLine, now: MonotonicTime) {
    line.words[slot_word::STARTED_AT].store(now.as_nanos(), Ordering::Relaxed);
    line.words[slot_word::SINCE].store(now.as_nanos(), Ordering::Relaxed);
    line.words[slot_word::REQUESTS].store(0, Ordering::Relaxed);
    line.words[slot_word::HEARTBEAT].store(0, Ordering::Relaxed);
    line.words[slot_word::DEADLINE].store(0, Ordering::Relaxed);
    label::write(line, LabelText::EMPTY);
}

impl Deref for Scoreboard {
    type Target = ScoreboardReader;

    fn deref(&self) -> &ScoreboardReader {
        &self.view
    }
}

impl fmt::Debug for Scoreboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scoreboard").field(&self.view).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
