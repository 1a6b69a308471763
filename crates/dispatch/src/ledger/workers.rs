//! The workers as the ledger knows them: who waits, who has what in hand, who begins nothing.

use std::collections::VecDeque;
use std::time::Duration;

use actix_daemon::{ChildId, Pid};
use daemon_core::MonotonicTime;

use super::{IN_HAND_MAX, Key};

/// A task that is with a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) turn: u64,
    pub(super) key: Key,
    /// How long it is expected to take, if that is known.
    pace: Option<Duration>,
}

/// What a worker is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// To work.
    Working,
    /// To end what it has begun.
    Leaving,
    /// To be killed.
    Condemned,
}

#[derive(Debug)]
struct Worker {
    child: ChildId,
    pid: Pid,
    stage: Stage,
    /// In the order of sending, in which it works.
    hand: VecDeque<Sent>,
    /// Since when the first in hand is the first.
    since: MonotonicTime,
    load: Duration,
    /// How many in hand nobody knows the pace of.
    unknown: usize,
    answered_lately: bool,
    /// Whether it has begun what it was sent last, for all that is known.
    ears: SignalListener,
}

/// Whether a worker is to be sent anything while others are idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignalListener {
    Open,
    /// It did not begin what it was sent, in all the time that it had.
    Deaf,
}

impl Worker {
    fn put(&mut self, sent: Sent, now: MonotonicTime) {
        if self.hand.is_empty() {
            self.since = now;
        }
        match sent.pace {
            Some(pace) => self.load += pace,
            None => self.unknown += 1,
        }
        self.hand.push_back(sent);
    }

    fn remove(&mut self, turn: u64) -> Option<Sent> {
        let at = self.hand.iter().position(|sent| sent.turn == turn)?;
        let sent = self.hand.remove(at)?;
        match sent.pace {
            Some(pace) => self.load = self.load.saturating_sub(pace),
            None => self.unknown = self.unknown.saturating_sub(1),
        }
        Some(sent)
    }
}

/// All workers, by slot.
#[derive(Debug)]
pub(super) struct Workers {
    places: Vec<Option<Worker>>,
    /// The number of the next task in each slot: no owner of a slot has one that another had.
    next_turn: Vec<u64>,
    /// Who has waited longest comes first.
    idle: VecDeque<usize>,
    lately: Vec<usize>,
    working: usize,
    /// How many tasks are with workers that have something else before them.
    ahead: usize,
    /// How many workers are deaf.
    deaf: usize,
}

impl Workers {
    pub(super) fn new(slots: usize) -> Workers {
        Workers {
            places: (0..slots).map(|_slot| None).collect(),
            next_turn: vec![1; slots],
            idle: VecDeque::new(),
            lately: Vec::new(),
            working: 0,
            ahead: 0,
            deaf: 0,
        }
    }

    fn get(&self, slot: usize) -> Option<&Worker> {
        self.places.get(slot)?.as_ref()
    }

    fn get_mut(&mut self, slot: usize) -> Option<&mut Worker> {
        self.places.get_mut(slot)?.as_mut()
    }

    pub(super) fn ready(&mut self, child: ChildId, pid: Pid, now: MonotonicTime) {
        let slot = child.slot.index();
        let Some(place) = self.places.get_mut(slot) else { return };
        if place.is_some() {
            // It says so twice, or its former owner's end is still to be told.
            return;
        }
        *place = Some(Worker {
            child,
            pid,
            stage: Stage::Working,
            hand: VecDeque::new(),
            since: now,
            load: Duration::ZERO,
            unknown: 0,
            answered_lately: false,
            ears: SignalListener::Open,
        });
        self.working += 1;
        self.idle.push_back(slot);
    }

    fn retire(&mut self, slot: usize, stage: Stage) {
        let Some(worker) = self.get_mut(slot) else { return };
        let before = std::mem::replace(&mut worker.stage, stage);
        if before == Stage::Working {
            self.working -= 1;
            self.idle.retain(|idle| *idle != slot);
        }
    }

    pub(super) fn leaves(&mut self, slot: usize) {
        if self.get(slot).is_some_and(|worker| worker.stage == Stage::Working) {
            self.retire(slot, Stage::Leaving);
        }
    }

