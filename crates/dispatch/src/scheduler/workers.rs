//! The workers as the ledger knows them: who waits, who has what in hand, who begins nothing.

use std::collections::VecDeque;
use std::time::Duration;

use actix_daemon::{ChildId, Pid};
use daemon_core::MonotonicTime;

use super::{IN_FLIGHT_MAX, JobKey};

/// A task that is with a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    pub(super) turn: u64,
    pub(super) key: JobKey,
    /// How long it is expected to take, if that is known.
    estimate: Option<Duration>,
}

/// What a worker is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerState {
    /// To work.
    Active,
    /// To end what it has begun.
    Draining,
    /// To be killed.
    Condemned,
}

#[derive(Debug)]
struct WorkerRecord {
    child: ChildId,
    pid: Pid,
    state: WorkerState,
    /// In the order of sending, in which it works.
    in_flight: VecDeque<InFlight>,
    /// Since when the first in hand is the first.
    since: MonotonicTime,
    expected_load: Duration,
    /// How many in hand nobody knows the pace of.
    unknown: usize,
    take_recently_answered: bool,
    /// Whether it has begun what it was sent last, for all that is known.
    responsiveness: Responsiveness,
}

/// Whether a worker is to be sent anything while others are idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Responsiveness {
    Responsive,
    /// It did not begin what it was sent, in all the time that it had.
    Unresponsive,
}

impl WorkerRecord {
    fn put(&mut self, sent: InFlight, now: MonotonicTime) {
        if self.in_flight.is_empty() {
            self.since = now;
        }
        match sent.estimate {
            Some(estimate) => self.expected_load += estimate,
            None => self.unknown += 1,
        }
        self.in_flight.push_back(sent);
    }

    fn remove(&mut self, turn: u64) -> Option<InFlight> {
        let at = self.in_flight.iter().position(|sent| sent.turn == turn)?;
        let sent = self.in_flight.remove(at)?;
        match sent.estimate {
            Some(estimate) => self.expected_load = self.expected_load.saturating_sub(estimate),
            None => self.unknown = self.unknown.saturating_sub(1),
        }
        Some(sent)
    }
}

/// All workers, by slot.
#[derive(Debug)]
pub(super) struct WorkerTable {
    slots: Vec<Option<WorkerRecord>>,
    /// The number of the next task in each slot: no owner of a slot has one that another had.
    next_turn: Vec<u64>,
    /// Who has waited longest comes first.
    idle: VecDeque<usize>,
    recently_answered: Vec<usize>,
    working: usize,
    /// How many tasks are with workers that have something else before them.
    ahead: usize,
    /// How many workers are deaf.
    unresponsive: usize,
}

impl WorkerTable {
    pub(super) fn new(slots: usize) -> WorkerTable {
        WorkerTable {
            slots: (0..slots).map(|_slot| None).collect(),
            next_turn: vec![1; slots],
            idle: VecDeque::new(),
            recently_answered: Vec::new(),
            working: 0,
            ahead: 0,
            unresponsive: 0,
        }
    }

    fn get(&self, slot: usize) -> Option<&WorkerRecord> {
        self.slots.get(slot)?.as_ref()
    }

    fn get_mut(&mut self, slot: usize) -> Option<&mut WorkerRecord> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(super) fn ready(&mut self, child: ChildId, pid: Pid, now: MonotonicTime) {
        let slot = child.slot.index();
        let Some(entry) = self.slots.get_mut(slot) else { return };
        if entry.is_some() {
            // It says so twice, or its former owner's end is still to be told.
            return;
        }
        *entry = Some(WorkerRecord {
            child,
            pid,
            state: WorkerState::Active,
            in_flight: VecDeque::new(),
            since: now,
            expected_load: Duration::ZERO,
            unknown: 0,
            take_recently_answered: false,
            responsiveness: Responsiveness::Responsive,
        });
        self.working += 1;
        self.idle.push_back(slot);
    }

    fn set_state(&mut self, slot: usize, state: WorkerState) {
        let Some(worker) = self.get_mut(slot) else { return };
        let before = std::mem::replace(&mut worker.state, state);
        if before == WorkerState::Active {
            self.working -= 1;
            self.idle.retain(|idle| *idle != slot);
        }
    }

    pub(super) fn drain(&mut self, slot: usize) {
        if self.get(slot).is_some_and(|worker| worker.state == WorkerState::Active) {
            self.set_state(slot, WorkerState::Draining);
        }
    }

    /// It is to be killed; answers with which process, the first time.
    pub(super) fn condemn(&mut self, slot: usize) -> Option<Pid> {
        let worker = self.get(slot)?;
        let (pid, state) = (worker.pid, worker.state);
        self.set_state(slot, WorkerState::Condemned);
        (state != WorkerState::Condemned).then_some(pid)
    }

