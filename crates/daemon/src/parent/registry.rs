//! The children, by slot: what the parent knows of each, and the census of them all.

use std::time::Duration;

use daemon_core::{
    ChildKind, Counts, Exit, ExitCause, MonotonicTime, SlotEntry, Status, StopReason, classify_exit,
};
use daemon_forkserver::ChildId;
use daemon_sys::process::Pid;

use crate::messages::ChildExited;

/// A child as the parent knows it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) child: ChildId,
    pub(crate) pid: Option<Pid>,
    /// The status that the census counts it under. A dismissed child counts as leaving, whatever
    /// it still does.
    pub(crate) seen: Status,
    pub(crate) stop_reason: Option<StopReason>,
    pub(crate) ordered: MonotonicTime,
    /// How often the pool had been reloaded when it was ordered.
    pub(crate) reload_generation: u32,
    readiness: Readiness,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    Booting,
    Ready,
}

/// What a look at a child's status has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusChange {
    /// It is ready, for the first time.
    BecameReady,
    /// Something else, or nothing new.
    Other,
}

/// How early in its life a child has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// It was never ready.
    BeforeReady,
    /// It was ready, and had begun no request.
    Unused(Duration),
    /// It had begun requests, or was told to go.
    Served,
}

/// All children, and the counts of them.
#[derive(Debug)]
pub(crate) struct Registry {
    records: Vec<Option<Record>>,
    counts: Counts,
    child_kind: ChildKind,
}

impl Registry {
    pub(crate) fn new(slots: u32, child_kind: ChildKind) -> Self {
        let records = (0..slots).map(|_slot| None).collect();
        Registry { records, counts: Counts::default(), child_kind }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().flatten()
    }

    /// Whether this very child is there.
    pub(crate) fn contains(&self, child: ChildId) -> bool {
        let record = self.records.get(child.slot.index()).and_then(Option::as_ref);
        record.is_some_and(|record| record.child == child)
    }

    fn get_mut(&mut self, child: ChildId) -> Option<&mut Record> {
        self.records.get_mut(child.slot.index())?.as_mut().filter(|record| record.child == child)
    }

    /// A child has been ordered.
    pub(crate) fn ordered(&mut self, child: ChildId, reload_generation: u32, now: MonotonicTime) {
        if let Some(place) = self.records.get_mut(child.slot.index()) {
            debug_assert!(place.is_none(), "{child} is ordered into a seat that is taken");
            *place = Some(Record {
                child,
                pid: None,
                seen: Status::Forking,
                stop_reason: None,
                ordered: now,
                reload_generation,
                readiness: Readiness::Booting,
            });
            self.counts.record_fork();
        }
    }

    /// The order for a child has failed: it never was.
    pub(crate) fn remove_failed(&mut self, child: ChildId) {
        if let Some(record) = self.take(child) {
            self.counts.record_transition(record.seen, Status::Empty);
        }
    }

    pub(crate) fn born(&mut self, child: ChildId, pid: Pid) {
        if let Some(record) = self.get_mut(child) {
            record.pid = Some(pid);
        }
    }

    /// A post-forked child is at work.
    pub(crate) fn mark_serving(&mut self, child: ChildId) {
        let Some(record) = self.get_mut(child) else { return };
        if record.stop_reason.is_none() {
            let before = std::mem::replace(&mut record.seen, Status::Serving);
            self.counts.record_transition(before, Status::Serving);
        }
    }

    /// The scoreboard's line of this slot has changed.
    pub(crate) fn update_status(&mut self, entry: &SlotEntry) -> StatusChange {
        let Some(record) = self.records.get_mut(entry.slot.index()).and_then(Option::as_mut) else {
            return StatusChange::Other;
        };
        // An empty slot is seen only when a report of its end is under way: that will count it.
        let Some(status) = entry.status.filter(|status| *status != Status::Empty) else {
            return StatusChange::Other;
        };
        if record.stop_reason.is_none() {
            self.counts.record_transition(record.seen, status);
            record.seen = status;
        }
        if record.readiness == Readiness::Booting && (status.is_idle() || status.is_busy()) {
            record.readiness = Readiness::Ready;
            // The fork server's word of its birth may come later than its own.
            let its_own = || i32::try_from(entry.pid).ok().and_then(Pid::from_raw);
            record.pid = record.pid.or_else(its_own);
            return StatusChange::BecameReady;
        }
        StatusChange::Other
    }

