//! Measures the processor time of a child's status report, and counts its system calls if strace(1)
//! is installed.

use std::fs;
use std::process::{self, Command};

use daemon_core::MonotonicTime;
use daemon_forkserver::now;

use crate::figures::median;
use crate::running::SERVE;
use crate::servers::reports::ReportingSeat;
use crate::table::{self, Bar, Row};
use crate::{Measured, proc};

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
