//! The report as a table.

use std::fmt;
use std::time::Duration;

use super::{ChildReport, ProcessReport, ProcessRole, Report};

/// A report that prints as a table, with a summary above it.
///
/// It has a line for each child, and lines for the parent and the fork server if the process table was read.
/// Unknown values print as `-`.
#[derive(Debug, Clone, Copy)]
pub struct ReportTable<'a>(&'a Report);

impl Report {
    /// Returns the report as a table with aligned columns: slot, pid, letter of the status (`S`), age, time
    /// since the last change of status, requests, processor time, memory, label.
    #[must_use]
    pub fn table(&self) -> ReportTable<'_> {
        ReportTable(self)
    }
}

const HEADINGS: [&str; COLUMNS] =
    ["SLOT", "PID", "S", "AGE", "SINCE", "REQS", "CPU", "RSS", "PSS", "LABEL"];
const COLUMNS: usize = 10;
/// Text columns, which are aligned to the left; number columns are aligned to the right.
const TEXT_COLUMNS: [usize; 2] = [2, 9];

type TableRow = [String; COLUMNS];

impl fmt::Display for ReportTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(self.0, f)?;
        let others = self.0.processes.iter().map(other);
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

fn head(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (model, phase) = (report.model.word(), report.phase.word());
    write!(f, "{}: {model} server, {phase}", report.alias)?;
    if let Some(words) = report.accepting_words() {
        write!(f, ", {words}")?;
    }
    if report.up > Duration::ZERO {
        write!(f, ", up {}", time(report.up))?;
    }
    if report.max_children > 0 {
        write!(f, "; {} of {} children", report.children.len(), report.max_children)?;
        write!(f, ", {} requests wait", report.waiting)?;
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
    }
    Ok(())
}

fn child(child: &ChildReport) -> TableRow {
    [
        child.slot.to_string(),
        child.pid.map_or_else(unknown, |pid| pid.to_string()),
        child.letter.to_string(),
        time(child.age),
        time(child.since),
        child.requests.to_string(),
        child.cpu.map_or_else(unknown, processor_time),
        child.rss.map_or_else(unknown, bytes),
        child.pss.map_or_else(unknown, bytes),
        // The child chooses its label: control characters must not reach the terminal.
        child.label.as_deref().unwrap_or_default().replace(char::is_control, "?"),
    ]
}

fn other(process: &ProcessReport) -> TableRow {
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
        process.cpu.map_or_else(unknown, processor_time),
        process.rss.map_or_else(unknown, bytes),
        process.pss.map_or_else(unknown, bytes),
        role.to_owned(),
    ]
}

fn unknown() -> String {
    "-".to_owned()
}

/// `7s`, `3m07s`, `2h05m`, `4d03h`.
fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        (_, _, _) => format!("{days}d{:02}h", hours % 24),
    }
}

/// `0.25s`, and from a minute on as other times.
fn processor_time(used: Duration) -> String {
    if used < Duration::from_secs(60) { format!("{:.2}s", used.as_secs_f64()) } else { time(used) }
}

/// `980K`, `3.4M`, `1.2G`: in powers of 1024.
fn bytes(bytes: u64) -> String {
    const KIBI: u64 = 1024;
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    if bytes < KIBI * KIBI {
        format!("{}K", bytes / KIBI)
    } else if bytes < KIBI * KIBI * KIBI {
        format!("{}M", tenths(KIBI * KIBI))
    } else {
        format!("{}G", tenths(KIBI * KIBI * KIBI))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        let times = [(7, "7s"), (187, "3m07s"), (7500, "2h05m"), (356_400, "4d03h")];
        for (seconds, shown) in times {
            assert_eq!(time(Duration::from_secs(seconds)), shown);
        }
        assert_eq!(processor_time(Duration::from_millis(250)), "0.25s");
        assert_eq!(processor_time(Duration::from_secs(61)), "1m01s");
        let sizes = [(0, "0K"), (980 << 10, "980K"), (7 << 19, "3.5M"), (5 << 28, "1.2G")];
        for (size, shown) in sizes {
            assert_eq!(bytes(size), shown);
        }
        assert_eq!(bytes(u64::MAX), "17179869183.9G");
    }
}
