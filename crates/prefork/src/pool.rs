//! Decides how many workers to run, in which slots and when. Makes no system calls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use daemon_core::{
    ChildId, Counts, MAX_SLOTS, MonotonicTime, Pool, PoolRules, Signal, SlotNumber, Status,
    StopReason,
};

use crate::settings::{Intervals, Size};

/// The minimum time between a fork that the system has refused and the next attempt, so that a full
/// process table does not cause a busy loop.
const MIN_FORK_BACKOFF: Duration = Duration::from_millis(100);

/// The workers, and the rules for their number.
#[derive(Debug)]
pub(crate) struct WorkerPool {
    size: PoolSizing,
    intervals: Intervals,
    counts: Counts,
    entries: Vec<Option<WorkerEntry>>,
    /// The free slots, sorted by the time from which they may be used.
    free: BTreeSet<(MonotonicTime, SlotNumber)>,
    idle: BTreeSet<SlotNumber>,
    /// The earliest time of the next fork.
    next_fork: MonotonicTime,
}

/// The rule for the number of workers.
#[derive(Debug)]
enum PoolSizing {
    Fixed { max_workers: u32 },
    Spare { pool: Pool },
}

/// The worker that occupies a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerEntry {
    pub(crate) child: ChildId,
    /// The manager's generation in which the worker was forked.
    pub(crate) generation: u32,
    /// When the worker was forked.
    pub(crate) forked_at: MonotonicTime,
    /// The last request to stop, if there was one.
    pub(crate) stop_request: Option<StopRequest>,
    counted: Status,
}

/// A request to a worker to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopRequest {
    pub(crate) reason: StopReason,
    /// The signal that was sent.
    pub(crate) signal: Signal,
}

/// What the manager does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PoolAction {
    /// Fork a worker into this slot.
    Fork(SlotNumber),
    /// Ask the workers in these slots to stop.
    Stop(Vec<SlotNumber>),
    /// Wait for an event, or until this time.
    Wait(Option<MonotonicTime>),
}

/// How a worker exited, which decides when its slot may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// The worker succeeded, was asked to stop, or belongs to an earlier generation.
    Regular,
    /// The worker failed. Its slot stays empty until `err_respawn_interval` has passed since the
    /// fork.
    Failure,
}

impl WorkerPool {
    pub(crate) fn new(size: Size, intervals: Intervals, slots: u32) -> WorkerPool {
        let mut pool = WorkerPool {
            size: PoolSizing::new(size, intervals),
            intervals,
            counts: Counts::default(),
            entries: vec![None; slots.min(MAX_SLOTS) as usize],
            free: BTreeSet::new(),
            idle: BTreeSet::new(),
            next_fork: MonotonicTime::ZERO,
        };
        pool.update_free_slots();
        pool
    }

    /// Changes the size and the intervals.
    pub(crate) fn set(&mut self, size: Size, intervals: Intervals) {
        self.size.set(size, intervals);
        self.intervals = intervals;
        self.next_fork = MonotonicTime::ZERO;
        self.update_free_slots();
    }

    /// Recomputes the free slots. Only slots with a number below `max_workers` are used. If all
    /// slots were used, a worker that failed would be replaced at once in another slot, while its
    /// own slot still waits.
    fn update_free_slots(&mut self) {
        let most = self.max_workers() as usize;
        let listed: BTreeMap<_, _> = self.free.iter().map(|(from, slot)| (*slot, *from)).collect();
        let free = (0..).map(SlotNumber::new).zip(&self.entries).take(most);
        self.free = free
            .filter(|(_, entry)| entry.is_none())
            .map(|(slot, _)| (listed.get(&slot).copied().unwrap_or(MonotonicTime::ZERO), slot))
            .collect();
    }

    /// Starts a new generation: slots that wait because their worker failed may be used at once.
    /// The backoff after a refused fork still applies.
    pub(crate) fn begin_generation(&mut self) {
        self.free = self.free.iter().map(|(_, slot)| (MonotonicTime::ZERO, *slot)).collect();
    }

    fn max_slots(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(MAX_SLOTS)
    }

    pub(crate) fn max_workers(&self) -> u32 {
        match &self.size {
            PoolSizing::Fixed { max_workers } => *max_workers,
            PoolSizing::Spare { pool } => pool.rules().max_children,
        }
    }

    /// Returns the number of workers that are not reaped yet, including those that were asked to
    /// stop.
    pub(crate) fn workers(&self) -> u32 {
        self.counts.children()
    }

