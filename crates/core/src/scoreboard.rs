//! The scoreboard as its parent writes it: slots opened and closed, changes taken in, the bell
//! armed.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use crate::accepting::OperatorPause;
use crate::atomics::{Ordering, fence};
use crate::board::{MAGIC, ScoreboardError, ScoreboardReader, SlotEntry, SlotFault, header_word};
use crate::exit_cause::ExitCause;
use crate::label::{self, Guard, LabelText};
use crate::line::{Generation, ScoreboardLine, SlotNumber, SlotState, slot_word};
use crate::monotonic::MonotonicTime;
use crate::phase::Phase;
use crate::seat::ReportError;
use crate::status::Status;

/// The parent's view of a scoreboard, which writes what is the parent's.
///
/// There is one, and one thread has it: it can be sent, neither cloned nor shared. Everything that
/// a [`ScoreboardReader`] tells it tells too.
///
/// # Examples
///
/// ```
/// use daemon_core::{Line, MonotonicTime, Scoreboard, SlotNumber, Status, lines_for};
///
/// let lines = Box::leak((0..lines_for(4)?).map(|_| Line::new()).collect());
/// let scoreboard = Scoreboard::format(lines, 4, MonotonicTime::ZERO)?;
/// let slot = SlotNumber::new(0);
/// scoreboard.order(slot, MonotonicTime::from_nanos(1))?;
/// assert_eq!(scoreboard.letters(), "F   ");
/// assert_eq!(scoreboard.close(slot, MonotonicTime::from_nanos(2)).status, Some(Status::Forking));
/// assert_eq!(scoreboard.empty_slots(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Scoreboard {
    board: ScoreboardReader,
    one_thread: PhantomData<Cell<()>>,
}

/// What arming the bell has found.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "a parent that sleeps over changes that wait is not woken for them"]
pub enum ArmResult {
    /// Nothing has changed: the next report rings.
    Armed,
    /// Something has changed already, so the bell is not armed: take it in first.
    ChangesPending,
}

impl Scoreboard {
    /// Makes an empty scoreboard of these lines, whatever they hold, in phase
    /// [`Starting`](Phase::Starting), with all slots shown.
    ///
    /// # Errors
    ///
    /// [`ScoreboardError`] if there are too few lines, or if the number of slots makes no sense.
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
        // Last, for a reader that opens the file meanwhile.
        header.words[header_word::MAGIC].store(MAGIC, Ordering::Release);
        Ok(Scoreboard { board, one_thread: PhantomData })
    }

    /// Copies the reading view.
    #[must_use]
    pub fn reader(&self) -> ScoreboardReader {
        self.board
    }

    /// Opens an empty slot for a child that is about to be forked, and says which of the slot's
    /// owners it will be.
    ///
    /// # Errors
    ///
    /// [`ReportError`] if there is no such slot, or if it is not empty.
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
        // Release: who sees the new owner sees the line wiped of the former one's.
        line.words[slot_word::STATE]
            .store(SlotState::of(Status::Forking, generation, 0).pack(), Ordering::Release);
        Ok(generation)
    }

    /// Empties the slot of a child that is gone and reaped, or was never forked, and tells what
    /// its line said last.
    ///
    /// It does so from any status, and repairs what a child leaves behind that ended in the middle
    /// of writing its label: [`SlotFault::TornLabel`] then, or [`SlotFault::InvalidStatus`] if the line was
    /// damaged. A slot that is empty stays as it is.
    ///
    /// The child must not write any more: [reap it](https://man7.org/linux/man-pages/man2/waitpid.2.html)
    /// first.
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
        // With the fence in reading: who sees a word that is wiped below, or what the next owner
        // writes there, sees also that the slot has been closed.
        fence(Ordering::Release);
        wipe(line, now);
        SlotEntry { fault: last.fault.or(torn), ..last }
    }

    /// Notes why an owner of this slot is gone, for [`ScoreboardReader::causes`].
    pub fn record_exit(&self, slot: SlotNumber, cause: ExitCause) {
        if let Some(line) = self.line(slot) {
            let causes = &line.words[slot_word::EXIT_CAUSES];
            let earlier = causes.load(Ordering::Relaxed) << 16;
            causes.store(earlier | u64::from(cause.pack()), Ordering::Relaxed);
        }
    }

    /// Writes the phase, for children and others to read.
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

    /// Writes how many slots there are to show, see [`ScoreboardReader::shown`].
    pub fn set_visible_slots(&self, slots: u32) {
        self.header().words[header_word::VISIBLE_SLOTS].store(slots.into(), Ordering::Relaxed);
    }

    /// Takes in what has changed by a child's hand since the last time: names each slot once,
    /// however often it has changed.
    ///
    /// The cost is that of the changes, whatever the number of slots. A slot may be named that has
    /// not changed since; none is left out.
    pub fn drain_changes(&self, mut changed: impl FnMut(SlotNumber)) {
        let slots = self.slots();
        // A wild mark may name a slot that there is not.
        self.dirty().drain(|slot| {
            if slot.get() < slots {
                changed(slot);
            }
        });
    }

    /// Arms the bell, so that the next report rings it; then it is safe to sleep.
    ///
    /// Changes from before it was armed do not ring. That is why it looks for them once more, and
    /// disarms the bell if there are any: no wake-up is lost between looking and sleeping.
    pub fn arm_wakeup(&self) -> ArmResult {
        // A number that was never there before, also if the bell is armed already: a report that
        // has rung it for an earlier time may be about to disarm it, and must then find that this
        // is another time.
        self.disarm_wakeup();
        let waker = &self.header().words[header_word::WAKEUP];
        // Only the parent moves it on from an even number, so nobody else writes here now.
        waker.store(waker.load(Ordering::Relaxed) | 1, Ordering::Relaxed);
        // The parent stores "armed" and loads the marks; a report stores its mark and loads
        // "armed". With a sequentially consistent fence between the two on both sides, at least
        // one sees what the other has stored (Dekker). Nothing weaker forbids that both miss.
        fence(Ordering::SeqCst);
        if self.dirty().is_marked() {
            self.disarm_wakeup();
            return ArmResult::ChangesPending;
        }
        ArmResult::Armed
    }

    /// Disarms the bell: reports do not ring.
    pub fn disarm_wakeup(&self) {
        disarm_wakeup(self.header());
    }
}

/// Disarms the bell if it is still armed as it was when the caller looked.
fn disarm_wakeup(header: &ScoreboardLine) {
    let waker = &header.words[header_word::WAKEUP];
    let word = waker.load(Ordering::Relaxed);
    if !word.is_multiple_of(2) {
        // If it fails, a report has disarmed it.
        let _ = waker.compare_exchange(
            word,
            word.wrapping_add(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

/// Writes the fields of a slot that nobody sits in.
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
