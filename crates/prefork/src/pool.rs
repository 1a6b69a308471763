//! How many workers there shall be, in which slots and when: a function of what is and of the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use daemon_core::{
    Counts, Generation, MAX_SLOTS, MonotonicTime, Pool, PoolRules, SlotNumber, Status, StopReason,
};
use daemon_sys::{Pid, Signal};

use crate::settings::{Intervals, Size};

/// The least time after a fork that the system has refused, whatever is set: a full table of
/// processes is no hot loop.
const MIN_FORK_BACKOFF: Duration = Duration::from_millis(100);

/// What is known of the workers, and the rules for how many there are.
#[derive(Debug)]
pub(crate) struct WorkerPool {
    size: PoolSizing,
    intervals: Intervals,
    counts: Counts,
    entries: Vec<Option<WorkerEntry>>,
    /// Slots that may be taken, by when they may.
    free: BTreeSet<(MonotonicTime, SlotNumber)>,
    idle: BTreeSet<SlotNumber>,
    /// When the next fork may be, by the interval between two.
    next_fork: MonotonicTime,
}

/// The rule for how many.
#[derive(Debug)]
enum PoolSizing {
    Fixed { max_workers: u32 },
    Spare { pool: Pool },
}

/// A slot that is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerEntry {
    /// Which of the slot's owners it is.
    pub(crate) owner: Generation,
    /// Its process, once it is forked.
    pub(crate) pid: Option<Pid>,
    /// Which start of the manager's it is of.
    pub(crate) generation: u32,
    /// When it was forked.
    pub(crate) forked_at: MonotonicTime,
    /// Why and how it was told to go, if it was.
    pub(crate) stop_request: Option<StopRequest>,
    counted: Status,
}

/// That a worker was told to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopRequest {
    pub(crate) reason: StopReason,
    /// The signal that has told it.
    pub(crate) by: Signal,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PoolAction {
    /// A worker is to be forked into this slot.
    Fork(SlotNumber),
    /// These are to be told to go.
    Stop(Vec<SlotNumber>),
    /// Nothing until something happens, or until this moment.
    Wait(Option<MonotonicTime>),
}

