//! Sends signals to workers.

use daemon_core::{SlotNumber, StopReason, format};
use daemon_sys::Signal;
use slog::{debug, info, warn};

use super::{ManagerPhase, PreforkManager};
use crate::clock::now;
use crate::pool::StopRequest;
use crate::rolling_signal::{RollingSignal, WorkerId};
use crate::signal_forward::SignalForward;

impl PreforkManager {
    /// Asks excess workers to stop.
    pub(super) fn stop_excess_workers(&mut self, slots: &[SlotNumber]) {
        let stop_signal = self.traps.stop_signal();
        for slot in slots {
            self.signal(*slot, stop_signal);
            self.pool.request_stop(
                *slot,
                StopRequest { reason: StopReason::Retired, signal: stop_signal },
            );
        }
        debug!(
           self.log, "stopping excess workers";
           "workers" => slots.len(), "signal" => %stop_signal
        );
    }

    /// Forwards a trapped signal to the workers.
    pub(crate) fn forward(&mut self, signal: Signal) {
        let workers = self.pool.workers();
        match self.traps.forward(signal) {
            SignalForward::Nothing => {
                info!(self.log, "signal received"; "signal" => %signal, "workers" => workers);
            }
            SignalForward::ToAll(forwarded) => {
                info!(
                    self.log, "signal received, forwarding to all workers";
                    "signal" => %signal, "forwarded" => %forwarded, "workers" => workers
                );
                self.signal_all(forwarded);
            }
            SignalForward::OneByOne(forwarded, interval) => {
                info!(
                    self.log, "signal received, forwarding to one worker after another";
                    "signal" => %signal, "forwarded" => %forwarded,
                    "interval" => %format::duration(interval), "workers" => workers
                );
                let targets = self.rolling_targets(forwarded);
                match self.rolling_signals.iter_mut().find(|rolling| rolling.signal() == forwarded)
                {
                    Some(rolling) => rolling.extend(interval, targets),
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

    /// Returns the workers that receive a rolling signal, which is sent to one worker after
    /// another, the oldest first. A stop signal is not sent to workers that were already asked to
    /// stop.
    fn rolling_targets(&self, signal: Signal) -> Vec<WorkerId> {
        let is_stop_signal = self.traps.is_stop_signal(signal);
        let mut living: Vec<_> = self.pool.running().collect();
        living.retain(|(_, entry, _)| !(is_stop_signal && entry.stop_request.is_some()));
        living.sort_by_key(|(slot, entry, _)| (entry.forked_at, *slot));
        living.into_iter().map(|(slot, entry, _)| (slot, entry.owner)).collect()
    }

    /// Sends rolling signals that are due.
    pub(super) fn send_due_signals(&mut self) {
        let mut due = Vec::new();
        let pool = &self.pool;
        let is_alive = |(slot, owner)| pool.entry(slot).is_some_and(|entry| entry.owner == owner);
        for rolling in &mut self.rolling_signals {
            let signal = rolling.signal();
            due.extend(rolling.take(now(), is_alive).map(|(slot, _)| (slot, signal)));
        }
        self.rolling_signals.retain(|rolling| rolling.due().is_some());
        for (slot, signal) in due {
            self.signal_worker(slot, signal);
        }
    }

    /// Sends a signal to all workers.
    pub(crate) fn signal_all(&mut self, signal: Signal) {
        let slots: Vec<SlotNumber> = self.pool.running().map(|(slot, ..)| slot).collect();
        for slot in slots {
            self.signal_worker(slot, signal);
        }
    }

    fn signal_worker(&mut self, slot: SlotNumber, signal: Signal) {
        self.signal(slot, signal);
        if self.traps.is_stop_signal(signal) {
            let reason = match self.phase {
                ManagerPhase::Running => StopReason::Retired,
                ManagerPhase::Waiting => StopReason::Stopping,
            };
            self.pool.request_stop(slot, StopRequest { reason, signal });
            self.set_kill_deadline(slot);
        }
    }

    pub(super) fn signal(&self, slot: SlotNumber, signal: Signal) {
        if let Some(pid) = self.pool.entry(slot).and_then(|entry| entry.pid)
            && let Err(error) = self.children.signal(pid, signal)
        {
            warn!(
                self.log, "cannot signal a worker";
                "worker" => pid.as_raw(), "slot" => slot.get(), "signal" => %signal,
                "error" => error.to_string()
            );
        }
    }
}
