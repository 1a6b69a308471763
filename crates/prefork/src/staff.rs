//! How many workers there shall be, in which slots and when: a function of what is and of the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use daemon_core::{
    Counts, Generation, MAX_SLOTS, MonotonicTime, Pool, PoolRules, SlotNumber, Status, StopReason,
};
use daemon_sys::{Pid, Signal};

use crate::settings::{Paces, Size};

/// The least time after a fork that the system has refused, whatever is set: a full table of
/// processes is no hot loop.
const BREATH: Duration = Duration::from_millis(100);

/// What is known of the workers, and the rules for how many there are.
#[derive(Debug)]
pub(crate) struct Staff {
    size: Sizing,
    paces: Paces,
    census: Counts,
    desks: Vec<Option<Desk>>,
    /// Slots that may be taken, by when they may.
    free: BTreeSet<(MonotonicTime, SlotNumber)>,
    idle: BTreeSet<SlotNumber>,
    /// When the next fork may be, by the interval between two.
    next_fork: MonotonicTime,
}

/// The rule for how many.
#[derive(Debug)]
enum Sizing {
    Fixed { max_workers: u32 },
    Spare { pool: Pool },
}

/// A slot that is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Desk {
    /// Which of the slot's owners it is.
    pub(crate) owner: Generation,
    /// Its process, once it is forked.
    pub(crate) pid: Option<Pid>,
    /// Which start of the manager's it is of.
    pub(crate) generation: u32,
    /// When it was forked.
    pub(crate) born: MonotonicTime,
    /// Why and how it was told to go, if it was.
    pub(crate) dismissed: Option<Told>,
    counted: Status,
}

/// That a worker was told to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) why: StopReason,
    /// The signal that has told it.
    pub(crate) by: Signal,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A worker is to be forked into this slot.
    Fork(SlotNumber),
    /// These are to be told to go.
    Retire(Vec<SlotNumber>),
    /// Nothing until something happens, or until this moment.
    Rest(Option<MonotonicTime>),
}

/// What a worker's end means for its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Good,
    /// A failure: its slot is not taken again before `err_respawn_interval` has passed since it was.
    Bad,
}

impl Staff {
    pub(crate) fn new(size: Size, paces: Paces, slots: u32) -> Staff {
        let mut staff = Staff {
            size: Sizing::new(size, paces),
            paces,
            census: Counts::default(),
            desks: vec![None; slots.min(MAX_SLOTS) as usize],
            free: BTreeSet::new(),
            idle: BTreeSet::new(),
            next_fork: MonotonicTime::ZERO,
        };
        staff.list_free();
        staff
    }

    /// Puts other numbers in force.
    pub(crate) fn set(&mut self, size: Size, paces: Paces) {
        self.size.set(size, paces);
        self.paces = paces;
        self.next_fork = MonotonicTime::ZERO;
        self.list_free();
    }

    /// Slots past the greatest number of workers are left alone, so that a worker that fails at once
    /// has no more slots to fail in than there may be workers.
    fn list_free(&mut self) {
        let most = self.max_workers() as usize;
        let listed: BTreeMap<_, _> = self.free.iter().map(|(from, slot)| (*slot, *from)).collect();
        let free = (0..).map(SlotNumber::new).zip(&self.desks).take(most);
        self.free = free
            .filter(|(_, desk)| desk.is_none())
            .map(|(slot, _)| (listed.get(&slot).copied().unwrap_or(MonotonicTime::ZERO), slot))
            .collect();
    }

    /// A new generation begins: that those before it failed holds no slot of its up. What the system
    /// has refused is still waited for.
    pub(crate) fn begin(&mut self) {
        self.free = self.free.iter().map(|(_, slot)| (MonotonicTime::ZERO, *slot)).collect();
    }

    fn max_slots(&self) -> u32 {
        u32::try_from(self.desks.len()).unwrap_or(MAX_SLOTS)
    }

    pub(crate) fn max_workers(&self) -> u32 {
        match &self.size {
            Sizing::Fixed { max_workers } => *max_workers,
            Sizing::Spare { pool } => pool.rules().max_children,
        }
    }

    /// All workers that are not reaped yet, those that are told to go too.
    pub(crate) fn workers(&self) -> u32 {
        self.census.children()
    }

