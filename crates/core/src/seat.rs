//! The scoreboard as a child writes it: its own line, and nothing else.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use crate::atomics::{Ordering, fence};
use crate::board::{ScoreboardReader, header_word};
use crate::label::{self, LabelText};
use crate::line::{Generation, ScoreboardLine, SlotNumber, SlotState, slot_word};
use crate::monotonic::MonotonicTime;
use crate::status::{IllegalTransition, Status, Transition};

/// What wakes a parent that sleeps.
///
/// How it does so is the system's matter: an eventfd(2), a pipe. Ringing must neither block nor
/// fail.
pub trait WakeParent {
    /// Rings.
    fn wake(&self);
}

/// Why a slot was not written to. Nothing was changed.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The move is not allowed.
    #[error(transparent)]
    IllegalTransition(#[from] IllegalTransition),
    /// The seat is another child's by now, or nobody's.
    #[error("cannot write to slot {slot}: it is generation {theirs}'s, not generation {mine}'s")]
    StaleGeneration {
        /// Which slot.
        slot: SlotNumber,
        /// The generation that wanted to write.
        mine: Generation,
        /// The generation that the slot is of.
        theirs: Generation,
    },
    /// The slot's line has been damaged by a wild write.
    #[error("cannot write to slot {slot}: its status is damaged, with code {code}")]
    Damaged {
        /// Which slot.
        slot: SlotNumber,
        /// The code that no status has.
        code: u8,
    },
    /// The scoreboard has no such slot.
    #[error("cannot write to slot {slot}: the scoreboard has no such slot")]
    NoSuchSlot {
        /// Which slot.
        slot: SlotNumber,
    },
}

/// The writing view of a child on its own line.
///
/// It is the child's, and one thread's: it can be sent, neither cloned nor shared. A seat that is
/// dropped is not closed: the parent does that when the child is gone.
///
/// # Examples
///
/// See the [crate's front page](crate).
pub struct Seat<B: WakeParent> {
    board: ScoreboardReader,
    line: &'static ScoreboardLine,
    slot: SlotNumber,
    generation: Generation,
    waker: B,
    one_thread: PhantomData<Cell<()>>,
}

impl<B: WakeParent> Seat<B> {
    /// Takes the seat that the parent has ordered for this child: it is Born, under this pid.
    ///
    /// # Errors
    ///
    /// [`ReportError`] if the slot is not this generation's, or if somebody sits there.
    #[inline]
    pub fn take(
        board: ScoreboardReader,
        slot: SlotNumber,
        generation: Generation,
        pid: u32,
        now: MonotonicTime,
        waker: B,
    ) -> Result<Seat<B>, ReportError> {
        let line = board.line(slot).ok_or(ReportError::NoSuchSlot { slot })?;
        let seat = Seat { board, line, slot, generation, waker, one_thread: PhantomData };
        seat.change(Status::Forked, |state, _step| {
            seat.store(slot_word::STARTED_AT, now.as_nanos());
            seat.store(slot_word::SINCE, now.as_nanos());
            SlotState { pid, ..state }
        })?;
        Ok(seat)
    }

    /// Reports what the child does now, since `now`.
    ///
    /// A request is counted when it [begins](Step::RequestStarted). The cost is a few atomic
    /// operations, without allocation and, while the parent is awake, without a system call.
    ///
    /// # Errors
    ///
    /// [`ReportError::IllegalTransition`] if the rules forbid the move, the others if the seat is not this
    /// child's any more. The line is left as it was.
    pub fn report(&self, to: Status, now: MonotonicTime) -> Result<Transition, ReportError> {
        self.change(to, |state, step| {
            match step {
                Transition::RequestStarted => {
                    self.store(slot_word::REQUESTS, self.requests().wrapping_add(1));
                    self.store(slot_word::DEADLINE, 0);
                }
                Transition::RequestFinished => self.store(slot_word::DEADLINE, 0),
                Transition::SlotOpened
                | Transition::SeatTaken
                | Transition::BecameReady
                | Transition::Reclassified
                | Transition::Leaving
                | Transition::SlotClosed => {}
            }
            self.store(slot_word::SINCE, now.as_nanos());
            state
        })
    }

