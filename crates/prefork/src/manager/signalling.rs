//! What the manager sends its workers.

use daemon_core::{SlotNumber, StopReason};
use daemon_sys::Signal;
use slog::{debug, info, warn};

use super::{ManagerPhase, PreforkManager};
use crate::clock::now;
use crate::pool::StopRequest;
use crate::rolling_signal::{RollingSignal, WorkerId};
use crate::signal_forward::SignalForward;

impl PreforkManager {
    /// Tells workers to leave, since they are too many.
    pub(super) fn retire(&mut self, slots: &[SlotNumber]) {
        let stop_signal = self.traps.stop_signal();
        for slot in slots {
            self.signal(*slot, stop_signal);
            self.pool
                .stop_request(*slot, StopRequest { reason: StopReason::Retired, by: stop_signal });
        }
        debug!(self.log, "{} workers too many: {stop_signal}", slots.len());
    }

    /// Passes a trapped signal on.
    pub(crate) fn forward(&mut self, signal: Signal) {
        let workers = self.pool.workers();
        match self.traps.forward(signal) {
            SignalForward::Nothing => info!(self.log, "{signal} has come"; "workers" => workers),
            SignalForward::ToAll(forwarded) => {
                info!(self.log, "{signal} has come: {forwarded} to all"; "workers" => workers);
                self.signal_all(forwarded);
            }
            SignalForward::OneByOne(forwarded, interval) => {
                info!(
                    self.log, "{signal} has come: {forwarded} to one after another, {interval:?} apart";
                    "workers" => workers
                );
                let targets = self.rolling_targets(forwarded);
                match self
                    .rolling_signals
                    .iter_mut()
                    .find(|rolling_signals| rolling_signals.signal() == forwarded)
                {
                    Some(rolling_signals) => rolling_signals.extend(interval, targets),
                    None => self.rolling_signals.push(RollingSignal::new(
                        forwarded,
                        interval,
                        targets,
                        now(),
                    )),
                }
                self.send_due_signals();
            }
        }
    }

    /// Who is to get a signal that goes from one to the next: the oldest first, and nobody who was
    /// told to leave already.
    fn rolling_targets(&self, signal: Signal) -> Vec<WorkerId> {
        let is_stop_signal = self.traps.is_stop_signal(signal);
        let mut living: Vec<_> = self.pool.living().collect();
        living.retain(|(_, entry, _)| !(is_stop_signal && entry.stop_request.is_some()));
        living.sort_by_key(|(slot, entry, _)| (entry.forked_at, *slot));
        living.into_iter().map(|(slot, entry, _)| (slot, entry.owner)).collect()
    }

    /// Sends the signals that go from one worker to the next, those that are due.
    pub(super) fn send_due_signals(&mut self) {
        let mut due = Vec::new();
        let pool = &self.pool;
        let is_alive = |(slot, owner)| pool.entry(slot).is_some_and(|entry| entry.owner == owner);
        for rolling_signals in &mut self.rolling_signals {
            let signal = rolling_signals.signal();
            due.extend(rolling_signals.take(now(), is_alive).map(|(slot, _)| (slot, signal)));
        }
        self.rolling_signals.retain(|rolling_signals| rolling_signals.due().is_some());
        for (slot, signal) in due {
            self.signal_worker(slot, signal);
        }
    }

    /// Sends a signal to all workers.
    pub(crate) fn signal_all(&mut self, signal: Signal) {
        let slots: Vec<SlotNumber> = self.pool.living().map(|(slot, ..)| slot).collect();
        for slot in slots {
            self.signal_worker(slot, signal);
        }
    }

    fn signal_worker(&mut self, slot: SlotNumber, signal: Signal) {
        self.signal(slot, signal);
        if self.traps.is_stop_signal(signal) {
            let reason = match self.ending {
                ManagerPhase::Running => StopReason::Retired,
                ManagerPhase::Waiting => StopReason::Stopping,
            };
            self.pool.stop_request(slot, StopRequest { reason, by: signal });
            self.set_kill_deadline(slot);
        }
    }

    pub(super) fn signal(&self, slot: SlotNumber, signal: Signal) {
        if let Some(pid) = self.pool.entry(slot).and_then(|entry| entry.pid)
            && let Err(reason) = self.children.signal(pid, signal)
        {
            warn!(self.log, "{reason}"; "slot" => slot.get());
        }
    }
}
