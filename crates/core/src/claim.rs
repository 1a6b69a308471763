//! Whose a piece of work is that was sent to a worker: the worker's, once it has begun, or still
//! its sender's to take back.
//!
//! A worker that is busy reads nothing, so it cannot be asked. Both therefore settle it in a cell
//! of shared memory, by one compare-and-swap: exactly one of the two gets it, and a worker that dies
//! leaves in the cell whether it had begun. In the same way they settle whether the work was done
//! before the worker was condemned for it: who is condemned begins nothing more.

use crate::atomics::{AtomicU64, Ordering};
use crate::monotonic::MonotonicTime;

/// A cell of shared memory, for one piece of work at a time.
///
/// Work goes by its *turn*, a number that a worker gets no second time. Zeroed memory is a cell that
/// nobody has used.
///
/// # Examples
///
/// ```
/// use daemon_core::{Begun, Claim, MonotonicTime, Owner, TakenBack};
///
/// let cell = Claim::new();
/// cell.offer(1);
/// assert_eq!(cell.begin(1, MonotonicTime::from_nanos(5)), Begun::Started);
/// assert_eq!(cell.revoke(1), TakenBack::AlreadyStarted);
/// cell.offer(2);
/// assert_eq!(cell.revoke(2), TakenBack::Revoked);
/// assert_eq!(cell.begin(2, MonotonicTime::from_nanos(9)), Begun::Revoked);
/// assert_eq!(cell.owner(2), Owner::Sender);
/// ```
#[repr(C)]
#[derive(Debug)]
#[cfg_attr(not(loom), derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout))]
pub struct Claim {
    /// The turn, and in its lower bits the state.
    word: AtomicU64,
    /// When the work was begun.
    begun: AtomicU64,
}

/// Whether a worker may go on with what it wants to begin.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "work that was taken back is another's"]
pub enum StartResult {
    /// It is the worker's.
    Started,
    /// It was taken back.
    Revoked,
}

/// Whether work is its sender's again.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "work that was begun must not be done a second time"]
pub enum RevokeResult {
    /// It is: nobody has begun it, and nobody will.
    Revoked,
    /// It was begun.
    AlreadyStarted,
}

/// Whose work is.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// The sender's: it was not begun.
    Sender,
    /// The worker's, since this moment.
    Worker(MonotonicTime),
}

/// Whether a worker may tell what it has done.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "a worker that is condemned does nothing more"]
pub enum FinishResult {
    /// It may, and go on with other work.
    Finished,
    /// It was given up meanwhile: its process is being killed.
    Aborted,
}

/// Whether a worker is condemned for what it does.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "a worker that has ended its work is not to be killed for it"]
pub enum AbortResult {
    /// It is, and will begin nothing more.
    Aborted,
    /// It does not do this work, or has ended it: the answer is on its way.
    NotRunning,
}

const STATE_BITS: u32 = 3;
const OFFERED: u64 = 1;
const BEGUN: u64 = 2;
const TAKEN_BACK: u64 = 3;
const ENDED: u64 = 4;
const CONDEMNED: u64 = 5;
const HEARD: u64 = 6;

impl Claim {
    /// Makes a cell that is not shared: a test's, or a model's.
    #[must_use]
    pub fn new() -> Claim {
        Claim { word: AtomicU64::new(0), begun: AtomicU64::new(0) }
    }

    /// The sender offers the work of this turn. What was in the cell before must be settled.
    pub fn offer(&self, turn: u64) {
        // The message that carries the work orders this before the worker's look.
        self.word.store(word(turn, OFFERED), Ordering::Release);
    }

    /// The worker begins the work of this turn, unless it was taken back. A cell that was offered
    /// for another turn by now tells the same.
    pub fn start(&self, turn: u64, now: MonotonicTime) -> StartResult {
        // Before the state, so that who sees it begun sees since when.
        self.begun.store(now.as_nanos(), Ordering::Relaxed);
        match self.swap(turn, OFFERED, BEGUN) {
            Ok(_) => StartResult::Started,
            Err(_) => StartResult::Revoked,
        }
    }

    /// The sender takes the work of this turn back, unless it was begun. A cell that was scribbled
    /// over counts as begun: work is rather told lost than done twice.
    pub fn revoke(&self, turn: u64) -> RevokeResult {
        match self.swap(turn, OFFERED, TAKEN_BACK) {
            Ok(_) => RevokeResult::Revoked,
            Err(found) if found == word(turn, TAKEN_BACK) => RevokeResult::Revoked,
            Err(_) => RevokeResult::AlreadyStarted,
        }
    }

    /// The worker has done the work of this turn, and wants to tell.
    pub fn finish(&self, turn: u64) -> FinishResult {
        match self.swap(turn, BEGUN, ENDED) {
            Ok(_) => FinishResult::Finished,
            Err(_) => FinishResult::Aborted,
        }
    }

