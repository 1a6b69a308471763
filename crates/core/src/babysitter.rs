//! The babysitter, which scans the children, keeps the state of each child, and decides what to do.

use std::collections::HashMap;
use std::time::Duration;

use crate::entry::SlotEntry;
use crate::exit_cause::{RecycleReason, Violation};
use crate::ladder::{Escalation, Ladder, LadderStep};
use crate::limits::{Assessment, Limits, Usage};
use crate::line::{Generation, SlotNumber};
use crate::monotonic::MonotonicTime;
use crate::status::Status;

/// The minimum time between two scans.
const MIN_SCAN_INTERVAL: Duration = Duration::from_millis(20);
/// If a scan is late by more than this, the whole system or this process was suspended.
const SUSPEND_THRESHOLD: Duration = Duration::from_millis(500);

/// The time after which a child whose heartbeat is missing is checked again. A process may have
/// been suspended without the babysitter noticing, for example in a frozen container. Such a
/// process sends a heartbeat as soon as it resumes.
const HEARTBEAT_RECHECK: Duration = Duration::from_millis(200);

/// A sample of a child's process from the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessSample {
    /// The CPU time since the child was forked.
    pub cpu: Duration,
    /// The memory in bytes, by the configured measure; `None` if the system does not report it.
    pub memory: Option<u64>,
}

/// Whether a child's process is in the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The process table was not read.
    NotChecked,
    /// The process is in the table.
    Seen(ProcessSample),
    /// The process exists, but the process table hides it.
    Hidden,
    /// The process does not exist.
    Gone,
}

/// The state of a child at a scan.
#[derive(Debug, Clone, Copy)]
pub struct ScanResult {
    /// The entry of the child's slot on the scoreboard.
    pub entry: SlotEntry,
    /// Whether the child's process is in the process table.
    pub presence: Presence,
}

/// An action on a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// The child's slot.
    pub slot: SlotNumber,
    /// The child's generation.
    pub generation: Generation,
    /// The child's pid.
    pub pid: u32,
    /// The CPU time of the child's current request, if known.
    pub request_cpu: Option<Duration>,
    /// What to do, and why.
    pub kind: ActionKind,
}

/// What to do with a child, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// The child has become a rogue: collect evidence first, then take this step.
    FirstStep(Violation, LadderStep),
    /// The child is still a rogue: take the next step.
    NextStep(Violation, LadderStep),
    /// The child no longer violates a limit: take no more steps.
    Recovered(Violation),
    /// Recycle the child after its current request.
    Recycle(RecycleReason),
    /// The child's request is slow: only collect evidence.
    SlowRequest,
    /// The process was missing in two consecutive samples, and its exit was not reported.
    Missing,
}

/// Whether an action is still justified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Confirmation {
    /// The action is still justified.
    StillValid,
    /// The action is no longer justified: do nothing.
    Outdated,
}

/// Assesses all children at each scan, and remembers the steps that were taken.
#[derive(Debug)]
pub struct Babysitter {
    limits: Limits,
    ladder: Ladder,
    watched: HashMap<SlotNumber, WatchedChild>,
    /// The timeouts of requests and heartbeats start at this time at the earliest.
    counted_from: MonotonicTime,
    /// When the next scan is due.
    due: Option<MonotonicTime>,
}

/// The babysitter's record of a child.
#[derive(Debug, Clone, Copy)]
struct WatchedChild {
    generation: Generation,
    /// The number of the request that `usage.request_cpu` belongs to.
    request: u64,
    /// The child's CPU time in the first sample during that request.
    cpu_before: Duration,
    usage: Option<Usage>,
    escalation: Option<Escalation>,
    /// When the heartbeat was first found missing. A step is taken only if the heartbeat is still
    /// missing at the next check.
    missed: Option<MonotonicTime>,
    recycled: Option<RecycleReason>,
    /// The number of the last slow request for which evidence was collected.
    slow: Option<u64>,
    /// The number of consecutive samples in which the process did not exist.
    absences: u32,
}

impl WatchedChild {
    fn new(generation: Generation) -> WatchedChild {
        WatchedChild {
            generation,
            request: 0,
            cpu_before: Duration::ZERO,
            usage: None,
            escalation: None,
            missed: None,
            recycled: None,
            slow: None,
            absences: 0,
        }
    }