    /// A child is told to go: from now on it is counted as leaving.
    pub(crate) fn mark_stopping(&mut self, child: ChildId, why: StopReason) {
        let Some(record) = self.get_mut(child) else {
            return;
        };
        let before = std::mem::replace(&mut record.seen, Status::Leaving);
        match why {
            // Who does not go, or must not go on, is remembered by that.
            StopReason::Rogue(_) | StopReason::Killed => record.stop_reason = Some(why),
            StopReason::Retired
            | StopReason::Recycled(_)
            | StopReason::Stopping
            | StopReason::StoppedNow => {
                record.stop_reason.get_or_insert(why);
            }
        }
        if before != Status::Leaving {
            self.counts.record_transition(before, Status::Leaving);
        }
    }

    /// This child is to be killed for this reason, whatever it was told before.
    pub(crate) fn mark_killed(&mut self, child: ChildId, why: StopReason) {
        self.mark_stopping(child, why);
        if let Some(record) = self.get_mut(child) {
            record.stop_reason = Some(why);
        }
    }

    /// The child that is this process, if it is one.
    pub(crate) fn find_by_pid(&self, pid: Pid) -> Option<ChildId> {
        self.records().find(|record| record.pid == Some(pid)).map(|record| record.child)
    }

    /// A child that nothing helps against does not count any more: its place is another's. If it
    /// goes after all, it is told as ever.
    pub(crate) fn give_up(&mut self, child: ChildId) {
        let Some(record) = self.get_mut(child) else {
            return;
        };
        let before = std::mem::replace(&mut record.seen, Status::Empty);
        self.counts.record_transition(before, Status::Empty);
    }

    /// All children are told to go; a stronger word replaces an earlier one.
    pub(crate) fn mark_all_stopping(&mut self, why: StopReason) {
        for record in self.records.iter_mut().flatten() {
            if record.seen == Status::Empty {
                continue;
            }
            let before = std::mem::replace(&mut record.seen, Status::Leaving);
            match record.stop_reason {
                // That is what is remembered of it, whatever comes.
                Some(StopReason::Rogue(_) | StopReason::Killed) => {}
                Some(_) | None => record.stop_reason = Some(why),
            }
            if before != Status::Leaving {
                self.counts.record_transition(before, Status::Leaving);
            }
        }
    }

    /// A child is gone. Answers what to tell of it, and how early it died.
    pub(crate) fn gone(
        &mut self,
        child: ChildId,
        pid: Pid,
        exit: Exit,
        last: &SlotEntry,
        now: MonotonicTime,
    ) -> Option<(ChildExited, Age)> {
        let record = self.take(child)?;
        self.counts.record_transition(record.seen, Status::Empty);
        let was_ready = record.readiness == Readiness::Ready || last.requests > 0;
        let status = last.status.unwrap_or(Status::Empty);
        let cause = classify_exit(exit, status, record.stop_reason, self.child_kind);
        let lived = now.saturating_since(record.ordered);
        let went_as_told = match record.stop_reason {
            Some(StopReason::Rogue(_) | StopReason::Killed) => false,
            Some(
                StopReason::Retired
                | StopReason::Recycled(_)
                | StopReason::Stopping
                | StopReason::StoppedNow,
            ) => true,
            None => matches!(cause, ExitCause::Recycled(_) | ExitCause::Done),
        };
        let age = match (was_ready || status.is_idle(), last.requests) {
            _told if went_as_told => Age::Served,
            (false, _) => Age::BeforeReady,
            (true, 0) => Age::Unused(lived),
            (true, _) => Age::Served,
        };
        Some((ChildExited { child, pid, cause, requests: last.requests, lifetime: lived }, age))
    }

    /// Lines that tell what the children that were told to go still do.
    pub(crate) fn peek_stopping(
        &self,
        board: daemon_core::ScoreboardReader,
        now: MonotonicTime,
    ) -> Vec<String> {
        let line = |record: &Record| {
            let told = record.stop_reason?;
            let entry = board.read(record.child.slot);
            let pid =
                record.pid.map_or_else(|| "not born yet".to_owned(), |pid| format!("pid {pid}"));
            let since = now.saturating_since(entry.since).as_secs();
            Some(format!(
                "    {}, {pid}: told to go ({told:?}), [{}] for {since} s",
                record.child,
                entry.letter()
            ))
        };
        self.records().filter_map(line).collect()
    }

    fn take(&mut self, child: ChildId) -> Option<Record> {
        self.records.get_mut(child.slot.index())?.take_if(|record| record.child == child)
    }

    /// The children that wait, with those that have waited longest first.
    pub(crate) fn longest_idle(&self, board: daemon_core::ScoreboardReader) -> Vec<ChildId> {
        let mut idle: Vec<(MonotonicTime, ChildId)> = self
            .records()
            .filter(|record| record.seen.is_idle())
            .map(|record| (board.read(record.child.slot).since, record.child))
            .collect();
        idle.sort_unstable_by_key(|(since, child)| (*since, child.slot));
        idle.into_iter().map(|(_since, child)| child).collect()
    }
}

#[cfg(test)]
mod tests;
