//! The scoreboard as a child writes it. A child writes its own line, marks its slot as changed, and
//! wakes the parent.

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
/// The implementation depends on the system, for example an eventfd(2) or a pipe. It must neither
/// block nor fail.
pub trait WakeParent {
    /// Wakes the parent.
    fn wake(&self);
}

/// Why a slot was not written. The status of the slot is unchanged.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The transition is not allowed.
    #[error(transparent)]
    IllegalTransition(#[from] IllegalTransition),
    /// The slot was opened for the writer, and later for another child.
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
/// The seat belongs to one thread of the child: it can be sent to another thread, but can be
/// neither cloned nor shared. Dropping the seat does not close the slot, because the parent closes
/// the slot after the child has exited.
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
    /// Takes the seat in the slot that the parent has opened for this child. The status becomes
    /// [`Forked`](Status::Forked), and `pid` is written to the slot.
    ///
    /// # Errors
    ///
    /// [`ReportError`] if there is no such slot, if the slot is damaged or belongs to another
    /// generation, or if its seat is taken already.
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

    /// Changes the status of the child to `to`, beginning at `now`, and reports the change to the
    /// parent.
    ///
    /// A request is counted when it [starts](Transition::RequestStarted). A report costs a few
    /// atomic operations and does not allocate. It calls [`WakeParent::wake`] only if the wakeup is
    /// armed, so there is no system call while the parent is awake.
    ///
    /// # Errors
    ///
    /// - [`ReportError::IllegalTransition`] if the transition is not allowed.
    /// - [`ReportError::StaleGeneration`] if the slot no longer belongs to this child.
    /// - [`ReportError::Damaged`] if the slot is damaged.
    ///
    /// In all these cases the status is unchanged.
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
    /// if it is UTF-8. Setting a label does not wake the parent. Does nothing if the slot has
    /// another owner.
    pub fn set_label(&self, label: &[u8]) {
        if self.state().generation == self.generation {
            label::write(self.line, LabelText::cut(label));
        }
    }

    /// Records that the child's event loop is running. A heartbeat does not wake the parent.
    pub fn heartbeat(&self, now: MonotonicTime) {
        if self.state().generation == self.generation {
            self.store(slot_word::HEARTBEAT, now.as_nanos());
        }
    }

    /// Sets a deadline for the current request. The babysitter lets the request run until this
    /// deadline or the end of its request timeout, whichever is later. The deadline is reset when
    /// the request ends.
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

    /// Changes the status, if the transition is legal and the slot still has the seat's generation.
    /// Before the state is written, `fill` writes the fields that belong to the new status. If the
    /// state were written first, a reader could see a new status with an old `since`, and a request
    /// would appear to be as old as the wait before it.
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
            // Release: a reader that sees the new status sees what `fill` has stored. The state is
            // compared with the one that was loaded above, because the parent may have closed the
            // slot since then. The parent closes the slot if it believes that this child has
            // exited.
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
        // Pairs with the fence in `Scoreboard::arm_wakeup`. The dirty bit was stored before the
        // fence. The word that shows whether the wakeup is armed is loaded after the fence.
        fence(Ordering::SeqCst);
        let armed = &self.board.header().words[header_word::WAKEUP];
        let word = armed.load(Ordering::Relaxed);
        if word.is_multiple_of(2) {
            return;
        }
        // Wake before disarming: if this child is stopped or killed between these steps, the parent
        // has been woken, and at worst makes one unnecessary scan. The exchange disarms the wakeup
        // only if the word still has the value that was loaded above. If the parent has woken and
        // armed the wakeup again, the word has a new value, and the wakeup stays armed.
        self.waker.wake();
        let _ = armed.compare_exchange(
            word,
            word.wrapping_add(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

/// Returns the transition, if a child may make it. Only the parent may empty a slot, but
/// `transition_to` allows it for any caller.
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
