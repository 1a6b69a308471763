//! What the manager sends its workers.

use daemon_core::{SlotNumber, StopReason};
use daemon_sys::Signal;
use slog::{debug, info, warn};

use super::{Crew, Ending};
use crate::clock::now;
use crate::forward::Forward;
use crate::rolling::{Place, Rolling};
use crate::staff::Told;

impl Crew {
    /// Tells workers to leave, since they are too many.
    pub(super) fn retire(&mut self, slots: &[SlotNumber]) {
        let farewell = self.traps.farewell();
        for slot in slots {
            self.signal(*slot, farewell);
            self.staff.dismissed(*slot, Told { why: StopReason::Retired, by: farewell });
        }
        debug!(self.log, "{} workers too many: {farewell}", slots.len());
    }

    /// Passes a trapped signal on.
    pub(crate) fn forward(&mut self, signal: Signal) {
        let workers = self.staff.workers();
        match self.traps.forward(signal) {
            Forward::Nothing => info!(self.log, "{signal} has come"; "workers" => workers),
            Forward::To(forwarded) => {
                info!(self.log, "{signal} has come: {forwarded} to all"; "workers" => workers);
                self.signal_all(forwarded);
            }
            Forward::OneByOne(forwarded, interval) => {
                info!(
                    self.log, "{signal} has come: {forwarded} to one after another, {interval:?} apart";
                    "workers" => workers
                );
                let places = self.rolling_places(forwarded);
                match self.rolling.iter_mut().find(|rolling| rolling.signal() == forwarded) {
                    Some(rolling) => rolling.extend(interval, places),
                    None => self.rolling.push(Rolling::new(forwarded, interval, places, now())),
                }
                self.roll();
            }
        }
    }

    /// Who is to get a signal that goes from one to the next: the oldest first, and nobody who was
    /// told to leave already.
    fn rolling_places(&self, signal: Signal) -> Vec<Place> {
        let dismisses = self.traps.dismisses(signal);
        let mut living: Vec<_> = self.staff.living().collect();
        living.retain(|(_, desk, _)| !(dismisses && desk.dismissed.is_some()));
        living.sort_by_key(|(slot, desk, _)| (desk.born, *slot));
        living.into_iter().map(|(slot, desk, _)| (slot, desk.owner)).collect()
    }

    /// Sends the signals that go from one worker to the next, those that are due.
    pub(super) fn roll(&mut self) {
        let mut due = Vec::new();
        let staff = &self.staff;
        let is_alive = |(slot, owner)| staff.desk(slot).is_some_and(|desk| desk.owner == owner);
        for rolling in &mut self.rolling {
            let signal = rolling.signal();
            due.extend(rolling.take(now(), is_alive).map(|(slot, _)| (slot, signal)));
        }
        self.rolling.retain(|rolling| rolling.due().is_some());
        for (slot, signal) in due {
            self.signal_and_note(slot, signal);
        }
    }

    /// Sends a signal to all workers.
    pub(crate) fn signal_all(&mut self, signal: Signal) {
        let slots: Vec<SlotNumber> = self.staff.living().map(|(slot, ..)| slot).collect();
        for slot in slots {
            self.signal_and_note(slot, signal);
        }
    }

    fn signal_and_note(&mut self, slot: SlotNumber, signal: Signal) {
        self.signal(slot, signal);
        if self.traps.dismisses(signal) {
            let why = match self.ending {
                Ending::NotYet => StopReason::Retired,
                Ending::Waiting => StopReason::Stopping,
            };
            self.staff.dismissed(slot, Told { why, by: signal });
            self.expect_gone(slot);
        }
    }

    pub(super) fn signal(&self, slot: SlotNumber, signal: Signal) {
        if let Some(pid) = self.staff.desk(slot).and_then(|desk| desk.pid)
            && let Err(why) = self.children.signal(pid, signal)
        {
            warn!(self.log, "{why}"; "slot" => slot.get());
        }
    }
}
