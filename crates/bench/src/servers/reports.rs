//! Status reports on a scoreboard in shared memory, without a child process.

use std::cell::Cell;
use std::process;

use daemon_core::{
    MonotonicTime, Scoreboard, ScoreboardLine, Seat, SlotNumber, Status, WakeParent, lines_for,
};
use daemon_forkserver::now;
use daemon_sys::shared;

use crate::Measured;

/// A wakeup that only counts its calls, because no parent sleeps here.
#[derive(Default)]
pub(crate) struct CountingWakeup {
    wakes: Cell<u64>,
}

impl WakeParent for &'static CountingWakeup {
    fn wake(&self) {
        self.wakes.set(self.wakes.get() + 1);
    }
}

/// A seat on a scoreboard whose parent is awake.
pub(crate) struct ReportingSeat {
    seat: Seat<&'static CountingWakeup>,
    wakeup: &'static CountingWakeup,
}

impl ReportingSeat {
    /// Creates a scoreboard and takes a seat on it.
    pub(crate) fn new() -> Measured<ReportingSeat> {
        const SLOTS: u32 = 64;
        let lines: &'static [ScoreboardLine] = shared::anonymous(lines_for(SLOTS)?)?;
        let scoreboard = Scoreboard::format(lines, SLOTS, now())?;
        let slot = SlotNumber::new(3);
        let generation = scoreboard.open_slot(slot, now())?;
        let wakeup: &'static CountingWakeup = Box::leak(Box::default());
        let seat = Seat::take(scoreboard.reader(), slot, generation, process::id(), now(), wakeup)?;
        seat.report(Status::Fresh, now())?;
        seat.report(Status::Serving, now())?;
        Ok(ReportingSeat { seat, wakeup })
    }

    /// Reports this many times that a request has ended and that the next request has started.
    /// `clock` returns the time of each report. Fails if a report wakes the parent.
    pub(crate) fn report(&self, times: u64, clock: impl Fn() -> MonotonicTime) -> Measured<()> {
        for _pair in 0..times {
            self.seat.report(Status::Waiting, clock())?;
            self.seat.report(Status::Serving, clock())?;
        }
        match self.wakeup.wakes.get() {
            0 => Ok(()),
            wakes => Err(format!("{wakes} reports woke a parent that was awake").into()),
        }
    }
}

/// Makes this many reports, so that strace(1) can count the system calls of a process that does
/// nothing else.
pub(super) fn report(count: u64) -> Measured<()> {
    ReportingSeat::new()?.report(count / 2, now)
}
