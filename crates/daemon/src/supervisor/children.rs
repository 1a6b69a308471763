//! The registry of children, by slot, with their counts, and what the supervisor does with reports
//! about them: forks, exits and statuses.

use std::time::Duration;

use daemon_core::{
    BackoffRules, ChildKind, Counts, Death, Exit, ExitCause, FailureReason, FaultCount,
    MonotonicTime, ScoreboardReader, SlotEntry, SlotFault, Status, StatusKind, StopMode,
    StopReason, classify_exit, format,
};
use daemon_forkserver::{ChildId, ForkRefusal, ForkServerEvent};
use daemon_sys::process::Pid;

use super::{Effect, ProcessControl, Strategy, Supervisor};
use crate::child::EXIT_CANNOT_ACCEPT;
use crate::error::DaemonError;
use crate::events::DaemonEvent;
use crate::messages::{ChildExited, ChildForked};

/// The number of SIGKILL, which is the same on every system.
const KILL: i32 = 9;

/// What the parent knows about a child.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) child: ChildId,
    pub(crate) pid: Option<Pid>,
    /// The status under which the child is counted. A child that was asked to stop counts as
    /// leaving, even while it still serves a request. A child that was given up is not counted,
    /// and has the status `Empty` here.
    pub(crate) seen: Status,
    pub(crate) stop_reason: Option<StopReason>,
    pub(crate) requested_at: MonotonicTime,
    /// The number of reloads that had started when the fork of the child was requested.
    pub(crate) reload_generation: u32,
    is_ready: bool,
    /// When the child must be ready; `None` if it was not forked yet, does not start any more, or
    /// is overdue already.
    ready_by: Option<MonotonicTime>,
}

impl Record {
    /// Returns whether the child has neither become ready nor begun to leave. The status on the
    /// scoreboard decides, because the parent does not follow the statuses of post-forked children.
    fn is_starting(&self, board: ScoreboardReader) -> bool {
        let status = board.read(self.child.slot).status.unwrap_or(self.seen);
        !self.is_ready && status.kind() == StatusKind::Starting
    }
}

/// The effect of an update of a child's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusChange {
    /// The child has become ready.
    BecameReady,
    /// The child has started to leave, although it was not asked to stop.
    StartedLeaving,
    /// The child was ready already, is not ready yet, or is not registered, or its slot is closed.
    Other,
}

/// What a child with the last request of its quota does if the daemon begins to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastRequest {
    /// It finds the stop after the request, and serves on.
    FindsStop,
    /// It has announced before the request that it leaves, and leaves.
    IsLast,
}

/// How early in its life a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// The child was never ready.
    BeforeReady,
    /// The child was ready but had begun no request. The duration is its lifetime.
    Unused(Duration),
    /// The child had begun a request, or its end was intended. The end of a rogue, or of a child
    /// that was killed on request, does not count as intended.
    Served,
}