    /// The sender has taken in what the worker has told of this turn's work.
    pub fn acknowledge(&self, turn: u64) {
        // A cell that was scribbled over is left alone: its worker writes elsewhere then.
        let _ = self.swap(turn, ENDED, HEARD);
    }

    /// Whether what the worker has told of this turn's work was taken in: the memory in which it has
    /// told it may be written again. A cell that is another turn's by now tells the same.
    #[must_use]
    pub fn is_acknowledged(&self, turn: u64) -> bool {
        self.word.load(Ordering::Acquire) != word(turn, ENDED)
    }

    /// The sender gives up the worker that does the work of this turn, unless it has ended it.
    pub fn abort(&self, turn: u64) -> AbortResult {
        match self.swap(turn, BEGUN, CONDEMNED) {
            Ok(_) => AbortResult::Aborted,
            Err(_) => AbortResult::NotRunning,
        }
    }

    /// Tells whose the work of this turn is now.
    #[must_use]
    pub fn owner(&self, turn: u64) -> Owner {
        let found = self.word.load(Ordering::Acquire);
        if found == word(turn, OFFERED) || found == word(turn, TAKEN_BACK) {
            Owner::Sender
        } else {
            Owner::Worker(MonotonicTime::from_nanos(self.begun.load(Ordering::Relaxed)))
        }
    }

    fn swap(&self, turn: u64, from: u64, to: u64) -> Result<u64, u64> {
        let (from, to) = (word(turn, from), word(turn, to));
        self.word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

impl Default for Claim {
    fn default() -> Claim {
        Claim::new()
    }
}

fn word(turn: u64, state: u64) -> u64 {
    turn << STATE_BITS | state
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn at(nanos: u64) -> MonotonicTime {
        MonotonicTime::from_nanos(nanos)
    }

    #[test]
    fn exactly_one_of_the_two_gets_the_work() {
        let cell = Claim::new();
        cell.offer(7);
        assert_eq!(cell.owner(7), Owner::Sender);
        assert_eq!(cell.start(7, at(3)), StartResult::Started);
        assert_eq!(cell.owner(7), Owner::Worker(at(3)));
        assert_eq!(cell.revoke(7), RevokeResult::AlreadyStarted);
        cell.offer(8);
        assert_eq!(cell.revoke(8), RevokeResult::Revoked);
        assert_eq!(cell.revoke(8), RevokeResult::Revoked);
        assert_eq!(cell.start(8, at(4)), StartResult::Revoked);
        assert_eq!(cell.owner(8), Owner::Sender);
    }

    #[test]
    fn a_worker_that_is_late_does_not_begin_another_turn_s_work() {
        let cell = Claim::new();
        cell.offer(1);
        assert_eq!(cell.revoke(1), RevokeResult::Revoked);
        cell.offer(65);
        assert_eq!(cell.start(1, at(3)), StartResult::Revoked);
        assert_eq!(cell.start(65, at(4)), StartResult::Started);
    }

    #[test]
    fn a_worker_that_is_condemned_tells_nothing_and_one_that_has_ended_is_not_condemned() {
        let cell = Claim::new();
        cell.offer(1);
        assert_eq!(cell.abort(1), AbortResult::NotRunning);
        assert_eq!(cell.start(1, at(3)), StartResult::Started);
        assert_eq!(cell.abort(1), AbortResult::Aborted);
        assert_eq!(cell.finish(1), FinishResult::Aborted);
        assert_eq!(cell.revoke(1), RevokeResult::AlreadyStarted);
        cell.offer(2);
        assert_eq!(cell.start(2, at(4)), StartResult::Started);
        assert_eq!(cell.finish(2), FinishResult::Finished);
        assert_eq!(cell.abort(2), AbortResult::NotRunning);
        assert_eq!(cell.owner(2), Owner::Worker(at(4)));
    }

    #[test]
    fn what_was_told_is_kept_until_it_is_heard_or_the_cell_is_another_turn_s() {
        let cell = Claim::new();
        for turn in [1, 65] {
            cell.offer(turn);
            assert_eq!(cell.start(turn, at(3)), StartResult::Started);
            assert_eq!(cell.finish(turn), FinishResult::Finished);
            assert!(!cell.is_acknowledged(turn));
        }
        assert!(cell.is_acknowledged(1));
        cell.acknowledge(1);
        assert!(!cell.is_acknowledged(65), "it was another turn's");
        cell.acknowledge(65);
        assert!(cell.is_acknowledged(65));
        assert_eq!(cell.abort(65), AbortResult::NotRunning);
        assert_eq!(cell.owner(65), Owner::Worker(at(3)));
    }

    #[test]
    fn a_cell_that_was_scribbled_over_counts_as_begun() {
        let cell = Claim::new();
        cell.offer(1);
        cell.word.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(cell.revoke(1), RevokeResult::AlreadyStarted);
        assert!(matches!(cell.owner(1), Owner::Worker(_)));
    }
}