    /// Returns the workers that are not reaped.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &WorkerEntry> {
        self.entries.iter().flatten()
    }

    /// Returns the worker in a slot.
    pub(crate) fn child_in(&self, slot: SlotNumber) -> Option<ChildId> {
        self.entry(slot).map(|entry| entry.child)
    }

    pub(crate) fn entry(&self, slot: SlotNumber) -> Option<&WorkerEntry> {
        self.entries.get(slot.index()).and_then(Option::as_ref)
    }

    /// Returns the next action. Call this again after the action is done.
    pub(crate) fn next(&mut self, now: MonotonicTime) -> PoolAction {
        let workers = self.counts.children();
        let excess = (workers - self.counts.leaving()).saturating_sub(self.max_workers());
        let (wanted, retire, recheck_at) = match &mut self.size {
            PoolSizing::Fixed { max_workers } => {
                (max_workers.saturating_sub(workers), excess, None)
            }
            PoolSizing::Spare { pool } => {
                let decision = pool.decide(&self.counts, now);
                (decision.fork, decision.retire.max(excess), decision.recheck_at)
            }
        };
        if retire > 0 {
            return PoolAction::Stop(self.workers_to_stop(retire as usize));
        }
        if wanted == 0 {
            return PoolAction::Wait(recheck_at);
        }
        // There are fewer workers than `max_workers`, so a slot is free.
        let Some((from, slot)) = self.free.first().copied() else {
            return PoolAction::Wait(recheck_at);
        };
        let from = from.max(self.next_fork);
        if now < from {
            return PoolAction::Wait(Some(recheck_at.map_or(from, |recheck| recheck.min(from))));
        }
        PoolAction::Fork(slot)
    }

    /// Returns `count` workers to stop: first the idle workers, then others that were not asked to
    /// stop yet, both from the highest slot down.
    fn workers_to_stop(&self, count: usize) -> Vec<SlotNumber> {
        let idle = self.idle.iter().rev().copied();
        let slots = (0..self.max_slots()).rev().map(SlotNumber::new);
        let others = slots.filter(|slot| {
            let stays = self.entry(*slot).is_some_and(|entry| entry.stop_request.is_none());
            stays && !self.idle.contains(slot)
        });
        idle.chain(others).take(count).collect()
    }

    /// Records that a worker is about to be forked.
    pub(crate) fn set_forking(&mut self, child: ChildId, generation: u32, now: MonotonicTime) {
        let slot = child.slot;
        // `next` returned the first free slot.
        match self.free.first().copied() {
            Some(first @ (_, free)) if free == slot => self.free.remove(&first),
            Some(_) | None => false,
        };
        let counted = Status::Forking;
        let entry = WorkerEntry { child, generation, forked_at: now, stop_request: None, counted };
        if let Some(slot_entry) = self.entries.get_mut(slot.index()) {
            *slot_entry = Some(entry);
            self.counts.record_fork();
        }
        self.next_fork = now + self.intervals.spawn_interval;
    }

    /// Records that the system has refused a fork. No worker is forked until the backoff has
    /// passed.
    pub(crate) fn set_fork_failed(&mut self, slot: SlotNumber, now: MonotonicTime) {
        self.free_slot(slot, MonotonicTime::ZERO);
        self.delay_forks(now);
    }

    /// Records that a free slot cannot be used at present. No worker is forked until the backoff
    /// has passed.
    pub(crate) fn delay_forks(&mut self, now: MonotonicTime) {
        self.next_fork = now + self.intervals.err_respawn_interval.max(MIN_FORK_BACKOFF);
    }

    /// Records a worker's status, as read from the scoreboard.
    pub(crate) fn set_status(&mut self, slot: SlotNumber, status: Status) {
        let Some(Some(entry)) = self.entries.get_mut(slot.index()) else {
            return;
        };
        // A worker that was asked to stop counts as leaving, whatever it reports. `Empty` can only
        // come from a damaged scoreboard.
        if entry.stop_request.is_some() || status == Status::Empty {
            return;
        }
        self.counts.record_transition(entry.counted, status);
        entry.counted = status;
        if status.is_idle() {
            self.idle.insert(slot);
        } else {
            self.idle.remove(&slot);
        }
    }

    /// Records that a worker was asked to stop. A later request replaces an earlier one.
    pub(crate) fn request_stop(&mut self, slot: SlotNumber, stop_request: StopRequest) {
        if let Some(Some(entry)) = self.entries.get_mut(slot.index()) {
            entry.stop_request = Some(stop_request);
            self.counts.record_transition(entry.counted, Status::Leaving);
            entry.counted = Status::Leaving;
            self.idle.remove(&slot);
        }
    }

    /// Records that a worker has exited and was reaped.
    pub(crate) fn set_exited(&mut self, slot: SlotNumber, kind: ExitKind, now: MonotonicTime) {
        let Some(entry) = self.entry(slot) else {
            return;
        };
        let from = match kind {
            ExitKind::Regular => MonotonicTime::ZERO,
            ExitKind::Failure => entry.forked_at + self.intervals.err_respawn_interval,
        };
        // A slot that may be used now gets the time zero, so that such slots are sorted by number
        // only.
        self.free_slot(slot, if now < from { from } else { MonotonicTime::ZERO });
    }

    fn free_slot(&mut self, slot: SlotNumber, from: MonotonicTime) {
        let left = self.entries.get_mut(slot.index()).and_then(Option::take);
        if let Some(entry) = left {
            self.counts.record_transition(entry.counted, Status::Empty);
            self.idle.remove(&slot);
            if slot.get() < self.max_workers() {
                self.free.insert((from, slot));
            }
        }
    }
}

impl PoolSizing {
    fn new(size: Size, intervals: Intervals) -> PoolSizing {
        match size {
            Size::Fixed { max_workers } => PoolSizing::Fixed { max_workers },
            Size::Spare { min_spare_workers, max_spare_workers, max_workers } => {
                let rules = PoolRules {
                    // Right after the first worker, the pool forks more workers, up to `min_spare`.
                    start: 1,
                    min_spare: min_spare_workers,
                    max_spare: max_spare_workers,
                    max_children: max_workers,
                    retire_delay: intervals.heartbeat,
                };
                PoolSizing::Spare { pool: Pool::new(rules) }
            }
        }
    }

    /// Changes the rules. A spare pool keeps its state, so it does not fork its initial worker
    /// again.
    fn set(&mut self, size: Size, intervals: Intervals) {
        match (&mut *self, PoolSizing::new(size, intervals)) {
            (PoolSizing::Spare { pool }, PoolSizing::Spare { pool: new }) => {
                // This cannot fail: the numbers have been checked.
                let _ = pool.set_rules(*new.rules());
            }
            (PoolSizing::Fixed { .. } | PoolSizing::Spare { .. }, new) => *self = new,
        }
    }
}

#[cfg(test)]
mod tests;