/// What a worker's end means for its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// As it should.
    Regular,
    /// A failure: its slot is not taken again before `err_respawn_interval` has passed since it was.
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

    /// Puts other numbers in force.
    pub(crate) fn set(&mut self, size: Size, intervals: Intervals) {
        self.size.set(size, intervals);
        self.intervals = intervals;
        self.next_fork = MonotonicTime::ZERO;
        self.update_free_slots();
    }

    /// Slots past the greatest number of workers are left alone, so that a worker that fails at once
    /// has no more slots to fail in than there may be workers.
    fn update_free_slots(&mut self) {
        let most = self.max_workers() as usize;
        let listed: BTreeMap<_, _> = self.free.iter().map(|(from, slot)| (*slot, *from)).collect();
        let free = (0..).map(SlotNumber::new).zip(&self.entries).take(most);
        self.free = free
            .filter(|(_, entry)| entry.is_none())
            .map(|(slot, _)| (listed.get(&slot).copied().unwrap_or(MonotonicTime::ZERO), slot))
            .collect();
    }

    /// A new generation begins: that those before it failed holds no slot of its up. What the system
    /// has refused is still waited for.
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

    /// All workers that are not reaped yet, those that are told to go too.
    pub(crate) fn workers(&self) -> u32 {
        self.counts.children()
    }

    /// Those that are forked and not reaped.
    pub(crate) fn living(&self) -> impl Iterator<Item = (SlotNumber, WorkerEntry, Pid)> + '_ {
        let all = (0..).map(SlotNumber::new).zip(&self.entries);
        all.filter_map(|(slot, entry)| entry.and_then(|entry| Some((slot, entry, entry.pid?))))
    }

    pub(crate) fn entry(&self, slot: SlotNumber) -> Option<&WorkerEntry> {
        self.entries.get(slot.index()).and_then(Option::as_ref)
    }

    /// Says what is to be done next. It is asked again after it is done.
    pub(crate) fn next(&mut self, now: MonotonicTime) -> PoolAction {
        let here = self.counts.children();
        let too_many = (here - self.counts.leaving()).saturating_sub(self.max_workers());
        let (wanted, retire, recheck_at) = match &mut self.size {
            PoolSizing::Fixed { max_workers } => (max_workers.saturating_sub(here), too_many, None),
            PoolSizing::Spare { pool } => {
                let verdict = pool.decide(&self.counts, now);
                (verdict.fork, verdict.retire.max(too_many), verdict.recheck_at)
            }
        };
        if retire > 0 {
            return PoolAction::Stop(self.workers_to_stop(retire as usize));
        }
        if wanted == 0 {
            return PoolAction::Wait(recheck_at);
        }
        // There are fewer workers than may be, so one of the slots is free.
        let Some((from, slot)) = self.free.first().copied() else {
            return PoolAction::Wait(recheck_at);
        };
        let from = from.max(self.next_fork);
        if now < from {
            return PoolAction::Wait(Some(recheck_at.map_or(from, |look| look.min(from))));
        }
        PoolAction::Fork(slot)
    }

    /// Those that wait, the last slots first; then any that were not told to go yet.
    fn workers_to_stop(&self, how_many: usize) -> Vec<SlotNumber> {
        let idle = self.idle.iter().rev().copied();
        let slots = (0..self.max_slots()).rev().map(SlotNumber::new);
        let others = slots.filter(|slot| {
            let stays = self.entry(*slot).is_some_and(|entry| entry.stop_request.is_none());
            stays && !self.idle.contains(slot)
        });
        idle.chain(others).take(how_many).collect()
    }

    /// Notes that a worker is about to be forked.
    pub(crate) fn set_forking(
        &mut self,
        slot: SlotNumber,
        owner: Generation,
        generation: u32,
        now: MonotonicTime,
    ) {
        // It is the first of them, if it was asked for.
        match self.free.first().copied() {
            Some(first @ (_, free)) if free == slot => self.free.remove(&first),
            Some(_) | None => false,
        };
        let counted = Status::Forking;
        let entry = WorkerEntry {
            owner,
            pid: None,
            generation,
            forked_at: now,
            stop_request: None,
            counted,
        };
        if let Some(place) = self.entries.get_mut(slot.index()) {
            *place = Some(entry);
            self.counts.record_fork();
        }
        self.next_fork = now + self.intervals.spawn_interval;
    }

    /// Notes that it was.
    pub(crate) fn set_forked(&mut self, slot: SlotNumber, pid: Pid) {
        if let Some(Some(entry)) = self.entries.get_mut(slot.index()) {
            entry.pid = Some(pid);
        }
    }

    /// Notes that the system has refused: nobody is forked for a while.
    pub(crate) fn set_fork_failed(&mut self, slot: SlotNumber, now: MonotonicTime) {
        self.free_slot(slot, MonotonicTime::ZERO);
        self.next_fork = now + self.intervals.err_respawn_interval.max(MIN_FORK_BACKOFF);
    }

    /// Notes what the scoreboard says that a worker does.
    pub(crate) fn set_status(&mut self, slot: SlotNumber, status: Status) {
        let Some(Some(entry)) = self.entries.get_mut(slot.index()) else {
            return;
        };
        // One that was told to go counts as going, whatever it still does; and a board that was
        // scribbled over makes nobody vanish.
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

    /// Notes that a worker was told to go; a later word replaces the former.
    pub(crate) fn stop_request(&mut self, slot: SlotNumber, stop_request: StopRequest) {
        if let Some(Some(entry)) = self.entries.get_mut(slot.index()) {
            entry.stop_request = Some(stop_request);
            self.counts.record_transition(entry.counted, Status::Leaving);
            entry.counted = Status::Leaving;
            self.idle.remove(&slot);
        }
    }

    /// Notes that a worker is gone and reaped.
    pub(crate) fn set_exited(&mut self, slot: SlotNumber, end: ExitKind, now: MonotonicTime) {
        let Some(entry) = self.entry(slot) else {
            return;
        };
        let from = match end {
            ExitKind::Regular => MonotonicTime::ZERO,
            ExitKind::Failure => entry.forked_at + self.intervals.err_respawn_interval,
        };
        // A slot that may be taken now stands in line by its number alone.
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
                    // The others follow at once, since they are too few.
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

    /// A pool that has started does not start again.
    fn set(&mut self, size: Size, intervals: Intervals) {
        match (&mut *self, PoolSizing::new(size, intervals)) {
            (PoolSizing::Spare { pool }, PoolSizing::Spare { pool: new }) => {
                // The numbers were checked.
                let _ = pool.set_rules(*new.rules());
            }
            (PoolSizing::Fixed { .. } | PoolSizing::Spare { .. }, new) => *self = new,
        }
    }
}

#[cfg(test)]
mod tests;
