//! Who waits, in which order: by priority, then lane by lane in turns, then first come, first served.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::JobKey;

/// A queue of its own within the queue: what waits in it is begun in its order, takes turns with
/// other lanes of the same priority, and holds up none of them.
///
/// # Examples
///
/// ```
/// use actix_dispatch::Lane;
///
/// // changes to the books, strictly one after the other
/// let books = Lane::new("books").max_running(1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    pub(crate) name: String,
    pub(crate) max_running: Option<usize>,
}

impl Lane {
    /// A lane of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Lane {
        Lane { name: name.into(), max_running: None }
    }

    /// Sets how many of its requests may be with workers at a time; no limit by default.
    #[must_use]
    pub fn max_running(mut self, requests: usize) -> Lane {
        self.max_running = Some(requests);
        self
    }
}

/// A lane by its number; the one without a name is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneId(u16);

impl LaneId {
    /// The lane of those who ask for none.
    pub(crate) const DEFAULT: LaneId = LaneId(0);

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Somebody who waits. Who was cancelled meanwhile is told apart by whoever takes the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueEntry {
    pub(super) turn: u64,
    pub(super) key: JobKey,
}

#[derive(Debug)]
pub(super) struct JobQueue {
    lanes: Vec<LaneState>,
    levels: BTreeMap<Reverse<i8>, PriorityLevel>,
}

#[derive(Debug)]
struct LaneState {
    lane: Lane,
    running: usize,
}

impl LaneState {
    fn has_capacity(&self) -> bool {
        self.lane.max_running.is_none_or(|most| self.running < most)
    }
}

/// All of one priority, by lane.
#[derive(Debug, Default)]
struct PriorityLevel {
    waiting: Vec<VecDeque<QueueEntry>>,
    /// The lane whose turn it is.
    next: usize,
}

impl PriorityLevel {
    /// The lane that may send somebody, by turns.
    fn lane(&self, lanes: &[LaneState]) -> Option<usize> {
        let count = self.waiting.len();
        (0..count).map(|step| (self.next + step) % count).find(|lane| {
            self.waiting.get(*lane).is_some_and(|waiting| !waiting.is_empty())
                && lanes.get(*lane).is_some_and(LaneState::has_capacity)
        })
    }
}

impl JobQueue {
    /// A queue with these lanes beside the common one.
    pub(super) fn new(lanes: Vec<Lane>) -> JobQueue {
        let lanes = [Lane::new("")].into_iter().chain(lanes);
        let lanes = lanes.map(|lane| LaneState { lane, running: 0 }).collect();
        JobQueue { lanes, levels: BTreeMap::new() }
    }

    pub(super) fn lane(&self, name: &str) -> Option<LaneId> {
        let found =
            self.lanes.iter().skip(1).position(|lane_state| lane_state.lane.name == name)?;
        u16::try_from(found + 1).ok().map(LaneId)
    }

    fn waiting(&mut self, priority: i8, lane: LaneId) -> &mut VecDeque<QueueEntry> {
        let level = self.levels.entry(Reverse(priority)).or_default();
        if level.waiting.len() <= lane.index() {
            level.waiting.resize_with(lane.index() + 1, VecDeque::new);
        }
        &mut level.waiting[lane.index()]
    }

    /// Somebody comes last.
    pub(super) fn push(&mut self, priority: i8, lane: LaneId, entry: QueueEntry) {
        self.waiting(priority, lane).push_back(entry);
    }

    /// Somebody comes back to where he was.
    pub(super) fn put_back(&mut self, priority: i8, lane: LaneId, entry: QueueEntry) {
        let waiting = self.waiting(priority, lane);
        let at = waiting.partition_point(|other| other.turn < entry.turn);
        waiting.insert(at, entry);
    }

    /// Shows the next place, void or not.
    pub(super) fn peek(&self) -> Option<QueueEntry> {
        self.levels.values().find_map(|level| {
            let lane = level.lane(&self.lanes)?;
            level.waiting.get(lane)?.front().copied()
        })
    }

    /// Takes the next place, void or not.
    pub(super) fn pop(&mut self) -> Option<QueueEntry> {
        let lanes = &self.lanes;
        self.levels.values_mut().find_map(|level| {
            let lane = level.lane(lanes)?;
            level.next = lane + 1;
            level.waiting.get_mut(lane)?.pop_front()
        })
    }

    /// One of this lane is with a worker.
    pub(super) fn note_sent(&mut self, lane: LaneId) {
        if let Some(lane_state) = self.lanes.get_mut(lane.index()) {
            lane_state.running += 1;
        }
    }

    /// One of this lane is no more with a worker.
    pub(super) fn note_returned(&mut self, lane: LaneId) {
        if let Some(lane_state) = self.lanes.get_mut(lane.index()) {
            lane_state.running = lane_state.running.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::RequestId;

    fn entry(turn: u64) -> QueueEntry {
        QueueEntry { turn, key: JobKey { index: 0, id: RequestId(turn) } }
    }

    fn turns(queue: &mut JobQueue) -> Vec<u64> {
        std::iter::from_fn(|| {
            let seen = queue.peek();
            let popped = queue.pop();
            assert_eq!(seen, popped);
            popped.map(|entry| entry.turn)
        })
        .collect()
    }

    #[test]
    fn first_come_is_first_served_and_a_higher_priority_comes_before() {
        let mut queue = JobQueue::new(Vec::new());
        for (turn, priority) in [(1, 0), (2, -5), (3, 0), (4, 7), (5, 7)] {
            queue.push(priority, LaneId::DEFAULT, entry(turn));
        }
        assert_eq!(turns(&mut queue), [4, 5, 1, 3, 2]);
    }

    #[test]
    fn who_comes_back_stands_where_he_stood() {
        let mut queue = JobQueue::new(Vec::new());
        (0..4).for_each(|turn| queue.push(0, LaneId::DEFAULT, entry(turn)));
        let (zero, one) = (queue.pop().unwrap(), queue.pop().unwrap());
        queue.put_back(0, LaneId::DEFAULT, one);
        queue.put_back(0, LaneId::DEFAULT, zero);
        assert_eq!(turns(&mut queue), [0, 1, 2, 3]);
    }

    #[test]
    fn lanes_take_turns() {
        let mut queue = JobQueue::new(vec![Lane::new("mail")]);
        let mail = queue.lane("mail").unwrap();
        (0..4).for_each(|turn| queue.push(0, LaneId::DEFAULT, entry(turn)));
        (10..12).for_each(|turn| queue.push(0, mail, entry(turn)));
        assert_eq!(turns(&mut queue), [0, 10, 1, 11, 2, 3]);
        assert_eq!(queue.lane("post"), None);
        assert_eq!(queue.lane(""), None, "the common lane has no name");
    }

    #[test]
    fn a_lane_with_a_most_waits_for_its_own() {
        let mut queue = JobQueue::new(vec![Lane::new("books").max_running(1)]);
        let books = queue.lane("books").unwrap();
        (0..2).for_each(|turn| queue.push(9, books, entry(turn)));
        queue.push(0, LaneId::DEFAULT, entry(5));
        assert_eq!(queue.pop().unwrap().turn, 0);
        queue.note_sent(books);
        assert_eq!(turns(&mut queue), [5]);
        queue.note_returned(books);
        assert_eq!(turns(&mut queue), [1]);
    }
}
