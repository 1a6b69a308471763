//! The scoreboard as a child writes it: only its own line.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use crate::atomics::{Ordering, fence};
use crate::label::{self, LabelText};
use crate::line::{Generation, ScoreboardLine, SlotNumber, SlotState, slot_word};
use crate::monotonic::MonotonicTime;
use crate::reader::{ScoreboardReader, header_word};
use crate::status::{IllegalTransition, Status, Transition};

/// Wakes a parent that sleeps.
///
/// The implementation depends on the system: an eventfd(2), a pipe. It must neither block nor fail.
pub trait WakeParent {
    /// Wakes the parent.
    fn wake(&self);
}

/// Why a slot was not written to. Nothing was changed.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The transition is not allowed.
    #[error(transparent)]
    IllegalTransition(#[from] IllegalTransition),
    /// The slot has another owner now, or none.
    #[error(
        "cannot write to slot {slot}: it belongs to generation {current}, not to generation {own}"
    )]
    StaleGeneration {
        /// The slot.
        slot: SlotNumber,
        /// The generation of the writer.
        own: Generation,
        /// The generation of the slot.
        current: Generation,
    },
    /// The slot's line has been damaged by a wild write.
    #[error("cannot write to slot {slot}: its status is damaged (code {code})")]
    Damaged {
        /// The slot.
        slot: SlotNumber,
        /// The invalid code.
        code: u8,
    },
    /// The scoreboard has no such slot.
    #[error("cannot write to slot {slot}: the scoreboard has no such slot")]
    NoSuchSlot {
        /// The slot.
        slot: SlotNumber,
    },
}

/// A child's write handle on its own slot.
///
/// It belongs to one thread of the child: it can be sent, but neither cloned nor shared. Dropping
/// it does not close the slot: the parent does that when the child has exited.
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
    /// Takes the seat that the parent has opened for this child: the status becomes
    /// [`Forked`](Status::Forked), with this pid.
    ///
    /// # Errors
    ///
    /// [`ReportError`] if the slot is of another generation, or if its seat is taken.
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

    /// Reports a status of the child, which begins at `now`.
    ///
    /// A request is counted when it [starts](Transition::RequestStarted). The cost is a few atomic
    /// operations, without allocation and, while the parent is awake, without a system call.
    ///
    /// # Errors
    ///
    /// [`ReportError::IllegalTransition`] if the transition is not allowed, the others if the seat
    /// does not belong to this child any more. The line is then unchanged.
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

    /// Sets the label, a short description of the child's current work.
    ///
    /// A label of more than [`LABEL_MAX`](crate::LABEL_MAX) bytes is truncated, between characters
    /// if it is UTF-8. It does not wake the parent. Does nothing if the slot has another owner.
    pub fn set_label(&self, label: &[u8]) {
        if self.state().generation == self.generation {
            label::write(self.line, LabelText::cut(label));
        }
    }

    /// Records that the child's event loop is running. It does not wake the parent.
    pub fn heartbeat(&self, now: MonotonicTime) {
        if self.state().generation == self.generation {
            self.store(slot_word::HEARTBEAT, now.as_nanos());
        }
    }

    /// Extends the deadline of the current request: time limits that end earlier do not apply. It
    /// is reset when the request ends.
    pub fn extend_deadline(&self, until: MonotonicTime) {
        if self.state().generation == self.generation {
            self.store(slot_word::DEADLINE, until.as_nanos());
        }
    }

    /// Returns the child's status; [`Empty`](Status::Empty) if the slot has another owner or is
    /// damaged.
    #[inline]
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.state();
        match state.status() {
            Some(status) if state.generation == self.generation => status,
            Some(_) | None => Status::Empty,
        }
    }

    /// Returns the number of requests that the child has begun.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.line.words[slot_word::REQUESTS].load(Ordering::Relaxed)
    }

    /// Returns the child's slot.
    #[must_use]
    pub fn slot(&self) -> SlotNumber {
        self.slot
    }

    /// Returns the child's generation.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns a read-only view of the whole scoreboard.
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

    /// Changes the status, if the rules and the generation allow it. `fill` writes the fields that
    /// belong to it before the state is written: otherwise a reader could see a new status with an
    /// old `since`, and take a request to be as old as the wait before it.
    fn change(
        &self,
        to: Status,
        fill: impl Fn(SlotState, Transition) -> SlotState,
    ) -> Result<Transition, ReportError> {
        let (slot, own) = (self.slot, self.generation);
        let step = loop {
            let state = self.state();
            if state.generation != own {
                return Err(ReportError::StaleGeneration { slot, own, current: state.generation });
            }
            let status = state.status().ok_or(ReportError::Damaged { slot, code: state.code })?;
            let step = child_step(status, to)?;
            let next = fill(state, step).with(to);
            // Release: a reader that sees the new status sees what `fill` has stored. Compared,
            // because the parent may have closed the slot meanwhile, if it was informed that this
            // child has exited.
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
        // Pairs with the fence in `Scoreboard::arm_wakeup`: the mark is stored, now check whether
        // the parent sleeps.
        fence(Ordering::SeqCst);
        let armed = &self.board.header().words[header_word::WAKEUP];
        let word = armed.load(Ordering::Relaxed);
        if word.is_multiple_of(2) {
            return;
        }
        // Wake before disarming: a child that is stopped or killed in between has then woken the
        // parent, and costs it one spurious scan. Only the number that was seen is disarmed: if the
        // parent has meanwhile woken and armed again, the number is different.
        self.waker.wake();
        let _ = armed.compare_exchange(
            word,
            word.wrapping_add(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

/// Only the parent empties a slot; the rules of a status do not know the caller.
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