    /// Those that are forked and not reaped.
    pub(crate) fn living(&self) -> impl Iterator<Item = (SlotNumber, Desk, Pid)> + '_ {
        let all = (0..).map(SlotNumber::new).zip(&self.desks);
        all.filter_map(|(slot, desk)| desk.and_then(|desk| Some((slot, desk, desk.pid?))))
    }

    pub(crate) fn desk(&self, slot: SlotNumber) -> Option<&Desk> {
        self.desks.get(slot.index()).and_then(Option::as_ref)
    }

    /// Says what is to be done next. It is asked again after it is done.
    pub(crate) fn next(&mut self, now: MonotonicTime) -> Step {
        let here = self.census.children();
        let too_many = (here - self.census.leaving()).saturating_sub(self.max_workers());
        let (wanted, retire, recheck_at) = match &mut self.size {
            Sizing::Fixed { max_workers } => (max_workers.saturating_sub(here), too_many, None),
            Sizing::Spare { pool } => {
                let verdict = pool.decide(&self.census, now);
                (verdict.fork, verdict.retire.max(too_many), verdict.recheck_at)
            }
        };
        if retire > 0 {
            return Step::Retire(self.least_wanted(retire as usize));
        }
        if wanted == 0 {
            return Step::Rest(recheck_at);
        }
        // There are fewer workers than may be, so one of the slots is free.
        let Some((from, slot)) = self.free.first().copied() else {
            return Step::Rest(recheck_at);
        };
        let from = from.max(self.next_fork);
        if now < from {
            return Step::Rest(Some(recheck_at.map_or(from, |look| look.min(from))));
        }
        Step::Fork(slot)
    }

    /// Those that wait, the last slots first; then any that were not told to go yet.
    fn least_wanted(&self, how_many: usize) -> Vec<SlotNumber> {
        let idle = self.idle.iter().rev().copied();
        let slots = (0..self.max_slots()).rev().map(SlotNumber::new);
        let others = slots.filter(|slot| {
            let stays = self.desk(*slot).is_some_and(|desk| desk.dismissed.is_none());
            stays && !self.idle.contains(slot)
        });
        idle.chain(others).take(how_many).collect()
    }

    /// Notes that a worker is about to be forked.
    pub(crate) fn ordered(
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
        let desk = Desk { owner, pid: None, generation, born: now, dismissed: None, counted };
        if let Some(place) = self.desks.get_mut(slot.index()) {
            *place = Some(desk);
            self.census.opened();
        }
        self.next_fork = now + self.paces.spawn_interval;
    }

    /// Notes that it was.
    pub(crate) fn forked(&mut self, slot: SlotNumber, pid: Pid) {
        if let Some(Some(desk)) = self.desks.get_mut(slot.index()) {
            desk.pid = Some(pid);
        }
    }

    /// Notes that the system has refused: nobody is forked for a while.
    pub(crate) fn refused(&mut self, slot: SlotNumber, now: MonotonicTime) {
        self.leave(slot, MonotonicTime::ZERO);
        self.next_fork = now + self.paces.err_respawn_interval.max(BREATH);
    }

    /// Notes what the scoreboard says that a worker does.
    pub(crate) fn seen(&mut self, slot: SlotNumber, status: Status) {
        let Some(Some(desk)) = self.desks.get_mut(slot.index()) else {
            return;
        };
        // One that was told to go counts as going, whatever it still does; and a board that was
        // scribbled over makes nobody vanish.
        if desk.dismissed.is_some() || status == Status::Empty {
            return;
        }
        self.census.moved(desk.counted, status);
        desk.counted = status;
        if status.is_idle() {
            self.idle.insert(slot);
        } else {
            self.idle.remove(&slot);
        }
    }

    /// Notes that a worker was told to go; a later word replaces the former.
    pub(crate) fn dismissed(&mut self, slot: SlotNumber, told: Told) {
        if let Some(Some(desk)) = self.desks.get_mut(slot.index()) {
            desk.dismissed = Some(told);
            self.census.moved(desk.counted, Status::Leaving);
            desk.counted = Status::Leaving;
            self.idle.remove(&slot);
        }
    }

    /// Notes that a worker is gone and reaped.
    pub(crate) fn gone(&mut self, slot: SlotNumber, end: End, now: MonotonicTime) {
        let Some(desk) = self.desk(slot) else {
            return;
        };
        let from = match end {
            End::Good => MonotonicTime::ZERO,
            End::Bad => desk.born + self.paces.err_respawn_interval,
        };
        // A slot that may be taken now stands in line by its number alone.
        self.leave(slot, if now < from { from } else { MonotonicTime::ZERO });
    }

    fn leave(&mut self, slot: SlotNumber, from: MonotonicTime) {
        let left = self.desks.get_mut(slot.index()).and_then(Option::take);
        if let Some(desk) = left {
            self.census.moved(desk.counted, Status::Empty);
            self.idle.remove(&slot);
            if slot.get() < self.max_workers() {
                self.free.insert((from, slot));
            }
        }
    }
}

impl Sizing {
    fn new(size: Size, paces: Paces) -> Sizing {
        match size {
            Size::Fixed { max_workers } => Sizing::Fixed { max_workers },
            Size::Spare { min_spare_workers, max_spare_workers, max_workers } => {
                let rules = PoolRules {
                    // The others follow at once, since they are too few.
                    start: 1,
                    min_spare: min_spare_workers,
                    max_spare: max_spare_workers,
                    max_children: max_workers,
                    linger: paces.heartbeat,
                };
                Sizing::Spare { pool: Pool::new(rules) }
            }
        }
    }

    /// A pool that has started does not start again.
    fn set(&mut self, size: Size, paces: Paces) {
        match (&mut *self, Sizing::new(size, paces)) {
            (Sizing::Spare { pool }, Sizing::Spare { pool: new }) => {
                // The numbers were checked.
                let _ = pool.set_rules(*new.rules());
            }
            (Sizing::Fixed { .. } | Sizing::Spare { .. }, new) => *self = new,
        }
    }
}

#[cfg(test)]
mod tests;
