//! The parent's own record of the scoreboard, in memory that it shares with no other process.
//!
//! Children can write anything to the shared memory, by accident or on purpose. The parent
//! therefore keeps the facts that it decides by in its own memory: the owner of each slot, the last
//! plausible status, times and counters, and the words of the header. What a child writes to its
//! line is a report that is compared with the record, and never replaces the record as a whole.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::entry::{SlotEntry, SlotFault};
use crate::line::{Generation, SlotNumber, SlotState, WORDS};
use crate::monotonic::MonotonicTime;
use crate::status::Status;

/// The maximum time by which a child can extend the deadline of its current request at once.
///
/// A deadline on the scoreboard that is further away is ignored, because a wild write could
/// otherwise exempt a child from its request timeout for ever.
pub const MAX_EXTENSION: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum number of requests that a child can plausibly begin between two reads of its line.
const REQUESTS_MAX: u64 = u32::MAX as u64;

/// What the parent knows about a slot.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct SlotRecord {
    /// The last plausible status, [`Status::Empty`] if the slot is free.
    pub(crate) status: Status,
    /// The generation that the parent has given to the slot.
    pub(crate) generation: Generation,
    /// The pid that the fork server has reported, or 0.
    pub(crate) pid: u32,
    /// When the slot was opened or closed; after its child has taken the seat, when that happened.
    pub(crate) started_at: MonotonicTime,
    /// When the status last changed.
    pub(crate) since: MonotonicTime,
    /// The number of requests that the child has begun.
    pub(crate) requests: u64,
    /// The last plausible heartbeat.
    pub(crate) heartbeat: Option<MonotonicTime>,
}

impl SlotRecord {
    /// Returns the record of a slot that has just been opened or closed.
    pub(crate) fn new(status: Status, generation: Generation, now: MonotonicTime) -> SlotRecord {
        SlotRecord {
            status,
            generation,
            pid: 0,
            started_at: now,
            since: now,
            requests: 0,
            heartbeat: None,
        }
    }

    pub(crate) fn state(&self) -> SlotState {
        // A child that has not taken its seat has not written its pid.
        let pid = if self.status.is_seated() { self.pid } else { 0 };
        SlotState::of(self.status, self.generation, pid)
    }

    /// Compares a line with this record. Returns the entry that the parent can rely on: what is
    /// not plausible is replaced by what the record says, and the entry has a fault. An implausible
    /// number of requests has no effect on the rest of the line.
    ///
    /// Limits the times to `now`.
    pub(crate) fn check(&self, line: SlotEntry, now: MonotonicTime) -> SlotEntry {
        let (requests, requests_fault) = self.check_requests(&line);
        let fault = self.state_fault(&line);
        if self.status == Status::Empty {
            let fault = fault.or(requests_fault);
            return SlotEntry { fault, ..self.entry(&line, now) };
        }
        let known = self.entry(&line, now);
        let Some(status) = line.status.filter(|_status| fault.is_none()) else {
            return SlotEntry { fault, ..known };
        };
        let has_changed = (status, requests) != (self.status, self.requests);
        let took_seat = status.is_seated() && !self.status.is_seated();
        let plausible = |time: MonotonicTime, earliest: MonotonicTime| time.min(now).max(earliest);
        SlotEntry {
            status: Some(status),
            pid: if status.is_seated() { self.known_pid(&line) } else { 0 },
            started_at: if took_seat {
                plausible(line.started_at, self.started_at)
            } else {
                self.started_at
            },
            since: if has_changed { plausible(line.since, self.since) } else { self.since },
            requests,
            heartbeat: line
                .heartbeat
                .filter(|beat| *beat <= now && Some(*beat) >= self.heartbeat)
                .or(self.heartbeat),
            fault: requests_fault.or(line.fault),
            ..known
        }
    }

    /// Returns the record of what an entry says that [`check`](SlotRecord::check) has returned.
    pub(crate) fn accept(&self, entry: &SlotEntry) -> SlotRecord {
        SlotRecord {
            status: entry.status.unwrap_or(self.status),
            started_at: entry.started_at,
            since: entry.since,
            requests: entry.requests,
            heartbeat: entry.heartbeat,
            ..*self
        }
    }

    fn entry(&self, line: &SlotEntry, now: MonotonicTime) -> SlotEntry {
        SlotEntry {
            slot: line.slot,
            status: Some(self.status),
            pid: self.known_pid(line),
            generation: self.generation,
            started_at: self.started_at,
            since: self.since,
            requests: self.requests,
            label: line.label,
            heartbeat: self.heartbeat,
            deadline: line.deadline.filter(|deadline| *deadline <= now + MAX_EXTENSION),
            fault: line.fault,
        }
    }

    /// Returns the pid that the fork server has reported. Until then, the pid on the line is all
    /// that is known. Signals are never sent by it.
    fn known_pid(&self, line: &SlotEntry) -> u32 {
        if self.status == Status::Empty {
            0
        } else if self.pid == 0 {
            line.pid
        } else {
            self.pid
        }
    }

