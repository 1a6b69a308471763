//! Ownership of a task that has been sent to a worker. The task belongs to the worker as soon as
//! the worker starts it. Until then, the sender can revoke it.
//!
//! A busy worker reads no messages, so the sender cannot ask it for the task. Instead, both sides
//! change a cell in shared memory by compare-and-swap, so that exactly one side gets the task. If a
//! worker dies, its cell shows whether the worker had started the task. The cell also decides
//! whether a task finished before the sender aborted the worker. An aborted worker starts no other
//! task.

use crate::atomics::{AtomicU64, Ordering};
use crate::monotonic::MonotonicTime;

/// A cell of shared memory that records who owns a task. A cell is used for one task at a time.
///
/// Tasks are identified by a number that is never used twice for the same worker. Zeroed memory is
/// an unused cell.
///
/// # Examples
///
/// ```
/// use daemon_core::{StartResult, Claim, MonotonicTime, Owner, RevokeResult};
///
/// let cell = Claim::new();
/// cell.offer(1);
/// assert_eq!(cell.start(1, MonotonicTime::from_nanos(5)), StartResult::Started);
/// assert_eq!(cell.revoke(1), RevokeResult::AlreadyStarted);
/// cell.offer(2);
/// assert_eq!(cell.revoke(2), RevokeResult::Revoked);
/// assert_eq!(cell.start(2, MonotonicTime::from_nanos(9)), StartResult::Revoked);
/// assert_eq!(cell.owner(2), Owner::Sender);
/// ```
#[repr(C)]
#[derive(Debug)]
#[cfg_attr(not(loom), derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout))]
pub struct Claim {
    /// The task's number, and in its lower bits the state.
    word: AtomicU64,
    /// When the task was started.
    started_at: AtomicU64,
}

/// Whether a worker may run the task that it wants to start.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "a revoked task belongs to its sender"]
pub enum StartResult {
    /// The worker owns the task.
    Started,
    /// The sender has revoked the task.
    Revoked,
}

/// Whether the sender owns the task again.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "a task that was started must not run a second time"]
pub enum RevokeResult {
    /// The sender owns the task: the worker has not started it, and will not start it.
    Revoked,
    /// The worker has started the task.
    AlreadyStarted,
}

/// The owner of a task.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// The sender, because the task was not started.
    Sender,
    /// The worker, which started the task at this time. The worker has written the time, so it can
    /// be any value.
    Worker(MonotonicTime),
    /// The worker, which has finished the task and sends its result.
    Finished,
    /// Unknown, because the cell is damaged: its contents do not belong to a task that was sent.
    Unknown,
}

/// Whether a worker may send the result of its task.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "an aborted worker must do nothing more"]
pub enum FinishResult {
    /// The worker may send the result, and may run other tasks.
    Finished,
    /// The worker must not send the result: the sender has aborted the worker, whose process is
    /// being killed.
    Aborted,
}

/// Whether a worker was aborted because of its task.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "a worker that is not aborted must not be killed: it may have finished the task"]
pub enum AbortResult {
    /// The worker was aborted, and will start no other task.
    Aborted,
    /// The worker has not started the task, or has finished it and the result is on its way.
    NotRunning,
}

const STATE_BITS: u32 = 3;
const OFFERED: u64 = 1;
const STARTED: u64 = 2;
const REVOKED: u64 = 3;
const FINISHED: u64 = 4;
const ABORTED: u64 = 5;
const ACKNOWLEDGED: u64 = 6;

impl Claim {
    /// Creates a cell that is not in shared memory, for unit tests and loom tests.
    #[must_use]
    pub fn new() -> Claim {
        Claim { word: AtomicU64::new(0), started_at: AtomicU64::new(0) }
    }

    /// Offers a task; called by the sender. The cell's previous task must have been revoked or
    /// finished, or its worker must have been aborted.
    pub fn offer(&self, task: u64) {
        // The worker loads the cell only after it has received the message with the task, so it
        // sees this store.
        self.word.store(word(task, OFFERED), Ordering::Release);
    }

    /// Starts a task unless it was revoked; called by the worker. Also returns `Revoked` if the
    /// cell is now used for another task.
    pub fn start(&self, task: u64, now: MonotonicTime) -> StartResult {
        // The time is stored before the state, so that a reader that sees the state `STARTED` also
        // sees the time.
        self.started_at.store(now.as_nanos(), Ordering::Relaxed);
        match self.swap(task, OFFERED, STARTED) {
            Ok(_) => StartResult::Started,
            Err(_) => StartResult::Revoked,
        }
    }

