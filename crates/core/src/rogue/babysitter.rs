//! The babysitter's memory: who was seen when, who stands on which rung, and what is to be done.

use std::collections::HashMap;
use std::time::Duration;

use super::ladder::{Escalation, Ladder, LadderStep};
use super::limits::{Assessment, Limits, Usage};
use crate::board::SlotEntry;
use crate::exit_cause::{RecycleReason, Violation};
use crate::line::{Generation, SlotNumber};
use crate::monotonic::MonotonicTime;
use crate::status::Status;

/// Looks are at least so far apart, however many things are due.
const MIN_SCAN_INTERVAL: Duration = Duration::from_millis(20);
/// A look that comes so much later than it was due comes after a sleep of the whole process.
const SUSPEND_THRESHOLD: Duration = Duration::from_millis(500);

/// A heart that does not beat is looked at once more after so long: whoever has slept without our
/// noticing, a frozen container for one, beats as soon as it wakes.
const HEARTBEAT_RECHECK: Duration = Duration::from_millis(200);

/// What the process table tells of a child's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessSample {
    /// Processor time since its birth.
    pub cpu: Duration,
    /// Memory in bytes, by whichever measure was chosen; none where the system does not tell.
    pub memory: Option<u64>,
}

/// Whether a child's process was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It was not looked for.
    NotChecked,
    /// It is in the process table.
    Seen(ProcessSample),
    /// It is there, and the process table hides it: nothing is known of it.
    Hidden,
    /// It is not there.
    Gone,
}

/// A child that was looked at.
#[derive(Debug, Clone, Copy)]
pub struct ScanResult {
    /// Its line on the scoreboard.
    pub entry: SlotEntry,
    /// What the process table says.
    pub presence: Presence,
}

/// What is to be done about a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// Its slot.
    pub slot: SlotNumber,
    /// Which of the slot's owners it is.
    pub generation: Generation,
    /// Its process.
    pub pid: u32,
    /// Its processor time in the request in hand, where that is known.
    pub request_cpu: Option<Duration>,
    /// What.
    pub kind: ActionKind,
}

/// What is to be done, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// It is a rogue and has had its time: evidence first, then this step.
    FirstStep(Violation, LadderStep),
    /// It still is: the next step.
    NextStep(Violation, LadderStep),
    /// It has come back to normal: no more steps.
    Recovered(Violation),
    /// It is recycled after the request in hand.
    Recycle(RecycleReason),
    /// Its request is slow: evidence, nothing else.
    SlowRequest,
    /// It is gone, twice in a row, and nobody has reported its end.
    Missing,
}

/// Whether what was found of a child holds at a second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Confirmation {
    /// It does.
    StillValid,
    /// It does not: nothing is to be done.
    Outdated,
}

/// The babysitter: judges all children at each look, and remembers what was done.
#[derive(Debug)]
pub struct Babysitter {
    limits: Limits,
    ladder: Ladder,
    watched: HashMap<SlotNumber, WatchedChild>,
    counted_from: MonotonicTime,
    /// When the next look is due.
    due: Option<MonotonicTime>,
}

/// What is remembered of a child.
#[derive(Debug, Clone, Copy)]
struct WatchedChild {
    generation: Generation,
    /// The request to which the processor time belongs, and what there was when it was first seen.
    request: u64,
    cpu_before: Duration,
    usage: Option<Usage>,
    escalation: Option<Escalation>,
    /// When its heart was first missed: it is missed twice before anything is done.
    missed: Option<MonotonicTime>,
    recycled: Option<RecycleReason>,
    /// The slow request that evidence was taken of.
    slow: Option<u64>,
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
    /// Begins to watch.
    #[must_use]
    pub fn new(limits: Limits, ladder: Ladder, now: MonotonicTime) -> Babysitter {
        Babysitter { limits, ladder, watched: HashMap::new(), counted_from: now, due: None }
    }

    /// What children may use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Looks at all children, and says what is to be done.
    ///
    /// A look that comes much later than [`next_scan`](Babysitter::next_scan) has said comes after a
    /// sleep of the whole machine, or of this process: then nothing that lasts is held against a
    /// child until it has lasted anew.
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
            // Nobody is there yet, or what is there cannot be read.
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
                let is_news = child.slow != Some(entry.requests);
                (is_news && self.limits.is_slow(entry, now)).then(|| {
                    child.slow = Some(entry.requests);
                    ActionKind::SlowRequest
                })
            }
        }
    }

    /// Judges, and takes a missing heartbeat for what it is only at the second look.
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

    /// Says whether what was found of a child still holds: evidence takes its time, and meanwhile
    /// the child may have come back to normal, or gone. Then its ladder is forgotten.
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

    /// Says when to look again: when something is due with one of these children, or could be with
    /// one that has begun a request since, and at `sample` at the latest.
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

/// Children that are born together sit side by side: their slots count their births.
fn start_index(entry: &SlotEntry, slots: u32) -> u64 {
    u64::from(entry.generation.get()) * u64::from(slots) + u64::from(entry.slot.get())
}

#[cfg(test)]
mod tests;
