//! The babysitter's memory: who was seen when, who stands on which rung, and what is to be done.

use std::collections::HashMap;
use std::time::Duration;

use super::ladder::{Climb, Ladder, LadderStep};
use super::limits::{Finding, Limits, Usage};
use crate::board::Entry;
use crate::exit_cause::{RecycleReason, Violation};
use crate::line::{Generation, SlotNumber};
use crate::monotonic::MonotonicTime;
use crate::status::Status;

/// Looks are at least so far apart, however many things are due.
const SPACING: Duration = Duration::from_millis(20);
/// A look that comes so much later than it was due comes after a sleep of the whole process.
const TOLERANCE: Duration = Duration::from_millis(500);

/// A heart that does not beat is looked at once more after so long: whoever has slept without our
/// noticing, a frozen container for one, beats as soon as it wakes.
const SECOND_LOOK: Duration = Duration::from_millis(200);

/// What the process table tells of a child's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
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
    Seen(Sample),
    /// It is there, and the process table hides it: nothing is known of it.
    Hidden,
    /// It is not there.
    Gone,
}

/// A child that was looked at.
#[derive(Debug, Clone, Copy)]
pub struct ScanResult {
    /// Its line on the scoreboard.
    pub entry: Entry,
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
    pub cpu_of_request: Option<Duration>,
    /// What.
    pub why: Why,
}

/// What is to be done, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is a rogue and has had its time: evidence first, then this step.
    First(Violation, LadderStep),
    /// It still is: the next step.
    Next(Violation, LadderStep),
    /// It has come back to normal: no more steps.
    Recovered(Violation),
    /// It is recycled after the request in hand.
    Recycle(RecycleReason),
    /// Its request is slow: evidence, nothing else.
    Slow,
    /// It is gone, twice in a row, and nobody has reported its end.
    Missing,
}

/// Whether what was found of a child holds at a second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Confirmed {
    /// It does.
    Yes,
    /// It does not: nothing is to be done.
    No,
}

/// The babysitter: judges all children at each look, and remembers what was done.
#[derive(Debug)]
pub struct Babysitter {
    limits: Limits,
    ladder: Ladder,
    charges: HashMap<SlotNumber, Charge>,
    floor: MonotonicTime,
    /// When the next look is due.
    due: Option<MonotonicTime>,
}

/// What is remembered of a child.
#[derive(Debug, Clone, Copy)]
struct Charge {
    generation: Generation,
    /// The request to which the processor time belongs, and what there was when it was first seen.
    request: u64,
    cpu_before: Duration,
    usage: Option<Usage>,
    climb: Option<Climb>,
    /// When its heart was first missed: it is missed twice before anything is done.
    missed: Option<MonotonicTime>,
    dismissed: Option<RecycleReason>,
    /// The slow request that evidence was taken of.
    slow: Option<u64>,
    absences: u32,
}

impl Charge {
    fn new(generation: Generation) -> Charge {
        Charge {
            generation,
            request: 0,
            cpu_before: Duration::ZERO,
            usage: None,
            climb: None,
            missed: None,
            dismissed: None,
            slow: None,
            absences: 0,
        }
    }

    fn note(&mut self, entry: &Entry, presence: Presence) {
        let busy = entry.status.is_some_and(Status::is_busy);
        if entry.requests != self.request || !busy {
            self.request = entry.requests;
            self.cpu_before = Duration::MAX;
            if let Some(usage) = &mut self.usage {
                usage.cpu_of_request = Duration::ZERO;
            }
        }
        match presence {
            Presence::NotChecked => {}
            Presence::Hidden => self.absences = 0,
            Presence::Gone => self.absences += 1,
            Presence::Seen(Sample { cpu, memory }) => {
                self.absences = 0;
                if busy {
                    self.cpu_before = self.cpu_before.min(cpu);
                }
                let cpu_of_request = cpu.saturating_sub(self.cpu_before);
                self.usage = Some(Usage { cpu, cpu_of_request, memory });
            }
        }
    }
}

impl Babysitter {
    /// Begins to watch.
    #[must_use]
    pub fn new(limits: Limits, ladder: Ladder, now: MonotonicTime) -> Babysitter {
        Babysitter { limits, ladder, charges: HashMap::new(), floor: now, due: None }
    }

    /// What children may use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Looks at all children, and says what is to be done.
    ///
    /// A look that comes much later than [`next_look`](Babysitter::next_look) has said comes after a
    /// sleep of the whole machine, or of this process: then nothing that lasts is held against a
    /// child until it has lasted anew.
    pub fn look(
        &mut self,
        children: impl IntoIterator<Item = ScanResult>,
        slots: u32,
        now: MonotonicTime,
    ) -> Vec<Action> {
        self.notice_a_sleep(now);
        let mut errands = Vec::new();
        let mut seen = HashMap::with_capacity(self.charges.len());
        for ScanResult { entry, presence } in children {
            // Nobody is there yet, or what is there cannot be read.
            if !entry.status.is_some_and(Status::is_seated) {
                continue;
            }
            let known = self.charges.remove(&entry.slot);
            let known = known.filter(|charge| charge.generation == entry.generation);
            let mut charge = known.unwrap_or_else(|| Charge::new(entry.generation));
            charge.note(&entry, presence);
            if let Some(why) = self.judge(&entry, &mut charge, slots, now) {
                errands.push(Action {
                    slot: entry.slot,
                    generation: entry.generation,
                    pid: entry.pid,
                    cpu_of_request: charge.usage.map(|usage| usage.cpu_of_request),
                    why,
                });
            }
            seen.insert(entry.slot, charge);
        }
        self.charges = seen;
        errands
    }