    /// It is to be killed; answers with which process, the first time.
    pub(super) fn condemned(&mut self, slot: usize) -> Option<Pid> {
        let worker = self.get(slot)?;
        let (pid, stage) = (worker.pid, worker.stage);
        self.retire(slot, Stage::Condemned);
        (stage != Stage::Condemned).then_some(pid)
    }

    /// It is gone; answers with what it had in hand, the first first.
    pub(super) fn gone(&mut self, child: ChildId) -> Option<VecDeque<Sent>> {
        let slot = child.slot.index();
        if self.get(slot)?.child != child {
            return None;
        }
        self.retire(slot, Stage::Leaving);
        self.hears(slot, SignalListener::Open);
        let hand = self.places.get_mut(slot)?.take()?.hand;
        self.ahead -= hand.len().saturating_sub(1);
        Some(hand)
    }

    /// It has answered this task, which is out of its hand now.
    pub(super) fn done(&mut self, slot: usize, turn: u64, now: MonotonicTime) -> Option<Key> {
        let key = self.take_out(slot, turn)?;
        if let Some(worker) = self.get_mut(slot) {
            worker.since = now;
        }
        self.hears(slot, SignalListener::Open);
        self.note_answer(slot);
        Some(key)
    }

    /// It has answered since the last look.
    pub(super) fn note_answer(&mut self, slot: usize) {
        let Some(worker) = self.get_mut(slot) else { return };
        if !std::mem::replace(&mut worker.answered_lately, true) {
            self.lately.push(slot);
        }
    }

    /// Takes a task out of its hand. Whose hand is empty waits.
    pub(super) fn take_out(&mut self, slot: usize, turn: u64) -> Option<Key> {
        let worker = self.get_mut(slot)?;
        let sent = worker.remove(turn)?;
        let (stage, is_empty) = (worker.stage, worker.hand.is_empty());
        if !is_empty {
            self.ahead -= 1;
        } else if stage == Stage::Working {
            self.idle.push_back(slot);
        }
        Some(sent.key)
    }

    /// Puts a task into its hand; answers with its turn.
    pub(super) fn take(
        &mut self,
        slot: usize,
        key: Key,
        pace: Option<Duration>,
        now: MonotonicTime,
    ) -> Option<(u64, Pid)> {
        let mut turn = *self.next_turn.get(slot)?;
        let worker = self.get_mut(slot)?;
        // A cell that a task in hand has is that task's: the turns between may have been taken back.
        let cell = |turn: u64| turn % IN_HAND_MAX as u64;
        while worker.hand.iter().any(|sent| cell(sent.turn) == cell(turn)) {
            turn += 1;
        }
        let was_idle = worker.hand.is_empty();
        worker.put(Sent { turn, key, pace }, now);
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
        let hears = |slot: &&usize| !self.is_deaf(**slot);
        self.idle.iter().find(hears).or(self.idle.front()).copied()
    }

    fn hears(&mut self, slot: usize, ears: SignalListener) {
        let Some(worker) = self.get_mut(slot) else { return };
        match (std::mem::replace(&mut worker.ears, ears), ears) {
            (SignalListener::Open, SignalListener::Deaf) => self.deaf += 1,
            (SignalListener::Deaf, SignalListener::Open) => self.deaf -= 1,
            (SignalListener::Open, SignalListener::Open)
            | (SignalListener::Deaf, SignalListener::Deaf) => {}
        }
    }

    /// It has not begun what it was sent in all the time that it had.
    pub(super) fn note_deaf(&mut self, slot: usize) {
        self.hears(slot, SignalListener::Deaf);
    }

    pub(super) fn is_deaf(&self, slot: usize) -> bool {
        self.get(slot).is_some_and(|worker| worker.ears == SignalListener::Deaf)
    }

    pub(super) fn hand(&self, slot: usize) -> Vec<Sent> {
        self.get(slot).map(|worker| worker.hand.iter().copied().collect()).unwrap_or_default()
    }

    pub(super) fn front(&self, slot: usize) -> Option<Sent> {
        self.get(slot)?.hand.front().copied()
    }