    fn note(&mut self, entry: &SlotEntry, presence: Presence) {
        let busy = entry.status.is_some_and(Status::is_busy);
        if entry.requests != self.request || !busy {
            self.request = entry.requests;
            self.cpu_before = Duration::MAX;
            if let Some(usage) = &mut self.usage {
                usage.request_cpu = Duration::ZERO;
            }
        }
        match presence {
            Presence::NotChecked => {}
            Presence::Hidden => self.absences = 0,
            Presence::Gone => self.absences += 1,
            Presence::Seen(ProcessSample { cpu, memory }) => {
                self.absences = 0;
                if busy {
                    self.cpu_before = self.cpu_before.min(cpu);
                }
                let request_cpu = cpu.saturating_sub(self.cpu_before);
                self.usage = Some(Usage { cpu, request_cpu, memory });
            }
        }
    }
}

impl Babysitter {
    /// Creates a babysitter without children.
    #[must_use]
    pub fn new(limits: Limits, ladder: Ladder, now: MonotonicTime) -> Babysitter {
        Babysitter { limits, ladder, watched: HashMap::new(), counted_from: now, due: None }
    }

    /// Returns the limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Scans all children, and returns what to do.
    ///
    /// If a scan is more than 500 ms later than the time that [`next_scan`](Babysitter::next_scan)
    /// returned, the whole system or this process was suspended. The request and heartbeat timeouts
    /// then start again, and the next ladder steps are postponed by as much as the scan is late.
    pub fn scan(
        &mut self,
        children: impl IntoIterator<Item = ScanResult>,
        slots: u32,
        now: MonotonicTime,
    ) -> Vec<Action> {
        self.detect_suspend(now);
        let mut actions = Vec::new();
        let mut seen = HashMap::with_capacity(self.watched.len());
        for ScanResult { entry, presence } in children {
            // Skip slots without a process, and slots whose contents are damaged.
            if !entry.status.is_some_and(Status::is_seated) {
                continue;
            }
            let known = self.watched.remove(&entry.slot);
            let known = known.filter(|child| child.generation == entry.generation);
            let mut child = known.unwrap_or_else(|| WatchedChild::new(entry.generation));
            child.note(&entry, presence);
            if let Some(kind) = self.assess(&entry, &mut child, slots, now) {
                actions.push(Action {
                    slot: entry.slot,
                    generation: entry.generation,
                    pid: entry.pid,
                    request_cpu: child.usage.map(|usage| usage.request_cpu),
                    kind,
                });
            }
            seen.insert(entry.slot, child);
        }
        self.watched = seen;
        actions
    }

    fn assess(
        &self,
        entry: &SlotEntry,
        child: &mut WatchedChild,
        slots: u32,
        now: MonotonicTime,
    ) -> Option<ActionKind> {
        if child.absences >= 2 {
            child.absences = 0;
            return Some(ActionKind::Missing);
        }
        let finding = self.assess_child(entry, child, slots, now);
        match (finding, &mut child.escalation) {
            (Assessment::Rogue(violation), None) => {
                let mut escalation = Escalation::start(&self.ladder, violation, now);
                let step = escalation.step(&self.ladder, now);
                child.escalation = Some(escalation);
                step.map(|step| ActionKind::FirstStep(violation, step))
            }
            (Assessment::Rogue(violation), Some(escalation)) => {
                escalation.worsen(&self.ladder, violation, now);
                escalation.step(&self.ladder, now).map(|step| ActionKind::NextStep(violation, step))
            }
            (Assessment::Recycle(_) | Assessment::Normal, Some(escalation)) => {
                let violation = escalation.violation;
                child.escalation = None;
                Some(ActionKind::Recovered(violation))
            }
            (Assessment::Recycle(spent), None) if child.recycled.is_none() => {
                child.recycled = Some(spent);
                Some(ActionKind::Recycle(spent))
            }
            (Assessment::Recycle(_) | Assessment::Normal, None) => {
                let is_another_request = child.slow != Some(entry.requests);
                (is_another_request && self.limits.is_slow(entry, now)).then(|| {
                    child.slow = Some(entry.requests);
                    ActionKind::SlowRequest
                })
            }
        }
    }