    /// It is gone; answers with what it had in hand, the first first.
    pub(super) fn remove(&mut self, child: ChildId) -> Option<VecDeque<InFlight>> {
        let slot = child.slot.index();
        if self.get(slot)?.child != child {
            return None;
        }
        self.set_state(slot, WorkerState::Draining);
        self.set_responsiveness(slot, Responsiveness::Responsive);
        let in_flight = self.slots.get_mut(slot)?.take()?.in_flight;
        self.ahead -= in_flight.len().saturating_sub(1);
        Some(in_flight)
    }

    /// It has answered this task, which is out of its hand now.
    pub(super) fn complete(
        &mut self,
        slot: usize,
        turn: u64,
        now: MonotonicTime,
    ) -> Option<JobKey> {
        let key = self.take_out(slot, turn)?;
        if let Some(worker) = self.get_mut(slot) {
            worker.since = now;
        }
        self.set_responsiveness(slot, Responsiveness::Responsive);
        self.record_answer(slot);
        Some(key)
    }

    /// It has answered since the last look.
    pub(super) fn record_answer(&mut self, slot: usize) {
        let Some(worker) = self.get_mut(slot) else { return };
        if !std::mem::replace(&mut worker.take_recently_answered, true) {
            self.recently_answered.push(slot);
        }
    }

    /// Takes a task out of its hand. Whose hand is empty waits.
    pub(super) fn take_out(&mut self, slot: usize, turn: u64) -> Option<JobKey> {
        let worker = self.get_mut(slot)?;
        let sent = worker.remove(turn)?;
        let (state, is_empty) = (worker.state, worker.in_flight.is_empty());
        if !is_empty {
            self.ahead -= 1;
        } else if state == WorkerState::Active {
            self.idle.push_back(slot);
        }
        Some(sent.key)
    }

    /// Puts a task into its hand; answers with its turn.
    pub(super) fn take(
        &mut self,
        slot: usize,
        key: JobKey,
        estimate: Option<Duration>,
        now: MonotonicTime,
    ) -> Option<(u64, Pid)> {
        let mut turn = *self.next_turn.get(slot)?;
        let worker = self.get_mut(slot)?;
        // A cell that a task in hand has is that task's: the turns between may have been taken back.
        let cell = |turn: u64| turn % IN_FLIGHT_MAX as u64;
        while worker.in_flight.iter().any(|sent| cell(sent.turn) == cell(turn)) {
            turn += 1;
        }
        let was_idle = worker.in_flight.is_empty();
        worker.put(InFlight { turn, key, estimate }, now);
        let pid = worker.pid;
        if let Some(next) = self.next_turn.get_mut(slot) {
            *next = turn + 1;
        }
        if was_idle {
            match self.idle.front() {
                Some(front) if *front == slot => drop(self.idle.pop_front()),
                Some(_) | None => self.idle.retain(|idle| *idle != slot),
            }
        } else {
            self.ahead += 1;
        }
        Some((turn, pid))
    }

    /// Who has waited longest; one that is deaf only if nobody else waits.
    pub(super) fn longest_idle(&self) -> Option<usize> {
        let set_responsiveness = |slot: &&usize| !self.is_unresponsive(**slot);
        self.idle.iter().find(set_responsiveness).or(self.idle.front()).copied()
    }

    fn set_responsiveness(&mut self, slot: usize, responsiveness: Responsiveness) {
        let Some(worker) = self.get_mut(slot) else { return };
        match (std::mem::replace(&mut worker.responsiveness, responsiveness), responsiveness) {
            (Responsiveness::Responsive, Responsiveness::Unresponsive) => self.unresponsive += 1,
            (Responsiveness::Unresponsive, Responsiveness::Responsive) => self.unresponsive -= 1,
            (Responsiveness::Responsive, Responsiveness::Responsive)
            | (Responsiveness::Unresponsive, Responsiveness::Unresponsive) => {}
        }
    }

    /// It has not begun what it was sent in all the time that it had.
    pub(super) fn mark_unresponsive(&mut self, slot: usize) {
        self.set_responsiveness(slot, Responsiveness::Unresponsive);
    }

    pub(super) fn is_unresponsive(&self, slot: usize) -> bool {
        self.get(slot).is_some_and(|worker| worker.responsiveness == Responsiveness::Unresponsive)
    }

    pub(super) fn in_flight(&self, slot: usize) -> Vec<InFlight> {
        self.get(slot).map(|worker| worker.in_flight.iter().copied().collect()).unwrap_or_default()
    }

    pub(super) fn oldest(&self, slot: usize) -> Option<InFlight> {
        self.get(slot)?.in_flight.front().copied()
    }

    pub(super) fn in_flight_count(&self, slot: usize) -> usize {
        self.get(slot).map_or(0, |worker| worker.in_flight.len())
    }