    /// Says in a few words what the child is doing.
    ///
    /// What is longer than [`LABEL_MAX`](crate::LABEL_MAX) bytes is cut, between characters if it
    /// is UTF-8. Nobody is woken for it, and a seat that is another's is left alone.
    pub fn set_label(&self, label: &[u8]) {
        if self.state().generation == self.generation {
            label::write(self.line, LabelText::cut(label));
        }
    }

    /// Notes that the child's event loop turns. Nobody is woken for it.
    pub fn heartbeat(&self, now: MonotonicTime) {
        if self.state().generation == self.generation {
            self.store(slot_word::HEARTBEAT, now.as_nanos());
        }
    }

    /// Asks to be let alone with the request in hand until then: a time limit that ends earlier
    /// does not count. It ends with the request.
    pub fn extend_deadline(&self, until: MonotonicTime) {
        if self.state().generation == self.generation {
            self.store(slot_word::DEADLINE, until.as_nanos());
        }
    }

    /// Tells what the child does by its line; [`Empty`](Status::Empty) if the line is not its own
    /// any more, or damaged.
    #[inline]
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.state();
        match state.status() {
            Some(status) if state.generation == self.generation => status,
            Some(_) | None => Status::Empty,
        }
    }

    /// Tells how many requests the child has begun.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.line.words[slot_word::REQUESTS].load(Ordering::Relaxed)
    }

    /// Tells the child's slot.
    #[must_use]
    pub fn slot(&self) -> SlotNumber {
        self.slot
    }

    /// Tells which of the slot's owners the child is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Copies the reading view of the whole scoreboard.
    #[must_use]
    pub fn reader(&self) -> ScoreboardReader {
        self.board
    }

    fn state(&self) -> SlotState {
        SlotState::unpack(self.line.words[slot_word::STATE].load(Ordering::Relaxed))
    }

    fn store(&self, word: usize, value: u64) {
        self.line.words[word].store(value, Ordering::Relaxed);
    }

    /// Moves to another status, once the rules and the generation allow it. `fill` writes what
    /// goes with it: before the state, since a reader that took a new status with an old `since`
    /// would believe a request to be as old as the wait before it.
    fn change(
        &self,
        to: Status,
        fill: impl Fn(SlotState, Transition) -> SlotState,
    ) -> Result<Transition, ReportError> {
        let (slot, mine) = (self.slot, self.generation);
        let step = loop {
            let state = self.state();
            if state.generation != mine {
                return Err(ReportError::StaleGeneration { slot, mine, theirs: state.generation });
            }
            let status = state.status().ok_or(ReportError::Damaged { slot, code: state.code })?;
            let step = child_step(status, to)?;
            let next = fill(state, step).with(to);
            // Release: who sees the new status sees what `fill` has stored. Compared, since the
            // parent may have closed the slot meanwhile, if it was told that this child is gone.
            let swapped = self.line.words[slot_word::STATE].compare_exchange(
                state.pack(),
                next.pack(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            if swapped.is_ok() {
                break step;
            }
        };
        self.board.dirty().mark(slot);
        self.wake_if_armed();
        Ok(step)
    }

    #[inline]
    fn wake_if_armed(&self) {
        // The other half of `Scoreboard::arm`: the mark is stored, now look whether the parent
        // sleeps.
        fence(Ordering::SeqCst);
        let armed = &self.board.header().words[header_word::WAKEUP];
        let word = armed.load(Ordering::Relaxed);
        if word.is_multiple_of(2) {
            return;
        }
        // It rings before it disarms: a child that is stopped or killed in between has rung, and
        // costs the parent no more than a look. It disarms only what it has seen armed: if the
        // parent has meanwhile woken and armed it again, the number is another one.
        self.waker.wake();
        let _ = armed.compare_exchange(
            word,
            word.wrapping_add(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

/// A slot is the parent's to empty; the rules of a status do not know who asks.
fn child_step(status: Status, to: Status) -> Result<Transition, IllegalTransition> {
    match to {
        Status::Empty => Err(IllegalTransition { from: status, to }),
        Status::Forking
        | Status::Forked
        | Status::Fresh
        | Status::Waiting
        | Status::Serving
        | Status::Long
        | Status::Leaving => status.transition_to(to),
    }
}

impl<B: WakeParent> fmt::Debug for Seat<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("slot", &self.slot)
            .field("generation", &self.generation)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
