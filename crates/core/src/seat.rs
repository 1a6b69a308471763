//! The scoreboard as a child writes it. A child writes its own line, marks its slot as changed, and
//! wakes the parent.

use std::cell::Cell;
use std::fmt;

use crate::atomics::{Ordering, fence};
use crate::label::{self, LabelText};
use crate::line::{Generation, ScoreboardLine, SlotNumber, SlotState, slot_word};
use crate::log_limit::LimitedRecord;
use crate::monotonic::MonotonicTime;
use crate::reader::ScoreboardReader;
use crate::status::{IllegalTransition, Status, Transition};

/// Wakes a parent that sleeps.
///
/// The implementation depends on the system, for example an eventfd(2) or a pipe. It must neither
/// block nor fail.
pub trait WakeParent {
    /// Wakes the parent.
    fn wake(&self);
}

/// Why a slot was not written. The line of the slot is unchanged.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The transition is not allowed.
    #[error(transparent)]
    IllegalTransition(#[from] IllegalTransition),
    /// The slot was opened for the writer, and later for another child, or its line is damaged.
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
    /// The parent has closed the slot, or its line is damaged.
    #[error("cannot write to slot {slot}: it is closed")]
    Closed {
        /// The slot.
        slot: SlotNumber,
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
/// The seat keeps the status and the number of requests in the child's own memory, and writes both
/// with each report. So damage of the line is repaired by the next report.
///
/// # Examples
///
/// See the [crate's front page](crate).
pub struct Seat<B: WakeParent> {
    board: ScoreboardReader,
    line: &'static ScoreboardLine,
    slot: SlotNumber,
    own: Cell<SlotState>,
    since: Cell<MonotonicTime>,
    requests: Cell<u64>,
    waker: B,
}

impl<B: WakeParent> Seat<B> {
    /// Takes the seat in the slot that the parent has opened for this child. The status becomes
    /// [`Forked`](Status::Forked), and `pid` is written to the slot.
    ///
    /// # Errors
    ///
    /// [`ReportError`] if there is no such slot, if the slot belongs to another generation, or if
    /// its seat is taken already. A line that was erased since the slot was opened is written
    /// again.
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
        let found = SlotState::unpack(line.words[slot_word::STATE].load(Ordering::Acquire))
            .or_opened(generation);
        if found.generation != generation {
            let (own, current) = (generation, found.generation);
            return Err(ReportError::StaleGeneration { slot, own, current });
        }
        // The slot was opened for this child, so a damaged status is overwritten.
        let status = found.status().unwrap_or(Status::Forking);
        let own = Cell::new(SlotState::of(status, generation, pid));
        let (since, requests) = (Cell::new(now), Cell::new(0));
        let seat = Seat { board, line, slot, own, since, requests, waker };
        let _taken = child_step(status, Status::Forked)?;
        seat.store(slot_word::STARTED_AT, now.as_nanos());
        seat.change(Status::Forked, now)?;
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
    /// - [`ReportError::IllegalTransition`] if the transition is not allowed. Nothing is changed.
    /// - [`ReportError::StaleGeneration`] and [`ReportError::Closed`] if the slot belongs to
    ///   another child or is closed, or if its line is damaged so that it seems to be. The child's
    ///   own status has changed, but the line has not. The parent is woken, and repairs a damaged
    ///   line.
    pub fn report(&self, to: Status, now: MonotonicTime) -> Result<Transition, ReportError> {
        let step = child_step(self.status(), to)?;
        match step {
            Transition::RequestStarted => {
                self.requests.set(self.requests.get().wrapping_add(1));
                self.store_owned(slot_word::DEADLINE, 0);
            }
            Transition::RequestFinished => self.store_owned(slot_word::DEADLINE, 0),
            Transition::SlotOpened
            | Transition::SeatTaken
            | Transition::BecameReady
            | Transition::Reclassified
            | Transition::Leaving
            | Transition::SlotClosed => {}
        }
        self.change(to, now)?;
        Ok(step)
    }

    /// Sets the label, a short description of the child's current work.
    ///
    /// A label of more than [`LABEL_MAX`](crate::LABEL_MAX) bytes is truncated, between characters
    /// if it is UTF-8. Setting a label does not wake the parent. Does nothing if the slot has
    /// another owner.
    pub fn set_label(&self, label: &[u8]) {
        if self.is_owner() {
            label::write(self.line, LabelText::cut(label));
        }
    }

    /// Records that the child's event loop is running. A heartbeat does not wake the parent, unless
    /// the line is damaged and is written again.
    pub fn heartbeat(&self, now: MonotonicTime) {
        self.store_owned(slot_word::HEARTBEAT, now.as_nanos());
        if self.state() != self.own.get() {
            self.refresh();
        }
    }

    /// Writes the status to the line again, and wakes the parent. Repairs a line that other code
    /// has written to.
    pub fn refresh(&self) {
        // The parent repairs a line that cannot be written here, and asks again.
        let _ = self.publish();
    }

    /// Sets a deadline for the current request. The babysitter lets the request run until this
    /// deadline or the end of its request timeout, whichever is later. The deadline is reset when
    /// the request ends.
    pub fn extend_deadline(&self, until: MonotonicTime) {
        self.store_owned(slot_word::DEADLINE, until.as_nanos());
    }

    /// Returns whether to write this log record now, and if so, the number of such records that
    /// were suppressed in all children since the last one that was written. All children together
    /// may write ten records in a burst, and then one every ten seconds.
    #[must_use]
    pub fn admit_record(&self, record: LimitedRecord, now: MonotonicTime) -> Option<u64> {
        self.board.admit_record(record, now)
    }

    /// Returns the child's status, from the child's own memory.
    #[inline]
    #[must_use]
    pub fn status(&self) -> Status {
        // The own status is always valid.
        self.own.get().status().unwrap_or(Status::Forked)
    }

    /// Returns the number of requests that the child has begun, from the child's own memory.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Returns the child's slot.
    #[must_use]
    pub fn slot(&self) -> SlotNumber {
        self.slot
    }

    /// Returns the child's generation.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.own.get().generation
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

    /// Returns whether the line belongs to this child, which a process that the child has forked
    /// may survive.
    fn is_owner(&self) -> bool {
        self.state().generation == self.generation()
    }

    fn store_owned(&self, word: usize, value: u64) {
        if self.is_owner() {
            self.store(word, value);
        }
    }

    fn change(&self, to: Status, now: MonotonicTime) -> Result<(), ReportError> {
        self.own.set(self.own.get().with(to));
        self.since.set(now);
        self.publish()
    }

    /// Writes the child's status to its line, and wakes the parent, which repairs the line if it
    /// was damaged. Before the state is written, the fields that belong to it are. If the state
    /// were written first, a reader could see a new status with an old `since`, and a request would
    /// appear to be as old as the wait before it.
    fn publish(&self) -> Result<(), ReportError> {
        let own = self.own.get();
        let published = loop {
            let found = self.state();
            let owned = found.or_opened(own.generation);
            if owned.generation != own.generation {
                let (slot, own, current) = (self.slot, own.generation, owned.generation);
                break Err(ReportError::StaleGeneration { slot, own, current });
            }
            if owned.status() == Some(Status::Empty) {
                break Err(ReportError::Closed { slot: self.slot });
            }
            self.store(slot_word::SINCE, self.since.get().as_nanos());
            self.store(slot_word::REQUESTS, self.requests.get());
            // Release: a reader that sees the new status sees what was stored above. The state is
            // compared with the one that was loaded above, because the parent may have closed the
            // slot since then. The parent closes the slot if it believes that this child has
            // exited.
            let swapped = self.line.words[slot_word::STATE].compare_exchange(
                found.pack(),
                own.pack(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            if swapped.is_ok() {
                break Ok(());
            }
        };
        self.board.dirty().mark(self.slot);
        self.wake_if_armed();
        published
    }

    #[inline]
    fn wake_if_armed(&self) {
        // Pairs with the fence in `Scoreboard::arm_wakeup`. The dirty bit was stored before the
        // fence. The word that shows whether the wakeup is armed is loaded after the fence.
        fence(Ordering::SeqCst);
        if let Some(word) = self.board.wakeup().armed() {
            // Wake before disarming: if this child is stopped or killed between these steps, the
            // parent has been woken, and at worst makes one unnecessary scan.
            self.waker.wake();
            self.board.wakeup().disarm(word);
        }
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
            .field("generation", &self.generation())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
