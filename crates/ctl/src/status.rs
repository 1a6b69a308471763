//! The status of a daemon as text: [`table`] and [`metrics`] format a report of the daemon, and
//! [`scoreboard_table`] formats a snapshot of its scoreboard.

use std::fmt::Write;

use daemon_core::format;
use daemon_protocol::Report;

use crate::snapshot::{self, Child, Snapshot};

/// Returns the report as a table.
pub(crate) fn table(report: &Report) -> String {
    report.table().to_string()
}

/// Returns the report in the OpenMetrics format, for Prometheus.
pub(crate) fn metrics(report: &Report) -> String {
    report.open_metrics()
}

/// Returns a scoreboard as a table: a header, the letters of the slots, and a line for each child.
pub(crate) fn scoreboard_table(snapshot: &Snapshot) -> String {
    let (phase, up) = (snapshot.phase.word(), format::duration(snapshot.up));
    let mut table = format!("scoreboard  {phase}  up {up}\n");
    let requests = format!("{} requests", snapshot.requests());
    let totals: Vec<String> = totals(snapshot).into_iter().chain([requests]).collect();
    table.push_str(&totals.join("  "));
    table.push('\n');
    if snapshot.max_children > 0 {
        // Writing to a string does not fail.
        let _ = writeln!(table, "[{}]", snapshot.board);
    }
    if !snapshot.children.is_empty() {
        let headings = ["SLOT", "PID", "S", "STATUS", "FOR", "AGE", "REQS", "LABEL"];
        let _ = writeln!(table, "{}", aligned(headings));
    }
    for child in &snapshot.children {
        let _ = writeln!(table, "{}", row(child).trim_end());
    }
    table
}

/// Returns a phrase for each count: children, forks, failed exits, how often `max_children` was
/// reached, and how often the scoreboard was repaired, if it was.
pub(crate) fn totals(snapshot: &Snapshot) -> Vec<String> {
    let mut totals = Vec::new();
    if snapshot.max_children > 0 {
        totals.push(format!("{} of {} children", snapshot.children.len(), snapshot.max_children));
        let reached = snapshot.counters.as_ref().map(|counters| counters.max_children_reached);
        totals.extend(reached.map(|times| format!("max_children reached: {times}")));
    }
    if let Some(counters) = &snapshot.counters {
        totals.push(format!("{} forks ({} failed)", counters.forks, counters.failed_forks));
        totals.push(format!("{} failed exits", counters.failed_exits));
        let repairs = counters.scoreboard_repairs;
        totals.extend((repairs > 0).then(|| format!("scoreboard repaired: {repairs}")));
    }
    totals
}

/// Returns the number of waiting requests, if it is not 0.
pub(crate) fn waiting(snapshot: &Snapshot) -> Option<String> {
    snapshot.waiting.filter(|waiting| *waiting > 0).map(|waiting| format!("{waiting} waiting"))
}

fn row(child: &Child) -> String {
    let pid = child.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    aligned([
        &child.slot.to_string(),
        &pid,
        &child.letter.to_string(),
        snapshot::status_word(daemon_core::Status::from_letter(child.letter)),
        &format::duration(child.since).to_string(),
        &format::duration(child.age).to_string(),
        &child.requests.to_string(),
        &child.label,
    ])
}

fn aligned([slot, pid, letter, word, since, age, requests, label]: [&str; 8]) -> String {
    format!("{slot:>5} {pid:>7}  {letter} {word:<7} {since:>6}  {age:>6}  {requests:>7}  {label}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::fixtures;

    #[test]
    fn a_scoreboard_table_omits_unknown_values() {
        insta::assert_snapshot!("board", scoreboard_table(&fixtures::board_only()));
    }
}