/// All children and their counts.
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

    /// Returns whether this child is registered. Returns `false` for a child of another generation
    /// of the same slot.
    pub(crate) fn contains(&self, child: ChildId) -> bool {
        self.get(child).is_some()
    }

    fn get(&self, child: ChildId) -> Option<&Record> {
        self.records.get(child.slot.index())?.as_ref().filter(|record| record.child == child)
    }

    fn get_mut(&mut self, child: ChildId) -> Option<&mut Record> {
        self.records.get_mut(child.slot.index())?.as_mut().filter(|record| record.child == child)
    }

    /// Adds a child whose fork has been requested.
    pub(crate) fn add(&mut self, child: ChildId, reload_generation: u32, now: MonotonicTime) {
        if let Some(entry) = self.records.get_mut(child.slot.index()) {
            debug_assert!(entry.is_none(), "the slot of {child} is taken");
            *entry = Some(Record {
                child,
                pid: None,
                seen: Status::Forking,
                stop_reason: None,
                requested_at: now,
                reload_generation,
                is_ready: false,
                ready_by: None,
            });
            self.counts.record_fork();
        }
    }

    /// Removes a child whose fork has failed.
    pub(crate) fn remove_failed(&mut self, child: ChildId) {
        if let Some(record) = self.take(child) {
            self.counts.record_transition(record.seen, Status::Empty);
        }
    }

    /// Records the pid of a forked child, and when the child must be ready.
    pub(crate) fn set_forked(&mut self, child: ChildId, pid: Pid, ready_by: MonotonicTime) {
        if let Some(record) = self.get_mut(child) {
            record.pid = Some(pid);
            record.ready_by = Some(ready_by);
        }
    }

    /// Returns whether this child has neither become ready nor begun to leave.
    pub(crate) fn is_starting(&self, child: ChildId, board: ScoreboardReader) -> bool {
        self.get(child).is_some_and(|record| record.is_starting(board))
    }

    /// Returns the children that are not ready although they should be, each of them once, and when
    /// the next child must be ready.
    pub(crate) fn take_overdue(
        &mut self,
        board: ScoreboardReader,
        now: MonotonicTime,
    ) -> (Vec<(ChildId, Pid)>, Option<MonotonicTime>) {
        let (mut overdue, mut next) = (Vec::new(), None);
        for record in self.records.iter_mut().flatten() {
            let Some(time) = record.ready_by else { continue };
            if !record.is_starting(board) {
                record.ready_by = None;
            } else if time <= now {
                record.ready_by = None;
                overdue.extend(record.pid.map(|pid| (record.child, pid)));
            } else {
                next = next.into_iter().chain([time]).min();
            }
        }
        (overdue, next)
    }

    /// Marks a post-forked child as serving its request.
    pub(crate) fn mark_serving(&mut self, child: ChildId) {
        let Some(record) = self.get_mut(child) else { return };
        if record.stop_reason.is_none() {
            let before = std::mem::replace(&mut record.seen, Status::Serving);
            self.counts.record_transition(before, Status::Serving);
        }
    }

    /// Updates the status of a child from its slot on the scoreboard.
    pub(crate) fn update_status(&mut self, entry: &SlotEntry) -> StatusChange {
        let Some(record) = self.records.get_mut(entry.slot.index()).and_then(Option::as_mut) else {
            return StatusChange::Other;
        };
        // `ForkServer::collect` closes the slot of a child that has exited. The child stays
        // registered until the report of its exit is handled, which also updates the counts.
        let Some(status) = entry.status.filter(|status| *status != Status::Empty) else {
            return StatusChange::Other;
        };
        let before = record.seen;
        if record.stop_reason.is_none() {
            self.counts.record_transition(record.seen, status);
            record.seen = status;
        }
        if !record.is_ready && (status.is_idle() || status.is_busy()) {
            record.is_ready = true;
            // The child's first status can arrive before the fork server's report of the fork, so
            // take the pid from the scoreboard.
            let own_pid = || i32::try_from(entry.pid).ok().and_then(Pid::from_raw);
            record.pid = record.pid.or_else(own_pid);
            return StatusChange::BecameReady;
        }
        if record.stop_reason.is_none() && status == Status::Leaving && before != status {
            return StatusChange::StartedLeaving;
        }
        StatusChange::Other
    }

    /// Marks a child as asked to stop for this reason. The child then counts as leaving.
    pub(crate) fn mark_stopping(&mut self, child: ChildId, reason: StopReason) {
        let Some(record) = self.get_mut(child) else {
            return;
        };
        let before = std::mem::replace(&mut record.seen, Status::Leaving);
        match reason {
            // These two reasons replace an earlier reason.
            StopReason::Rogue(_) | StopReason::Killed => record.stop_reason = Some(reason),
            StopReason::Retired
            | StopReason::Recycled(_)
            | StopReason::Stopping
            | StopReason::StoppedNow => {
                record.stop_reason.get_or_insert(reason);
            }
        }
        if before != Status::Leaving {
            self.counts.record_transition(before, Status::Leaving);
        }
    }

    /// Marks a child as killed for this reason, which replaces any earlier reason.
    pub(crate) fn mark_killed(&mut self, child: ChildId, reason: StopReason) {
        self.mark_stopping(child, reason);
        if let Some(record) = self.get_mut(child) {
            record.stop_reason = Some(reason);
        }
    }

    /// Returns the child with this pid.
    pub(crate) fn find_by_pid(&self, pid: Pid) -> Option<ChildId> {
        self.records().find(|record| record.pid == Some(pid)).map(|record| record.child)
    }

    /// Stops counting a child that has survived all steps of the ladder, so that another child can
    /// replace it. If the child exits later, its exit is reported as usual.
    pub(crate) fn give_up(&mut self, child: ChildId) {
        let Some(record) = self.get_mut(child) else {
            return;
        };
        let before = std::mem::replace(&mut record.seen, Status::Empty);
        self.counts.record_transition(before, Status::Empty);
    }

    /// Marks all children as asked to stop for this reason. Rogues and killed children keep their
    /// own reason. Children that were given up are skipped.
    pub(crate) fn mark_all_stopping(&mut self, reason: StopReason) {
        for record in self.records.iter_mut().flatten() {
            if record.seen == Status::Empty {
                continue;
            }
            let before = std::mem::replace(&mut record.seen, Status::Leaving);
            match record.stop_reason {
                // These two reasons are never replaced.
                Some(StopReason::Rogue(_) | StopReason::Killed) => {}
                Some(_) | None => record.stop_reason = Some(reason),
            }
            if before != Status::Leaving {
                self.counts.record_transition(before, Status::Leaving);
            }
        }
    }

    /// Removes a child that has exited. Returns the event to broadcast and how early the child
    /// ended, or `None` if the child is not registered.
    pub(crate) fn remove_exited(
        &mut self,
        child: ChildId,
        pid: Pid,
        exit: Exit,
        last: &SlotEntry,
        now: MonotonicTime,
    ) -> Option<(ChildExited, Age)> {
        let record = self.take(child)?;
        self.counts.record_transition(record.seen, Status::Empty);
        let was_ready = record.is_ready || last.requests > 0;
        let status = last.status.unwrap_or(Status::Empty);
        let cause = classify_exit(exit, status, record.stop_reason, self.child_kind);
        let lived = now.saturating_since(record.requested_at);
        let stopped_as_asked = match record.stop_reason {
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
            _any if stopped_as_asked => Age::Served,
            (false, _) => Age::BeforeReady,
            (true, 0) => Age::Unused(lived),
            (true, _) => Age::Served,
        };
        Some((ChildExited::new(child, pid, cause, last.requests, lived), age))
    }

    /// Returns lines for the output of the message `Peek`: one for each child that was asked to
    /// stop and still exists.
    pub(crate) fn peek_stopping(&self, board: ScoreboardReader, now: MonotonicTime) -> Vec<String> {
        let line = |record: &Record| {
            let reason = stop_reason_text(record.stop_reason?);
            let entry = board.read(record.child.slot);
            let pid =
                record.pid.map_or_else(|| "not forked yet".to_owned(), |pid| format!("pid {pid}"));
            let since = format::duration(now.saturating_since(entry.since));
            Some(format!(
                "    {}, {pid}: asked to stop ({reason}), [{}] for {since}",
                record.child,
                entry.letter()
            ))
        };
        self.records().filter_map(line).collect()
    }

    fn take(&mut self, child: ChildId) -> Option<Record> {
        self.records.get_mut(child.slot.index())?.take_if(|record| record.child == child)
    }

    /// Returns whether a child will see the phase that was just written to the scoreboard before it
    /// leaves because of its quota: a child that starts, or has not begun as many requests as any
    /// quota has.
    pub(crate) fn serves_on(
        &self,
        board: ScoreboardReader,
        quota: u64,
        last_request: LastRequest,
    ) -> bool {
        self.records().filter(|record| record.stop_reason.is_none()).any(|record| {
            let entry = board.read(record.child.slot);
            entry.generation == record.child.generation
                && match entry.status.map(Status::kind) {
                    Some(StatusKind::Starting) => true,
                    Some(StatusKind::Busy) if last_request == LastRequest::FindsStop => true,
                    Some(StatusKind::Busy | StatusKind::Idle) => entry.requests < quota,
                    Some(StatusKind::Vacant | StatusKind::Leaving) | None => false,
                }
        })
    }

    /// Returns the idle children, longest idle first.
    pub(crate) fn longest_idle(&self, board: ScoreboardReader) -> Vec<ChildId> {
        let mut idle: Vec<(MonotonicTime, ChildId)> = self
            .records()
            .filter(|record| record.seen.is_idle())
            .map(|record| (board.read(record.child.slot).since, record.child))
            .collect();
        idle.sort_unstable_by_key(|(since, child)| (*since, child.slot));
        idle.into_iter().map(|(_since, child)| child).collect()
    }
}

