//! Measures the processor time of a child's status report, and counts its system calls if strace(1)
//! is installed.

use std::cell::Cell;
use std::fs;
use std::process::{self, Command};

use bench_server::Measured;
use daemon_core::{
    MonotonicTime, Scoreboard, ScoreboardLine, Seat, SlotNumber, Status, WakeParent, lines_for,
};
use daemon_forkserver::now;
use daemon_sys::shared;

use crate::proc;
use crate::running::SERVE;
use crate::table::{self, Bar, Row, median};

const PAIRS: u64 = 1_000_000;
const BATCHES: usize = 9;

pub(crate) fn run(bench: &'static str) -> Measured<Vec<Row>> {
    let seat = ReportingSeat::new()?;
    let name = "a status report, with a read of the clock";
    let mut rows = vec![
        Row::new(bench, name, "ns", nanoseconds(&seat, now)?).bar(Bar::AtMost(100.0)),
        Row::new(
            bench,
            "a status report, without a read of the clock",
            "ns",
            nanoseconds(&seat, || MonotonicTime::ZERO)?,
        ),
    ];
    match system_calls()? {
        Some(calls) => {
            rows.push(
                Row::new(bench, "system calls of a status report", "", calls).bar(Bar::AtMost(0.0)),
            );
        }
        None => table::say("  system calls are not counted: strace is not installed or has failed"),
    }
    Ok(rows)
}

fn nanoseconds(seat: &ReportingSeat, clock: impl Fn() -> MonotonicTime + Copy) -> Measured<f64> {
    let mut batches = Vec::new();
    for _batch in 0..BATCHES {
        let before = proc::own_time(process::id())?;
        seat.report(PAIRS, clock)?;
        let spent = proc::own_time(process::id())?.saturating_sub(before);
        batches.push(spent.as_secs_f64() * 1e9 / (2 * PAIRS) as f64);
    }
    Ok(median(&batches))
}

/// Returns the number of system calls per report. The calls of a program that makes no report are
/// subtracted from those of a program that makes many. Returns `None` if strace(1) is not installed
/// or fails.
fn system_calls() -> Measured<Option<f64>> {
    const REPORTS: usize = 100_000;
    let (Some(few), Some(many)) = (calls_of(0)?, calls_of(REPORTS)?) else {
        return Ok(None);
    };
    Ok(Some(many.saturating_sub(few) as f64 / REPORTS as f64))
}

fn calls_of(reports: usize) -> Measured<Option<usize>> {
    let log = table::directory()?.join(format!("strace.{}", process::id()));
    let traced = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(&log)
        .arg(std::env::current_exe()?)
        .args([SERVE, "reports", &reports.to_string()])
        .status();
    let calls = match traced {
        Ok(status) if status.success() => Some(fs::read_to_string(&log)?.lines().count()),
        Ok(_) | Err(_) => None,
    };
    // There is no log if strace could not run.
    let _ = fs::remove_file(&log);
    Ok(calls)
}

/// A wakeup that only counts its calls, because no parent sleeps here.
#[derive(Default)]
struct CountingWakeup {
    wakes: Cell<u64>,
}

impl WakeParent for &'static CountingWakeup {
    fn wake(&self) {
        self.wakes.set(self.wakes.get() + 1);
    }
}

/// A seat on a scoreboard whose parent is awake.
struct ReportingSeat {
    seat: Seat<&'static CountingWakeup>,
    wakeup: &'static CountingWakeup,
}

impl ReportingSeat {
    /// Creates a scoreboard and takes a seat on it.
    fn new() -> Measured<ReportingSeat> {
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
    fn report(&self, times: u64, clock: impl Fn() -> MonotonicTime) -> Measured<()> {
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
pub(crate) fn report(count: u64) -> Measured<()> {
    ReportingSeat::new()?.report(count / 2, now)
}