    /// Assesses a child. Reports a missing heartbeat only if it is still missing after
    /// [`HEARTBEAT_RECHECK`], or if the child is a rogue already.
    fn assess_child(
        &self,
        entry: &SlotEntry,
        child: &mut WatchedChild,
        slots: u32,
        now: MonotonicTime,
    ) -> Assessment {
        let usage = child.usage.as_ref();
        let finding =
            self.limits.assess(entry, usage, start_index(entry, slots), now, self.counted_from);
        if finding != Assessment::Rogue(Violation::Hung) {
            child.missed = None;
            return finding;
        }
        let missed = *child.missed.get_or_insert(now);
        if now >= missed + HEARTBEAT_RECHECK || child.escalation.is_some() {
            return finding;
        }
        Assessment::Normal
    }

    /// Returns whether an action is still justified. Collecting evidence takes time, during which
    /// the child may have recovered or exited. If the action is no longer justified, the child's
    /// next violation starts the ladder from the beginning.
    pub fn confirm(
        &mut self,
        action: &Action,
        entry: &SlotEntry,
        slots: u32,
        now: MonotonicTime,
    ) -> Confirmation {
        let limits = &self.limits;
        let child = self.watched.get_mut(&action.slot);
        let Some(child) = child.filter(|child| child.generation == action.generation) else {
            return Confirmation::Outdated;
        };
        let same_request = entry.requests == child.request;
        let usage = child.usage.map(|usage| Usage {
            request_cpu: if same_request { usage.request_cpu } else { Duration::ZERO },
            ..usage
        });
        let finding =
            limits.assess(entry, usage.as_ref(), start_index(entry, slots), now, self.counted_from);
        let same_child = entry.generation == action.generation && entry.pid == action.pid;
        match finding {
            Assessment::Rogue(_) if same_child => Confirmation::StillValid,
            Assessment::Rogue(_) | Assessment::Recycle(_) | Assessment::Normal => {
                child.escalation = None;
                child.missed = None;
                Confirmation::Outdated
            }
        }
    }

    fn detect_suspend(&mut self, now: MonotonicTime) {
        let Some(due) = self.due.take() else { return };
        let late = now.saturating_since(due);
        if late > SUSPEND_THRESHOLD {
            self.counted_from = now;
            for child in self.watched.values_mut() {
                child.missed = None;
            }
            for escalation in
                self.watched.values_mut().filter_map(|child| child.escalation.as_mut())
            {
                escalation.delay(late);
            }
        }
    }

    /// Returns when to scan again. This is the earliest of the following times, but at least 20 ms
    /// from now:
    ///
    /// - when a limit, a heartbeat check or a ladder step is due for one of these children
    /// - when a child or a request that starts now could reach a time limit
    /// - `sample`, when the next sample is due
    pub fn next_scan(
        &mut self,
        children: impl IntoIterator<Item = SlotEntry>,
        slots: u32,
        sample: MonotonicTime,
        now: MonotonicTime,
    ) -> MonotonicTime {
        let (limits, ladder, counted_from) = (&self.limits, &self.ladder, self.counted_from);
        let dues = children.into_iter().flat_map(|entry| {
            let child = self.watched.get(&entry.slot);
            let escalation = child.and_then(|child| child.escalation.as_ref()?.due(ladder));
            let second = child.and_then(|child| Some(child.missed? + HEARTBEAT_RECHECK));
            let second = second.filter(|second| *second > now);
            [
                escalation,
                second,
                limits.next_due(&entry, start_index(&entry, slots), now, counted_from),
            ]
        });
        let soon = limits.shortest().map(|time| now + time);
        let due = dues
            .chain([soon])
            .flatten()
            .fold(sample, MonotonicTime::min)
            .max(now + MIN_SCAN_INTERVAL);
        self.due = Some(due);
        due
    }
}

/// Returns the start index for the jitter, computed from the generation and the slot. Children that
/// are started together have neighbouring slots, so they get consecutive indices.
fn start_index(entry: &SlotEntry, slots: u32) -> u64 {
    u64::from(entry.generation.get()) * u64::from(slots) + u64::from(entry.slot.get())
}

#[cfg(test)]
mod tests;