    fn judge(
        &self,
        entry: &Entry,
        charge: &mut Charge,
        slots: u32,
        now: MonotonicTime,
    ) -> Option<Why> {
        if charge.absences >= 2 {
            charge.absences = 0;
            return Some(Why::Missing);
        }
        let finding = self.find(entry, charge, slots, now);
        match (finding, &mut charge.climb) {
            (Finding::Rogue(offence), None) => {
                let mut climb = Climb::begin(&self.ladder, offence, now);
                let step = climb.step(&self.ladder, now);
                charge.climb = Some(climb);
                step.map(|measure| Why::First(offence, measure))
            }
            (Finding::Rogue(offence), Some(climb)) => {
                climb.worsen(&self.ladder, offence, now);
                climb.step(&self.ladder, now).map(|measure| Why::Next(offence, measure))
            }
            (Finding::Recycle(_) | Finding::Normal, Some(climb)) => {
                let offence = climb.offence;
                charge.climb = None;
                Some(Why::Recovered(offence))
            }
            (Finding::Recycle(spent), None) if charge.dismissed.is_none() => {
                charge.dismissed = Some(spent);
                Some(Why::Recycle(spent))
            }
            (Finding::Recycle(_) | Finding::Normal, None) => {
                let is_news = charge.slow != Some(entry.requests);
                (is_news && self.limits.is_slow(entry, now)).then(|| {
                    charge.slow = Some(entry.requests);
                    Why::Slow
                })
            }
        }
    }

    /// Judges, and takes a missing heartbeat for what it is only at the second look.
    fn find(&self, entry: &Entry, charge: &mut Charge, slots: u32, now: MonotonicTime) -> Finding {
        let usage = charge.usage.as_ref();
        let finding = self.limits.judge(entry, usage, birth(entry, slots), now, self.floor);
        if finding != Finding::Rogue(Violation::Hung) {
            charge.missed = None;
            return finding;
        }
        let missed = *charge.missed.get_or_insert(now);
        if now >= missed + SECOND_LOOK || charge.climb.is_some() {
            return finding;
        }
        Finding::Normal
    }

    /// Says whether what was found of a child still holds: evidence takes its time, and meanwhile
    /// the child may have come back to normal, or gone. Then its ladder is forgotten.
    pub fn confirm(
        &mut self,
        errand: &Action,
        entry: &Entry,
        slots: u32,
        now: MonotonicTime,
    ) -> Confirmed {
        let limits = &self.limits;
        let charge = self.charges.get_mut(&errand.slot);
        let Some(charge) = charge.filter(|charge| charge.generation == errand.generation) else {
            return Confirmed::No;
        };
        let same_request = entry.requests == charge.request;
        let usage = charge.usage.map(|usage| Usage {
            cpu_of_request: if same_request { usage.cpu_of_request } else { Duration::ZERO },
            ..usage
        });
        let finding = limits.judge(entry, usage.as_ref(), birth(entry, slots), now, self.floor);
        let same_child = entry.generation == errand.generation && entry.pid == errand.pid;
        match finding {
            Finding::Rogue(_) if same_child => Confirmed::Yes,
            Finding::Rogue(_) | Finding::Recycle(_) | Finding::Normal => {
                charge.climb = None;
                charge.missed = None;
                Confirmed::No
            }
        }
    }

    fn notice_a_sleep(&mut self, now: MonotonicTime) {
        let Some(due) = self.due.take() else { return };
        let late = now.saturating_since(due);
        if late > TOLERANCE {
            self.floor = now;
            for charge in self.charges.values_mut() {
                charge.missed = None;
            }
            for climb in self.charges.values_mut().filter_map(|charge| charge.climb.as_mut()) {
                climb.delay(late);
            }
        }
    }

    /// Says when to look again: when something is due with one of these children, or could be with
    /// one that has begun a request since, and at `sample` at the latest.
    pub fn next_look(
        &mut self,
        children: impl IntoIterator<Item = Entry>,
        slots: u32,
        sample: MonotonicTime,
        now: MonotonicTime,
    ) -> MonotonicTime {
        let (limits, ladder, floor) = (&self.limits, &self.ladder, self.floor);
        let dues = children.into_iter().flat_map(|entry| {
            let charge = self.charges.get(&entry.slot);
            let climb = charge.and_then(|charge| charge.climb.as_ref()?.due(ladder));
            let second = charge.and_then(|charge| Some(charge.missed? + SECOND_LOOK));
            let second = second.filter(|second| *second > now);
            [climb, second, limits.next_due(&entry, birth(&entry, slots), now, floor)]
        });
        let soon = limits.shortest().map(|time| now + time);
        let due = dues.chain([soon]).flatten().fold(sample, MonotonicTime::min).max(now + SPACING);
        self.due = Some(due);
        due
    }
}

/// Children that are born together sit side by side: their slots count their births.
fn birth(entry: &Entry, slots: u32) -> u64 {
    u64::from(entry.generation.get()) * u64::from(slots) + u64::from(entry.slot.get())
}

#[cfg(test)]
mod tests;