/// Returns a stop reason in words.
fn stop_reason_text(reason: StopReason) -> String {
    match reason {
        StopReason::Retired => "retired".to_owned(),
        StopReason::Recycled(reason) => ExitCause::Recycled(reason).to_string(),
        StopReason::Stopping => "the daemon is stopping".to_owned(),
        StopReason::StoppedNow => "the daemon is stopping immediately".to_owned(),
        StopReason::Rogue(violation) => format!("rogue: {violation}"),
        StopReason::Killed => "killed on request".to_owned(),
    }
}

impl<R: 'static> Supervisor<R> {
    /// Handles a report of the fork server.
    pub(crate) fn on_fork_server_event(
        &mut self,
        event: ForkServerEvent<R>,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        match event {
            ForkServerEvent::Forked { child, pid } => {
                self.counters.forks += 1;
                self.backoff.fork_succeeded();
                let ready_by = now + self.boot_timeout;
                self.registry.set_forked(child, pid, ready_by);
                self.boot_check_at.get_or_insert(ready_by);
                if let Strategy::PostFork(backlog) = &mut self.strategy {
                    // A post-forked child has its request from the fork on, so it is serving.
                    self.registry.mark_serving(child);
                    backlog.forked(child, pid);
                }
                self.effects.push(Effect::Event(DaemonEvent::Forked(ChildForked::new(child, pid))));
            }
            ForkServerEvent::ForkFailed { child, request, refusal } => {
                self.counters.failed_forks += 1;
                self.registry.remove_failed(child);
                let reason = match &refusal {
                    ForkRefusal::System(errno) => FailureReason::Errno(*errno),
                    _not_attempted => FailureReason::NotAttempted,
                };
                self.backoff.fork_failed(reason, now);
                self.effects.push(Effect::ForkFailed(refusal.to_string()));
                match &mut self.strategy {
                    Strategy::Solo => {}
                    Strategy::PostFork(backlog) => backlog.fork_failed(child, request, &refusal),
                    Strategy::PreFork { request_factory, .. } => {
                        request_factory.fork_failed(Some(child), &refusal);
                    }
                }
            }
            ForkServerEvent::Exited { child, pid, exit, last } => {
                self.on_child_exit(child, pid, exit, &last, processes, now);
            }
            ForkServerEvent::DescendantsLeft { child, group } => {
                if self.descendants_log.should_log(now) {
                    self.effects.push(Effect::DescendantsLeft { child, group });
                }
            }
            ForkServerEvent::EndingDescendants { processes } => {
                self.on_ending_descendants(processes);
            }
            ForkServerEvent::DescendantsSurvive { error } => {
                self.effects.push(Effect::DescendantsSurvive(error));
            }
            ForkServerEvent::ReopenLogsFailed { error } => {
                self.effects.push(Effect::ReopenLogsFailed(error));
            }
        }
    }

    fn on_child_exit(
        &mut self,
        child: ChildId,
        pid: Pid,
        exit: Exit,
        last: &SlotEntry,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let Some((mut exited, age)) = self.registry.remove_exited(child, pid, exit, last, now)
        else {
            return;
        };
        // The OOM killer sends SIGKILL too. Only the counter of OOM kills shows the difference.
        if let ExitCause::Killed { signal: KILL, .. }
        | ExitCause::FailedToBoot(Exit::Signal { number: KILL, .. }) = exited.cause
            && processes.claim_oom_kill()
        {
            exited.cause = ExitCause::OutOfMemory;
        }
        let mut start_failure = None;
        let death = match age {
            Age::BeforeReady => {
                start_failure = self.on_boot_failure(&exited.cause);
                Death::BeforeReady
            }
            Age::Unused(lived) if lived < BackoffRules::default().early_death_age => Death::Early,
            // Its replacement may not be able to accept either.
            Age::Unused(_) if exited.cause == ExitCause::Exited(EXIT_CANNOT_ACCEPT) => Death::Early,
            Age::Unused(_) => Death::Late,
            Age::Served => {
                self.backoff.child_ready();
                Death::Late
            }
        };
        self.backoff.child_died(death, exited.cause, now);
        self.counters.exited(&exited.cause, exited.requests);
        self.effects.push(Effect::Event(DaemonEvent::Exited(exited)));
        if let Some(reason) = start_failure {
            self.fail(DaemonError::NotReady(reason), StopMode::Immediate, processes, now);
        }
    }

    /// Handles damage of the scoreboard that the parent has found and repaired.
    pub(crate) fn on_scoreboard_faults(&mut self, faults: &FaultCount, now: MonotonicTime) {
        if faults.is_zero() {
            return;
        }
        let repairs = faults.lines.saturating_add(faults.header_words);
        let total = &mut self.counters.scoreboard_repairs;
        *total = total.saturating_add(repairs);
        if self.scoreboard_fault_log.should_log(now) {
            self.effects.push(Effect::ScoreboardRepaired(*faults));
        }
    }

    /// Handles a changed slot of the scoreboard.
    pub(crate) fn on_status_change(&mut self, entry: &SlotEntry) {
        let child = ChildId { slot: entry.slot, generation: entry.generation };
        if entry.fault.is_some_and(SlotFault::is_damage) && self.registry.contains(child) {
            self.unconfirmed.add_damaged(child);
        }
        match self.registry.update_status(entry) {
            StatusChange::BecameReady => self.on_child_ready(),
            StatusChange::StartedLeaving => self.unconfirmed.add_leaving(child, entry.since),
            StatusChange::Other => {}
        }
    }
}

#[cfg(test)]
mod tests;
