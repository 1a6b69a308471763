//! Reaping of workers, and the grace period of the shutdown.

use daemon_core::{
    ChildKind, Exit, MonotonicTime, Phase, SlotNumber, Status, StopReason, classify_exit, format,
};
use daemon_sys::process::number_of;
use daemon_sys::reap::ExitedChild;
use daemon_sys::{Pid, Signal};
use slog::{debug, warn};

use super::{ManagerPhase, PreforkManager};
use crate::clock::now;
use crate::error::Error;
use crate::hooks::Reaped;
use crate::pool::{ExitKind, StopRequest, WorkerEntry};

impl PreforkManager {
    /// Reaps workers that have exited, and no other children of this process.
    pub(super) fn reap(&mut self) -> Result<(), Error> {
        for ExitedChild { pid, exit } in self.children.reap_exited()? {
            let slot = self.slots.remove(&pid);
            let entry = slot.and_then(|slot| self.pool.entry(slot).copied());
            if let (Some(slot), Some(entry)) = (slot, entry) {
                self.record_exit(slot, entry, pid, exit);
            }
        }
        Ok(())
    }

    fn record_exit(&mut self, slot: SlotNumber, entry: WorkerEntry, pid: Pid, exit: Exit) {
        let time = now();
        let last = self.board.close_slot(slot, time);
        // Exit code 0 counts as success in every case, as in `Parallel::Prefork`.
        let last = match exit {
            Exit::Code(0) => Status::Leaving,
            Exit::Code(_) | Exit::Signal { .. } | Exit::Unknown => {
                last.status.unwrap_or(Status::Empty)
            }
        };
        let stop_reason = entry.stop_request.map(|request| request.reason);
        let exit_to_classify = stopped_by_term(exit, entry.stop_request);
        let cause = classify_exit(exit_to_classify, last, stop_reason, ChildKind::OneRequest);
        self.board.record_exit(slot, cause);
        let is_regular =
            cause.is_expected() || stop_reason.is_some() || entry.generation != self.generation;
        let kind = if is_regular { ExitKind::Regular } else { ExitKind::Failure };
        self.pool.set_exited(slot, kind, time);
        let lifetime = time.saturating_since(entry.forked_at);
        match kind {
            ExitKind::Regular => {
                debug!(
                    self.log, "worker exited";
                    "worker" => pid.as_raw(), "slot" => slot.get(), "reason" => %cause
                );
            }
            ExitKind::Failure => warn!(
                self.log, "worker exited";
                "worker" => pid.as_raw(), "slot" => slot.get(), "reason" => %cause,
                "lifetime" => %format::duration(lifetime)
            ),
        }
        if self.hooks.on_child_reap.is_some() {
            let overview = self.overview();
            let generation = entry.generation;
            let reaped = Reaped { pid, slot, generation, exit, cause, lifetime };
            if let Some(hook) = &mut self.hooks.on_child_reap {
                hook(&overview, &reaped);
            }
        }
    }

    /// Stops forking: workers that exit from now on are not replaced.
    pub(crate) fn begin_waiting(&mut self) {
        if self.phase == ManagerPhase::Waiting {
            return;
        }
        self.phase = ManagerPhase::Waiting;
        self.board.set_phase(Phase::Stopping);
        let requests =
            self.pool.running().filter_map(|(slot, entry, _)| Some((slot, entry.stop_request?)));
        for (slot, request) in requests.collect::<Vec<_>>() {
            self.pool.request_stop(slot, StopRequest { reason: StopReason::Stopping, ..request });
            self.set_kill_deadline(slot);
        }
    }

    /// Sets the time at which a worker that was asked to stop is killed. Does nothing if there is
    /// no grace period, or if the manager is not in the phase [`Waiting`](ManagerPhase::Waiting).
    pub(super) fn set_kill_deadline(&mut self, slot: SlotNumber) {
        if let (ManagerPhase::Waiting, Some(grace)) = (self.phase, self.grace)
            && let Some(entry) = self.pool.entry(slot)
        {
            self.kill_deadlines.push_back((now() + grace, (slot, entry.owner)));
        }
    }

    /// Kills the workers whose grace period has passed. Returns the time at which the next grace
    /// period ends, or `None` if there is none.
    pub(crate) fn kill_overdue(&mut self) -> Option<MonotonicTime> {
        let time = now();
        let mut killed = 0;
        while let Some((until, (slot, owner))) = self.kill_deadlines.front().copied() {
            if time < until {
                break;
            }
            self.kill_deadlines.pop_front();
            if self.pool.entry(slot).is_some_and(|entry| entry.owner == owner) {
                self.signal(slot, Signal::Kill);
                let stop_request =
                    StopRequest { reason: StopReason::Stopping, signal: Signal::Kill };
                self.pool.request_stop(slot, stop_request);
                killed += 1;
            }
        }
        if killed > 0 {
            warn!(self.log, "grace period expired, killing workers"; "workers" => killed);
        }
        self.kill_deadlines.front().map(|(until, _)| *until)
    }

    pub(crate) fn update_phase(&self) {
        if self.pool.workers() == 0 {
            self.board.set_phase(Phase::Stopped);
        }
    }
}

/// Returns the exit, or an exit by TERM if the worker was ended by its stop signal. The rules of
/// `daemon_core` know only TERM and QUIT as stop signals, but a worker can have another one. KILL
/// and a core dump stay what they are.
fn stopped_by_term(exit: Exit, stop_request: Option<StopRequest>) -> Exit {
    match (exit, stop_request) {
        (Exit::Signal { number, core: false }, Some(StopRequest { signal, .. }))
            if signal != Signal::Kill && number_of(signal) == number =>
        {
            Exit::Signal { number: number_of(Signal::Term), core: false }
        }
        _another => exit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_by_the_stop_signal_is_converted_to_an_exit_by_term() {
        let stop_request = |signal| Some(StopRequest { reason: StopReason::Stopping, signal });
        let exit = |signal| Exit::Signal { number: number_of(signal), core: false };
        let table = [
            (exit(Signal::Int), stop_request(Signal::Int), exit(Signal::Term)),
            (exit(Signal::Usr1), stop_request(Signal::Usr1), exit(Signal::Term)),
            (exit(Signal::Int), stop_request(Signal::Term), exit(Signal::Int)),
            (exit(Signal::Kill), stop_request(Signal::Kill), exit(Signal::Kill)),
            (exit(Signal::Int), None, exit(Signal::Int)),
            (Exit::Code(3), stop_request(Signal::Term), Exit::Code(3)),
            (Exit::Unknown, None, Exit::Unknown),
        ];
        for (exit, request, expected) in table {
            assert_eq!(stopped_by_term(exit, request), expected, "{exit:?}, {request:?}");
        }
    }
}