    /// How much work it has in hand; none if that is not known, or it takes no more.
    pub(super) fn expected_load(&self, slot: usize) -> Option<Duration> {
        let worker = self.get(slot)?;
        (worker.unknown == 0 && worker.state == WorkerState::Active).then_some(worker.expected_load)
    }

    /// How many are there to work.
    pub(super) fn count(&self) -> usize {
        self.working
    }

    pub(super) fn child(&self, slot: usize) -> Option<ChildId> {
        self.get(slot).map(|worker| worker.child)
    }

    pub(super) fn pid(&self, slot: usize) -> Option<Pid> {
        self.get(slot).map(|worker| worker.pid)
    }

    /// How many tasks are with workers that have something else before them, and how many workers are
    /// deaf: as counted, and as found.
    #[cfg(test)]
    pub(super) fn counts(&self) -> [(usize, usize); 2] {
        let extra = |(_, worker): (usize, &WorkerRecord)| worker.in_flight.len().saturating_sub(1);
        let unresponsive =
            self.all().filter(|(_, worker)| worker.responsiveness == Responsiveness::Unresponsive);
        [(self.ahead, self.unresponsive), (self.all().map(extra).sum(), unresponsive.count())]
    }

    #[cfg(test)]
    pub(super) fn state(&self, slot: usize) -> Option<WorkerState> {
        self.get(slot).map(|worker| worker.state)
    }

    pub(super) fn slots(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|slot| self.get(*slot).is_some()).collect()
    }

    fn all(&self) -> impl Iterator<Item = (usize, &WorkerRecord)> {
        let all = self.slots.iter().enumerate();
        all.filter_map(|(slot, entry)| entry.as_ref().map(|worker| (slot, worker)))
    }

    /// The first in each hand.
    pub(super) fn oldest_in_flight(&self) -> Vec<(usize, InFlight)> {
        self.all().filter_map(|(slot, worker)| Some((slot, *worker.in_flight.front()?))).collect()
    }

    /// What was sent to workers that have something else before it, the oldest first. Nobody is looked
    /// at if there is none.
    pub(super) fn sent_ahead(&self) -> Vec<(usize, InFlight)> {
        if self.ahead == 0 { Vec::new() } else { self.sent(|_any| 1) }
    }

    /// What deaf workers have in hand, the oldest first. Nobody is looked at if there is none.
    pub(super) fn sent_to_unresponsive(&self) -> Vec<(usize, InFlight)> {
        let from = |worker: &WorkerRecord| match worker.responsiveness {
            Responsiveness::Responsive => IN_FLIGHT_MAX,
            Responsiveness::Unresponsive => 0,
        };
        if self.unresponsive == 0 { Vec::new() } else { self.sent(from) }
    }

    /// What is in hands, from this place on, the oldest first.
    fn sent(&self, from: impl Fn(&WorkerRecord) -> usize) -> Vec<(usize, InFlight)> {
        let hands = self.all().flat_map(|(slot, worker)| {
            worker.in_flight.iter().skip(from(worker)).map(move |sent| (slot, *sent))
        });
        let mut sent: Vec<(usize, InFlight)> = hands.collect();
        sent.sort_by_key(|(_slot, sent)| sent.key.id);
        sent
    }

    /// For how long the first in hand has been the first.
    pub(super) fn oldest_for(&self, slot: usize, now: MonotonicTime) -> Duration {
        self.get(slot).map_or(Duration::ZERO, |worker| now.saturating_since(worker.since))
    }

    /// Who does one thing for so long while others wait behind it.
    pub(super) fn stalled(&self, now: MonotonicTime, most: Duration) -> Vec<usize> {
        let is_stalled = |worker: &WorkerRecord| {
            worker.in_flight.len() > 1 && now.saturating_since(worker.since) >= most
        };
        self.all().filter(|(_, worker)| is_stalled(worker)).map(|(slot, _)| slot).collect()
    }

    /// When this one will have done one thing for so long while others wait behind it.
    pub(super) fn stalled_at(&self, slot: usize, most: Duration) -> Option<MonotonicTime> {
        self.get(slot).filter(|worker| worker.in_flight.len() > 1).map(|worker| worker.since + most)
    }

    /// Who has answered since the last look.
    pub(super) fn take_recently_answered(&mut self) -> Vec<usize> {
        let recently_answered = std::mem::take(&mut self.recently_answered);
        for slot in &recently_answered {
            if let Some(worker) = self.get_mut(*slot) {
                worker.take_recently_answered = false;
            }
        }
        recently_answered
    }

    /// Keeps the room of an empty list for the next look.
    pub(super) fn return_buffer(&mut self, empty: Vec<usize>) {
        if self.recently_answered.is_empty() {
            self.recently_answered = empty;
        }
    }
}
