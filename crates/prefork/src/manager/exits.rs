//! How workers end, by themselves and at the end of all.

use daemon_core::{
    ChildKind, Exit, MonotonicTime, Phase, SlotNumber, Status, StopReason, classify_exit,
};
use daemon_sys::reap::{self, ExitedChild};
use daemon_sys::{Pid, Signal};
use slog::{debug, warn};

use super::{ManagerPhase, PreforkManager};
use crate::clock::now;
use crate::error::Error;
use crate::hooks::Reaped;
use crate::pool::{ExitKind, StopRequest, WorkerEntry};

impl PreforkManager {
    /// Reaps the workers that have ended, and no other child of this process.
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

    fn record_exit(
        &mut self,
        slot: SlotNumber,
        entry: WorkerEntry,
        pid: Pid,
        exit: Option<reap::Exit>,
    ) {
        let time = now();
        let last = self.board.close_slot(slot, time);
        // Exit code 0 says that all is well, whoever has made it, as in the original.
        let last = match exit {
            Some(reap::Exit::Code(0)) => Status::Leaving,
            Some(_) | None => last.status.unwrap_or(Status::Empty),
        };
        let stop_request = entry.stop_request.map(|stop_request| stop_request.reason);
        let core_exit = to_core_exit(exit, entry.stop_request);
        let cause = classify_exit(core_exit, last, stop_request, ChildKind::OneRequest);
        self.board.record_exit(slot, cause);
        let is_good =
            cause.is_expected() || stop_request.is_some() || entry.generation != self.generation;
        let end = if is_good { ExitKind::Regular } else { ExitKind::Failure };
        self.pool.set_exited(slot, end, time);
        let lifetime = time.saturating_since(entry.forked_at);
        match end {
            ExitKind::Regular => {
                debug!(self.log, "worker {pid} is gone: {cause}"; "slot" => slot.get())
            }
            ExitKind::Failure => warn!(
                self.log, "worker {pid} is gone: {cause}";
                "slot" => slot.get(), "lived" => ?lifetime
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

    /// Nobody is forked from now on: those who were told to go make room for nobody.
    pub(crate) fn begin_waiting(&mut self) {
        if self.ending == ManagerPhase::Waiting {
            return;
        }
        self.ending = ManagerPhase::Waiting;
        self.board.set_phase(Phase::Stopping);
        let stop_request =
            self.pool.living().filter_map(|(slot, entry, _)| Some((slot, entry.stop_request?)));
        for (slot, stop_request) in stop_request.collect::<Vec<_>>() {
            self.pool
                .stop_request(slot, StopRequest { reason: StopReason::Stopping, ..stop_request });
            self.set_kill_deadline(slot);
        }
    }

    /// Notes that a worker that was told to leave is killed if it has not within the grace.
    pub(super) fn set_kill_deadline(&mut self, slot: SlotNumber) {
        if let (ManagerPhase::Waiting, Some(grace)) = (self.ending, self.grace)
            && let Some(entry) = self.pool.entry(slot)
        {
            self.kill_deadlines.push_back((now() + grace, (slot, entry.owner)));
        }
    }

    /// Kills those whose time is over; tells until when the next one has.
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
                let stop_request = StopRequest { reason: StopReason::Stopping, by: Signal::Kill };
                self.pool.stop_request(slot, stop_request);
                killed += 1;
            }
        }
        if killed > 0 {
            warn!(self.log, "workers that have not left in time are killed"; "workers" => killed);
        }
        self.kill_deadlines.front().map(|(until, _)| *until)
    }

    pub(crate) fn update_phase(&self) {
        if self.pool.workers() == 0 {
            self.board.set_phase(Phase::Stopped);
        }
    }
}

/// How a process ended, in the words of the rules, to which TERM is what tells a child to leave. Here
/// another signal may.
fn to_core_exit(exit: Option<reap::Exit>, stop_request: Option<StopRequest>) -> Exit {
    match exit {
        Some(reap::Exit::Code(code)) => Exit::Code(code),
        Some(reap::Exit::Signal { number, core: false })
            if stop_request.is_some_and(|stop_request| {
                stop_request.by != Signal::Kill && stop_request.by.number() == number
            }) =>
        {
            Exit::Signal { number: Signal::Term.number(), core: false }
        }
        Some(reap::Exit::Signal { number, core }) => Exit::Signal { number, core },
        None => Exit::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_by_the_signal_that_told_it_to_has_done_as_told() {
        let stop_request = |by| Some(StopRequest { reason: StopReason::Stopping, by });
        let end =
            |signal: Signal| Some(reap::Exit::Signal { number: signal.number(), core: false });
        let by = |signal: Signal| Exit::Signal { number: signal.number(), core: false };
        let table = [
            (end(Signal::Int), stop_request(Signal::Int), by(Signal::Term)),
            (end(Signal::Usr1), stop_request(Signal::Usr1), by(Signal::Term)),
            (end(Signal::Int), stop_request(Signal::Term), by(Signal::Int)),
            (end(Signal::Kill), stop_request(Signal::Kill), by(Signal::Kill)),
            (end(Signal::Int), None, by(Signal::Int)),
            (Some(reap::Exit::Code(3)), stop_request(Signal::Term), Exit::Code(3)),
            (None, None, Exit::Unknown),
        ];
        for (exit, stop_request, expected) in table {
            assert_eq!(to_core_exit(exit, stop_request), expected, "{exit:?}, {stop_request:?}");
        }
    }
}
