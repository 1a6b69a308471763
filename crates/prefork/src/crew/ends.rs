//! How workers end, by themselves and at the end of all.

use daemon_core::{ChildKind, Exit, MonotonicTime, Phase, SlotNumber, Status, StopReason, explain};
use daemon_sys::reap::{self, ExitedChild};
use daemon_sys::{Pid, Signal};
use slog::{debug, warn};

use super::{Crew, Ending};
use crate::clock::now;
use crate::error::Error;
use crate::hooks::Reaped;
use crate::staff::{Desk, End, Told};

impl Crew {
    /// Reaps the workers that have ended, and no other child of this process.
    pub(super) fn reap(&mut self) -> Result<(), Error> {
        for ExitedChild { pid, exit } in self.children.reap_exited()? {
            let slot = self.slots.remove(&pid);
            let desk = slot.and_then(|slot| self.staff.desk(slot).copied());
            if let (Some(slot), Some(desk)) = (slot, desk) {
                self.note_gone(slot, desk, pid, exit);
            }
        }
        Ok(())
    }

    fn note_gone(&mut self, slot: SlotNumber, desk: Desk, pid: Pid, exit: Option<reap::Exit>) {
        let time = now();
        let last = self.board.close(slot, time);
        // Exit code 0 says that all is well, whoever has made it, as in the original.
        let last = match exit {
            Some(reap::Exit::Code(0)) => Status::Leaving,
            Some(_) | None => last.status.unwrap_or(Status::Empty),
        };
        let dismissed = desk.dismissed.map(|told| told.why);
        let exit_told = in_terms_of_rules(exit, desk.dismissed);
        let cause = explain(exit_told, last, dismissed, ChildKind::OneRequest);
        self.board.departed(slot, cause);
        let is_good =
            cause.is_regular() || dismissed.is_some() || desk.generation != self.generation;
        let end = if is_good { End::Good } else { End::Bad };
        self.staff.gone(slot, end, time);
        let lived = time.saturating_since(desk.born);
        match end {
            End::Good => debug!(self.log, "worker {pid} is gone: {cause}"; "slot" => slot.get()),
            End::Bad => warn!(
                self.log, "worker {pid} is gone: {cause}";
                "slot" => slot.get(), "lived" => ?lived
            ),
        }
        if self.hooks.on_child_reap.is_some() {
            let overview = self.overview();
            let generation = desk.generation;
            let reaped = Reaped { pid, slot, generation, exit, cause, lived };
            if let Some(hook) = &mut self.hooks.on_child_reap {
                hook(&overview, &reaped);
            }
        }
    }

    /// Nobody is forked from now on: those who were told to go make room for nobody.
    pub(crate) fn begin_ending(&mut self) {
        if self.ending == Ending::Waiting {
            return;
        }
        self.ending = Ending::Waiting;
        self.board.set_phase(Phase::Stopping);
        let told = self.staff.living().filter_map(|(slot, desk, _)| Some((slot, desk.dismissed?)));
        for (slot, told) in told.collect::<Vec<_>>() {
            self.staff.dismissed(slot, Told { why: StopReason::Stopping, ..told });
            self.expect_gone(slot);
        }
    }

    /// Notes that a worker that was told to leave is killed if it has not within the grace.
    pub(super) fn expect_gone(&mut self, slot: SlotNumber) {
        if let (Ending::Waiting, Some(grace)) = (self.ending, self.grace)
            && let Some(desk) = self.staff.desk(slot)
        {
            self.overdue.push_back((now() + grace, (slot, desk.owner)));
        }
    }

    /// Kills those whose time is over; tells until when the next one has.
    pub(crate) fn kill_overdue(&mut self) -> Option<MonotonicTime> {
        let time = now();
        let mut killed = 0;
        while let Some((until, (slot, owner))) = self.overdue.front().copied() {
            if time < until {
                break;
            }
            self.overdue.pop_front();
            if self.staff.desk(slot).is_some_and(|desk| desk.owner == owner) {
                self.signal(slot, Signal::Kill);
                let told = Told { why: StopReason::Stopping, by: Signal::Kill };
                self.staff.dismissed(slot, told);
                killed += 1;
            }
        }
        if killed > 0 {
            warn!(self.log, "workers that have not left in time are killed"; "workers" => killed);
        }
        self.overdue.front().map(|(until, _)| *until)
    }

    pub(crate) fn note_end(&self) {
        if self.staff.workers() == 0 {
            self.board.set_phase(Phase::Stopped);
        }
    }
}

/// How a process ended, in the words of the rules, to which TERM is what tells a child to leave. Here
/// another signal may.
fn in_terms_of_rules(exit: Option<reap::Exit>, told: Option<Told>) -> Exit {
    match exit {
        Some(reap::Exit::Code(code)) => Exit::Code(code),
        Some(reap::Exit::Signal { number, core: false })
            if told.is_some_and(|told| told.by != Signal::Kill && told.by.number() == number) =>
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
        let told = |by| Some(Told { why: StopReason::Stopping, by });
        let end =
            |signal: Signal| Some(reap::Exit::Signal { number: signal.number(), core: false });
        let by = |signal: Signal| Exit::Signal { number: signal.number(), core: false };
        let table = [
            (end(Signal::Int), told(Signal::Int), by(Signal::Term)),
            (end(Signal::Usr1), told(Signal::Usr1), by(Signal::Term)),
            (end(Signal::Int), told(Signal::Term), by(Signal::Int)),
            (end(Signal::Kill), told(Signal::Kill), by(Signal::Kill)),
            (end(Signal::Int), None, by(Signal::Int)),
            (Some(reap::Exit::Code(3)), told(Signal::Term), Exit::Code(3)),
            (None, None, Exit::Unknown),
        ];
        for (exit, told, expected) in table {
            assert_eq!(in_terms_of_rules(exit, told), expected, "{exit:?}, {told:?}");
        }
    }
}
