//! The dispatcher's queue. Requests with a higher priority come first. Within a priority the lanes
//! take turns. Within a lane, the order is first in, first out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::JobKey;

/// A separate queue within the dispatcher's queue.
///
/// Within a lane, requests of the same priority start in order of arrival. Lanes with requests of
/// the same priority take turns, so that many requests in one lane do not delay the other lanes.
///
/// # Examples
///
/// ```
/// use actix_dispatch::Lane;
///
/// // Requests that change accounts run strictly one after the other.
/// let accounts = Lane::new("accounts").max_running(1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    pub(crate) name: String,
    pub(crate) max_running: Option<usize>,
}

impl Lane {
    /// Creates a lane with this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Lane {
        Lane { name: name.into(), max_running: None }
    }

    /// Sets the maximum number of requests of this lane that are at workers at the same time. No
    /// limit by default.
    #[must_use]
    pub fn max_running(mut self, requests: usize) -> Lane {
        self.max_running = Some(requests);
        self
    }
}

/// The index of a lane. The default lane, which has no name, is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneId(u16);

impl LaneId {
    /// The lane of requests that do not set a lane.
    pub(crate) const DEFAULT: LaneId = LaneId(0);

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A queued request. Entries of cancelled requests stay in the queue; the caller of
/// [`pop`](JobQueue::pop) skips them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueEntry {
    /// The position in the order of admission.
    pub(super) sequence: u64,
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
        self.lane.max_running.is_none_or(|max| self.running < max)
    }
}

/// The entries of one priority, by lane.
#[derive(Debug, Default)]
struct PriorityLevel {
    waiting: Vec<VecDeque<QueueEntry>>,
    /// The lane that is considered first.
    next: usize,
}

impl PriorityLevel {
    /// Returns the next lane in turn that has an entry and has not reached its limit.
    fn lane(&self, lanes: &[LaneState]) -> Option<usize> {
        let count = self.waiting.len();
        (0..count).map(|step| (self.next + step) % count).find(|lane| {
            self.waiting.get(*lane).is_some_and(|waiting| !waiting.is_empty())
                && lanes.get(*lane).is_some_and(LaneState::has_capacity)
        })
    }
}

impl JobQueue {
    /// Creates a queue with these lanes and the default lane.
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

    /// Adds an entry at the end of its lane.
    pub(super) fn push(&mut self, priority: i8, lane: LaneId, entry: QueueEntry) {
        self.waiting(priority, lane).push_back(entry);
    }

    /// Puts an entry back at its former position.
    pub(super) fn put_back(&mut self, priority: i8, lane: LaneId, entry: QueueEntry) {
        let waiting = self.waiting(priority, lane);
        let at = waiting.partition_point(|other| other.sequence < entry.sequence);
        waiting.insert(at, entry);
    }

    /// Returns the next entry, which may belong to a cancelled request.
    pub(super) fn peek(&self) -> Option<QueueEntry> {
        self.levels.values().find_map(|level| {
            let lane = level.lane(&self.lanes)?;
            level.waiting.get(lane)?.front().copied()
        })
    }

    /// Removes and returns the next entry, which may belong to a cancelled request.
    pub(super) fn pop(&mut self) -> Option<QueueEntry> {
        let lanes = &self.lanes;
        self.levels.values_mut().find_map(|level| {
            let lane = level.lane(lanes)?;
            level.next = lane + 1;
            level.waiting.get_mut(lane)?.pop_front()
        })
    }

    /// Records that a request of this lane was sent to a worker.
    pub(super) fn note_sent(&mut self, lane: LaneId) {
        if let Some(lane_state) = self.lanes.get_mut(lane.index()) {
            lane_state.running += 1;
        }
    }

    /// Records that a request of this lane is no longer at a worker: it was answered, it failed, or
    /// it went back to the queue.
    pub(super) fn note_returned(&mut self, lane: LaneId) {
        if let Some(lane_state) = self.lanes.get_mut(lane.index()) {
            lane_state.running = lane_state.running.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64) -> QueueEntry {
        QueueEntry { sequence, key: JobKey { index: 0, id: sequence } }
    }

    fn pop_all(queue: &mut JobQueue) -> Vec<u64> {
        std::iter::from_fn(|| {
            let peeked = queue.peek();
            let popped = queue.pop();
            assert_eq!(peeked, popped);
            popped.map(|entry| entry.sequence)
        })
        .collect()
    }

    #[test]
    fn entries_are_ordered_by_priority_then_by_admission() {
        let mut queue = JobQueue::new(Vec::new());
        for (sequence, priority) in [(1, 0), (2, -5), (3, 0), (4, 7), (5, 7)] {
            queue.push(priority, LaneId::DEFAULT, entry(sequence));
        }
        assert_eq!(pop_all(&mut queue), [4, 5, 1, 3, 2]);
    }

    #[test]
    fn an_entry_that_is_put_back_keeps_its_position() {
        let mut queue = JobQueue::new(Vec::new());
        (0..4).for_each(|sequence| queue.push(0, LaneId::DEFAULT, entry(sequence)));
        let (zero, one) = (queue.pop().unwrap(), queue.pop().unwrap());
        queue.put_back(0, LaneId::DEFAULT, one);
        queue.put_back(0, LaneId::DEFAULT, zero);
        assert_eq!(pop_all(&mut queue), [0, 1, 2, 3]);
    }

    #[test]
    fn lanes_take_turns() {
        let mut queue = JobQueue::new(vec![Lane::new("mail")]);
        let mail = queue.lane("mail").unwrap();
        (0..4).for_each(|sequence| queue.push(0, LaneId::DEFAULT, entry(sequence)));
        (10..12).for_each(|sequence| queue.push(0, mail, entry(sequence)));
        assert_eq!(pop_all(&mut queue), [0, 10, 1, 11, 2, 3]);
        assert_eq!(queue.lane("post"), None);
        assert_eq!(queue.lane(""), None, "the default lane has no name");
    }

    #[test]
    fn a_lane_that_has_reached_its_limit_is_skipped() {
        let mut queue = JobQueue::new(vec![Lane::new("accounts").max_running(1)]);
        let accounts = queue.lane("accounts").unwrap();
        (0..2).for_each(|sequence| queue.push(9, accounts, entry(sequence)));
        queue.push(0, LaneId::DEFAULT, entry(5));
        assert_eq!(queue.pop().unwrap().sequence, 0);
        queue.note_sent(accounts);
        assert_eq!(pop_all(&mut queue), [5]);
        queue.note_returned(accounts);
        assert_eq!(pop_all(&mut queue), [1]);
    }
}