    /// Revokes a task unless it was started; called by the sender. A damaged cell counts as
    /// started, because reporting a task as lost is better than running it twice.
    pub fn revoke(&self, task: u64) -> RevokeResult {
        match self.swap(task, OFFERED, REVOKED) {
            Ok(_) => RevokeResult::Revoked,
            Err(found) if found == word(task, REVOKED) => RevokeResult::Revoked,
            Err(_) => RevokeResult::AlreadyStarted,
        }
    }

    /// Marks a task as finished; called by the worker before it sends the result.
    pub fn finish(&self, task: u64) -> FinishResult {
        match self.swap(task, STARTED, FINISHED) {
            Ok(_) => FinishResult::Finished,
            Err(_) => FinishResult::Aborted,
        }
    }

    /// Acknowledges the result of a task; called by the sender.
    pub fn acknowledge(&self, task: u64) {
        // A damaged cell is not changed: its task already counts as acknowledged.
        let _ = self.swap(task, FINISHED, ACKNOWLEDGED);
    }

    /// Returns whether the result of a task was acknowledged, so that the memory with the result
    /// can be reused. Also returns `true` if the cell is now used for another task.
    #[must_use]
    pub fn is_acknowledged(&self, task: u64) -> bool {
        self.word.load(Ordering::Acquire) != word(task, FINISHED)
    }

    /// Aborts the worker that runs a task, unless the task is finished; called by the sender.
    pub fn abort(&self, task: u64) -> AbortResult {
        match self.swap(task, STARTED, ABORTED) {
            Ok(_) => AbortResult::Aborted,
            Err(_) => AbortResult::NotRunning,
        }
    }

    /// Returns the current owner of a task that was sent and whose result was not acknowledged.
    #[must_use]
    pub fn owner(&self, task: u64) -> Owner {
        let found = self.word.load(Ordering::Acquire);
        let is = |state| found == word(task, state);
        if is(OFFERED) || is(REVOKED) {
            Owner::Sender
        } else if is(STARTED) {
            Owner::Worker(MonotonicTime::from_nanos(self.started_at.load(Ordering::Relaxed)))
        } else if is(FINISHED) {
            Owner::Finished
        } else {
            Owner::Unknown
        }
    }

    fn swap(&self, task: u64, from: u64, to: u64) -> Result<u64, u64> {
        let (from, to) = (word(task, from), word(task, to));
        self.word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

impl Default for Claim {
    fn default() -> Claim {
        Claim::new()
    }
}

fn word(task: u64, state: u64) -> u64 {
    task << STATE_BITS | state
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn at(nanos: u64) -> MonotonicTime {
        MonotonicTime::from_nanos(nanos)
    }

    #[test]
    fn a_task_belongs_to_either_the_sender_or_the_worker() {
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
    fn a_revoked_task_cannot_be_started_after_its_cell_was_reused() {
        let cell = Claim::new();
        cell.offer(1);
        assert_eq!(cell.revoke(1), RevokeResult::Revoked);
        cell.offer(65);
        assert_eq!(cell.start(1, at(3)), StartResult::Revoked);
        assert_eq!(cell.start(65, at(4)), StartResult::Started);
    }

    #[test]
    fn a_started_task_is_either_finished_or_aborted() {
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
        assert_eq!(cell.owner(2), Owner::Finished);
    }

    #[test]
    fn a_result_is_kept_until_it_is_acknowledged_or_the_cell_is_reused() {
        let cell = Claim::new();
        for task in [1, 65] {
            cell.offer(task);
            assert_eq!(cell.start(task, at(3)), StartResult::Started);
            assert_eq!(cell.finish(task), FinishResult::Finished);
            assert!(!cell.is_acknowledged(task));
        }
        assert!(cell.is_acknowledged(1));
        cell.acknowledge(1);
        assert!(!cell.is_acknowledged(65), "acknowledging task 1 has no effect on task 65");
        cell.acknowledge(65);
        assert!(cell.is_acknowledged(65));
        assert_eq!(cell.abort(65), AbortResult::NotRunning);
        assert_eq!(cell.owner(65), Owner::Unknown);
    }

    #[test]
    fn a_damaged_cell_counts_as_started_and_has_no_known_owner() {
        let cell = Claim::new();
        let others = [word(1, 0), word(1, ABORTED), word(1, ACKNOWLEDGED), word(1, 7), word(2, 1)];
        for damage in [0, u64::MAX].into_iter().chain(others) {
            cell.offer(1);
            cell.word.store(damage, Ordering::Relaxed);
            assert_eq!(cell.revoke(1), RevokeResult::AlreadyStarted, "{damage}");
            assert_eq!(cell.abort(1), AbortResult::NotRunning, "{damage}");
            assert_eq!(cell.owner(1), Owner::Unknown, "{damage}");
        }
    }
}