    pub(super) fn in_hand(&self, slot: usize) -> usize {
        self.get(slot).map_or(0, |worker| worker.hand.len())
    }

    /// How much work it has in hand; none if that is not known, or it takes no more.
    pub(super) fn load(&self, slot: usize) -> Option<Duration> {
        let worker = self.get(slot)?;
        (worker.unknown == 0 && worker.stage == Stage::Working).then_some(worker.load)
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
        let extra = |(_, worker): (usize, &Worker)| worker.hand.len().saturating_sub(1);
        let deaf = self.all().filter(|(_, worker)| worker.ears == SignalListener::Deaf);
        [(self.ahead, self.deaf), (self.all().map(extra).sum(), deaf.count())]
    }

    #[cfg(test)]
    pub(super) fn stage(&self, slot: usize) -> Option<Stage> {
        self.get(slot).map(|worker| worker.stage)
    }

    pub(super) fn slots(&self) -> Vec<usize> {
        (0..self.places.len()).filter(|slot| self.get(*slot).is_some()).collect()
    }

    fn all(&self) -> impl Iterator<Item = (usize, &Worker)> {
        let all = self.places.iter().enumerate();
        all.filter_map(|(slot, place)| place.as_ref().map(|worker| (slot, worker)))
    }

    /// The first in each hand.
    pub(super) fn fronts(&self) -> Vec<(usize, Sent)> {
        self.all().filter_map(|(slot, worker)| Some((slot, *worker.hand.front()?))).collect()
    }

    /// What was sent to workers that have something else before it, the oldest first. Nobody is looked
    /// at if there is none.
    pub(super) fn sent_ahead(&self) -> Vec<(usize, Sent)> {
        if self.ahead == 0 { Vec::new() } else { self.sent(|_any| 1) }
    }

    /// What deaf workers have in hand, the oldest first. Nobody is looked at if there is none.
    pub(super) fn with_the_deaf(&self) -> Vec<(usize, Sent)> {
        let from = |worker: &Worker| match worker.ears {
            SignalListener::Open => IN_HAND_MAX,
            SignalListener::Deaf => 0,
        };
        if self.deaf == 0 { Vec::new() } else { self.sent(from) }
    }

    /// What is in hands, from this place on, the oldest first.
    fn sent(&self, from: impl Fn(&Worker) -> usize) -> Vec<(usize, Sent)> {
        let hands = self.all().flat_map(|(slot, worker)| {
            worker.hand.iter().skip(from(worker)).map(move |sent| (slot, *sent))
        });
        let mut sent: Vec<(usize, Sent)> = hands.collect();
        sent.sort_by_key(|(_slot, sent)| sent.key.id);
        sent
    }

    /// For how long the first in hand has been the first.
    pub(super) fn waits_for(&self, slot: usize, now: MonotonicTime) -> Duration {
        self.get(slot).map_or(Duration::ZERO, |worker| now.saturating_since(worker.since))
    }

    /// Who does one thing for so long while others wait behind it.
    pub(super) fn stalled(&self, now: MonotonicTime, most: Duration) -> Vec<usize> {
        let is_stalled =
            |worker: &Worker| worker.hand.len() > 1 && now.saturating_since(worker.since) >= most;
        self.all().filter(|(_, worker)| is_stalled(worker)).map(|(slot, _)| slot).collect()
    }

    /// When this one will have done one thing for so long while others wait behind it.
    pub(super) fn stall(&self, slot: usize, most: Duration) -> Option<MonotonicTime> {
        self.get(slot).filter(|worker| worker.hand.len() > 1).map(|worker| worker.since + most)
    }

    /// Who has answered since the last look.
    pub(super) fn answered_lately(&mut self) -> Vec<usize> {
        let lately = std::mem::take(&mut self.lately);
        for slot in &lately {
            if let Some(worker) = self.get_mut(*slot) {
                worker.answered_lately = false;
            }
        }
        lately
    }

    /// Keeps the room of an empty list for the next look.
    pub(super) fn give_back(&mut self, empty: Vec<usize>) {
        if self.lately.is_empty() {
            self.lately = empty;
        }
    }
}
