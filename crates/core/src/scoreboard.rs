//! The scoreboard as the parent writes it. The parent opens and closes slots, collects changes, and
//! arms the wakeup.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use crate::accepting::OperatorPause;
use crate::atomics::{Ordering, fence};
use crate::exit_cause::ExitCause;
use crate::label::{self, Guard, LabelText};
use crate::line::{Generation, ScoreboardLine, SlotNumber, SlotState, slot_word};
use crate::monotonic::MonotonicTime;
use crate::phase::Phase;
use crate::reader::{MAGIC, ScoreboardError, ScoreboardReader, SlotEntry, SlotFault, header_word};
use crate::seat::ReportError;
use crate::status::Status;

/// The parent's view of a scoreboard.
///
/// Each scoreboard has one such view. It belongs to one thread: it can be sent to another thread,
/// but can be neither cloned nor shared. The view dereferences to a [`ScoreboardReader`].
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
/// assert_eq!(scoreboard.close_slot(slot, MonotonicTime::from_nanos(2)).status, Some(Status::Forking));
/// assert_eq!(scoreboard.empty_slots(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Scoreboard {
    board: ScoreboardReader,
    one_thread: PhantomData<Cell<()>>,
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
        let board = ScoreboardReader::over(lines, slots)?;
        let header = board.header();
        header.words[header_word::MAGIC].store(0, Ordering::Relaxed);
        for word in lines.iter().flat_map(|line| &line.words) {
            word.store(0, Ordering::Relaxed);
        }
        header.words[header_word::SLOTS].store(slots.into(), Ordering::Relaxed);
        header.words[header_word::VISIBLE_SLOTS].store(slots.into(), Ordering::Relaxed);
        header.words[header_word::STARTED].store(now.as_nanos(), Ordering::Relaxed);
        header.words[header_word::PHASE].store(Phase::Starting.code().into(), Ordering::Relaxed);
        // The magic number is written last, because a reader may open the file at the same time.
        header.words[header_word::MAGIC].store(MAGIC, Ordering::Release);
        Ok(Scoreboard { board, one_thread: PhantomData })
    }

    /// Returns a read-only view of the scoreboard.
    #[must_use]
    pub fn reader(&self) -> ScoreboardReader {
        self.board
    }

    /// Opens an empty slot for a child that is about to be forked, and returns its generation.
    ///
    /// # Errors
    ///
    /// [`ReportError`] if there is no such slot, or if the slot is damaged or not empty.
    pub fn open_slot(
        &self,
        slot: SlotNumber,
        now: MonotonicTime,
    ) -> Result<Generation, ReportError> {
        let line = self.line(slot).ok_or(ReportError::NoSuchSlot { slot })?;
        let state = SlotState::unpack(line.words[slot_word::STATE].load(Ordering::Relaxed));
        let status = state.status().ok_or(ReportError::Damaged { slot, code: state.code })?;
        status.transition_to(Status::Forking)?;
        let generation = state.generation.next();
        wipe(line, now);
        // Release: a reader that sees the new generation sees the cleared fields.
        line.words[slot_word::STATE]
            .store(SlotState::of(Status::Forking, generation, 0).pack(), Ordering::Release);
        Ok(generation)
    }

    /// Closes the slot of a child that was reaped or was never forked, and returns the last entry
    /// of the slot.
    ///
    /// A slot can be closed in any status. If the child ended while it was writing its label, the
    /// label is repaired, and the fault of the returned entry is [`SlotFault::TornLabel`]. If the
    /// line was damaged, the fault is [`SlotFault::InvalidStatus`]. An empty slot is not changed.
    ///
    /// The child must not be able to write any more: [reap
    /// it](https://man7.org/linux/man-pages/man2/waitpid.2.html) first.
    pub fn close_slot(&self, slot: SlotNumber, now: MonotonicTime) -> SlotEntry {
        let last = self.read(slot);
        let Some(line) = self.line(slot) else {
            return last;
        };
        if last.status == Some(Status::Empty) {
            return last;
        }
        let torn = match label::guard(line) {
            Guard::Whole => None,
            Guard::Torn => Some(SlotFault::TornLabel),
        };
        let state = SlotState::unpack(line.words[slot_word::STATE].load(Ordering::Relaxed));
        line.words[slot_word::STATE]
            .store(SlotState::of(Status::Empty, state.generation, 0).pack(), Ordering::Release);
        // Pairs with the fence in `ScoreboardReader::read`: a reader that sees a word that is
        // cleared below, or a word that the slot's next child writes, also sees that the slot was
        // closed.
        fence(Ordering::Release);
        wipe(line, now);
        SlotEntry { fault: last.fault.or(torn), ..last }
    }

    /// Records why the child in this slot exited, for [`ScoreboardReader::exit_causes`].
    pub fn record_exit(&self, slot: SlotNumber, cause: ExitCause) {
        if let Some(line) = self.line(slot) {
            let causes = &line.words[slot_word::EXIT_CAUSES];
            let earlier = causes.load(Ordering::Relaxed) << 16;
            causes.store(earlier | u64::from(cause.pack()), Ordering::Relaxed);
        }
    }

    /// Writes the phase of the daemon.
    pub fn set_phase(&self, phase: Phase) {
        self.header().words[header_word::PHASE].store(phase.code().into(), Ordering::Release);
    }

    /// Writes whether the operator has paused the daemon, see [`ScoreboardReader::operator_pause`].
    pub fn set_operator_pause(&self, operator_pause: OperatorPause) {
        let word = match operator_pause {
            OperatorPause::Off => 0,
            OperatorPause::On => 1,
        };
        self.header().words[header_word::OPERATOR_PAUSE].store(word, Ordering::Release);
    }

    /// Writes the number of visible slots, see [`ScoreboardReader::visible_slots`].
    pub fn set_visible_slots(&self, slots: u32) {
        self.header().words[header_word::VISIBLE_SLOTS].store(slots.into(), Ordering::Relaxed);
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
        // Give the wakeup's word a new number, even if the wakeup is armed already: a report that
        // has seen the previous number may be about to disarm the wakeup. It disarms the wakeup by
        // a compare-and-exchange, which fails if the word has a new number.
        self.disarm_wakeup();
        let waker = &self.header().words[header_word::WAKEUP];
        // The number is even now. Only the parent changes an even number, so there is no other
        // writer.
        waker.store(waker.load(Ordering::Relaxed) | 1, Ordering::Relaxed);
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
        disarm_wakeup(self.header());
    }
}

/// Disarms the wakeup, unless a report has disarmed it already.
fn disarm_wakeup(header: &ScoreboardLine) {
    let waker = &header.words[header_word::WAKEUP];
    let word = waker.load(Ordering::Relaxed);
    if !word.is_multiple_of(2) {
        // If the exchange fails, a report has disarmed the wakeup.
        let _ = waker.compare_exchange(
            word,
            word.wrapping_add(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
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
        &self.board
    }
}

impl fmt::Debug for Scoreboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scoreboard").field(&self.board).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
