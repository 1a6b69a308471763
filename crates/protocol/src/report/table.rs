//! The report as a table.

use std::fmt;
use std::time::Duration;

use daemon_core::format;

use super::{ChildReport, ProcessReport, ProcessRole, Report};

/// A report that prints as a table, with a summary above it.
///
/// The table has a line for each child, and lines for the parent and the fork server if the process
/// table was read. An unknown field is printed as `-`.
#[derive(Debug, Clone, Copy)]
pub struct ReportTable<'a>(&'a Report);

impl Report {
    /// Returns the report as a table with aligned columns: slot, pid, letter of the status (`S`),
    /// time in this status (`FOR`), age, requests, CPU time, memory (`RSS` and `PSS`), label. The
    /// columns and formats are those of `daemonctl top`.
    #[must_use]
    pub fn table(&self) -> ReportTable<'_> {
        ReportTable(self)
    }
}

const HEADINGS: [&str; COLUMNS] =
    ["SLOT", "PID", "S", "FOR", "AGE", "REQS", "CPU", "RSS", "PSS", "LABEL"];
const COLUMNS: usize = 10;
/// The indices of the text columns, which are aligned to the left. The other columns contain
/// numbers and are aligned to the right.
const TEXT_COLUMNS: [usize; 2] = [2, 9];

type TableRow = [String; COLUMNS];

impl fmt::Display for ReportTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        header(self.0, f)?;
        let others = self.0.processes.iter().map(process);
        let rows: Vec<TableRow> = others.chain(self.0.children.iter().map(child)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let headings = HEADINGS.map(str::to_owned);
        let rows: Vec<&TableRow> = std::iter::once(&headings).chain(&rows).collect();
        let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        });
        for row in rows {
            let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
                if TEXT_COLUMNS.contains(&column) {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn header(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (model, phase) = (report.model.word(), report.phase.word());
    write!(f, "{}: {model} server, {phase}", format::clean(&report.alias))?;
    if let Some(words) = report.accepting_words() {
        write!(f, ", {words}")?;
    }
    if report.up > Duration::ZERO {
        write!(f, ", up {}", format::duration(report.up))?;
    }
    if report.max_children > 0 {
        write!(f, "; {} of {} children", report.children.len(), report.max_children)?;
        write!(f, ", {} requests waiting", report.waiting)?;
    }
    writeln!(f)?;
    if let Some(counters) = &report.counters {
        writeln!(
            f,
            "{} requests, {} forks ({} failed), {} clean exits, {} failed exits, paused {} times by the \
             operator and {} times because the pool was full, {} requests returned",
            counters.requests,
            counters.forks,
            counters.failed_forks,
            counters.clean_exits,
            counters.failed_exits,
            counters.operator_pauses,
            counters.pool_full,
            counters.returned
        )?;
        if counters.scoreboard_repairs > 0 {
            writeln!(f, "scoreboard damaged and repaired: {}", counters.scoreboard_repairs)?;
        }
    }
    if report.log_dropped > 0 {
        writeln!(f, "log records dropped: {}", report.log_dropped)?;
    }
    Ok(())
}

fn child(child: &ChildReport) -> TableRow {
    [
        child.slot.to_string(),
        child.pid.map_or_else(unknown, |pid| pid.to_string()),
        format::clean(&child.letter.to_string()),
        duration(child.since),
        duration(child.age),
        child.requests.to_string(),
        child.cpu.map_or_else(unknown, duration),
        child.rss.map_or_else(unknown, size),
        child.pss.map_or_else(unknown, size),
        // A child can set any label, so replace control characters before they reach the terminal.
        format::clean(child.label.as_deref().unwrap_or_default()),
    ]
}

fn process(process: &ProcessReport) -> TableRow {
    let role = match process.role {
        ProcessRole::Parent => "parent",
        ProcessRole::ForkServer => "fork server",
    };
    [
        unknown(),
        process.pid.to_string(),
        unknown(),
        unknown(),
        unknown(),
        unknown(),
        process.cpu.map_or_else(unknown, duration),
        process.rss.map_or_else(unknown, size),
        process.pss.map_or_else(unknown, size),
        role.to_owned(),
    ]
}

fn unknown() -> String {
    "-".to_owned()
}

fn duration(duration: Duration) -> String {
    format::duration(duration).to_string()
}

fn size(bytes: u64) -> String {
    format::size(bytes).to_string()
}