    fn state_fault(&self, line: &SlotEntry) -> Option<SlotFault> {
        let Some(status) = line.status else { return line.fault };
        let (own, found) = (self.generation, line.generation);
        if own != found {
            return Some(SlotFault::WrongGeneration { own, found });
        }
        if rank(status) < rank(self.status)
            || (self.status == Status::Empty) != (status == Status::Empty)
        {
            return Some(SlotFault::ImpossibleStatus { status, last: self.status });
        }
        let expected = if status.is_seated() { self.pid } else { 0 };
        let is_unknown = status.is_seated() && self.pid == 0;
        (line.pid != expected && !is_unknown).then_some(SlotFault::WrongPid { found: line.pid })
    }

    /// Returns the number of requests that the parent can rely on, and the fault if the number on
    /// the line is damage, or corrects damage.
    ///
    /// A smaller number than before is believed. If it is right, the number before was damage, and
    /// must not make all later reports of the child implausible. If it is wrong, the next report
    /// corrects it, because a child writes its own number with each report.
    fn check_requests(&self, line: &SlotEntry) -> (u64, Option<SlotFault>) {
        let found = line.requests;
        match found.checked_sub(self.requests) {
            Some(more) if more <= REQUESTS_MAX => (found, None),
            Some(_too_many) => (self.requests, Some(SlotFault::ImpossibleRequests(found))),
            None => (found, Some(SlotFault::ImpossibleRequests(found))),
        }
    }
}

/// Returns the stage of a child's life. A child never returns to an earlier stage.
///
/// A child that leaves does not return to another status either, but other code may have written
/// that it leaves. What the child itself reports later must be believed.
fn rank(status: Status) -> u8 {
    match status {
        Status::Empty => 0,
        Status::Forking => 1,
        Status::Forked => 2,
        Status::Fresh | Status::Waiting | Status::Serving | Status::Long | Status::Leaving => 3,
    }
}

/// The parent's record of the scoreboard.
///
/// Only the parent's thread accesses it. Its words are atomics because the parent's views of the
/// scoreboard, which may be sent to another thread, contain a reference to it.
#[derive(Debug)]
pub(crate) struct Record {
    /// The words of the header, see [`header_word`](crate::reader::header_word).
    header: [AtomicU64; WORDS],
    slots: Box<[RecordWords]>,
}

#[derive(Debug, Default)]
struct RecordWords {
    state: AtomicU64,
    started_at: AtomicU64,
    since: AtomicU64,
    requests: AtomicU64,
    heartbeat: AtomicU64,
    exit_causes: AtomicU64,
}

impl RecordWords {
    fn all(&self) -> [&AtomicU64; 6] {
        let RecordWords { state, started_at, since, requests, heartbeat, exit_causes } = self;
        [state, started_at, since, requests, heartbeat, exit_causes]
    }
}

impl Record {
    pub(crate) fn new(slots: u32) -> Record {
        Record {
            header: std::array::from_fn(|_word| AtomicU64::new(0)),
            slots: (0..slots).map(|_slot| RecordWords::default()).collect(),
        }
    }

    /// Forgets everything, as if no child had ever been forked.
    pub(crate) fn clear(&self) {
        let Record { header, slots } = self;
        let words = slots.iter().flat_map(RecordWords::all);
        header.iter().chain(words).for_each(|word| word.store(0, Relaxed));
    }

    /// Returns a word of the header.
    pub(crate) fn header(&self, word: usize) -> u64 {
        self.header[word].load(Relaxed)
    }

    /// Records a word of the header.
    pub(crate) fn set_header(&self, word: usize, value: u64) {
        self.header[word].store(value, Relaxed);
    }

    pub(crate) fn get(&self, slot: SlotNumber) -> Option<SlotRecord> {
        let words = self.slots.get(slot.index())?;
        let state = SlotState::unpack(words.state.load(Relaxed));
        Some(SlotRecord {
            status: state.status().unwrap_or(Status::Empty),
            generation: state.generation,
            pid: state.pid,
            started_at: MonotonicTime::from_nanos(words.started_at.load(Relaxed)),
            since: MonotonicTime::from_nanos(words.since.load(Relaxed)),
            requests: words.requests.load(Relaxed),
            heartbeat: match words.heartbeat.load(Relaxed) {
                0 => None,
                nanos => Some(MonotonicTime::from_nanos(nanos)),
            },
        })
    }

    pub(crate) fn set(&self, slot: SlotNumber, record: SlotRecord) {
        let Some(words) = self.slots.get(slot.index()) else { return };
        let SlotRecord { status, generation, pid, started_at, since, requests, heartbeat } = record;
        words.state.store(SlotState::of(status, generation, pid).pack(), Relaxed);
        words.started_at.store(started_at.as_nanos(), Relaxed);
        words.since.store(since.as_nanos(), Relaxed);
        words.requests.store(requests, Relaxed);
        words.heartbeat.store(heartbeat.map_or(0, MonotonicTime::as_nanos), Relaxed);
    }

    /// Returns the packed exit causes of a slot, see
    /// [`EXIT_CAUSES`](crate::line::slot_word::EXIT_CAUSES).
    pub(crate) fn exit_causes(&self, slot: SlotNumber) -> u64 {
        self.slots.get(slot.index()).map_or(0, |words| words.exit_causes.load(Relaxed))
    }

    pub(crate) fn set_exit_causes(&self, slot: SlotNumber, causes: u64) {
        if let Some(words) = self.slots.get(slot.index()) {
            words.exit_causes.store(causes, Relaxed);
        }
    }
}
