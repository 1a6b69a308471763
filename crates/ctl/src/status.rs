//! The state of a daemon as text.
//!
//! [`table`] and [`metrics`] are the two places where a daemon's own report becomes text.

use std::fmt::Write;

use actix_daemon::Report;

use crate::picture::{self, Child, Picture};
use crate::text;

/// The report for people.
pub(crate) fn table(report: &Report) -> String {
    report.table().to_string()
}

/// The report for Prometheus and its kind.
pub(crate) fn metrics(report: &Report) -> String {
    report.open_metrics()
}

/// A scoreboard for people: a head, the letters, and a line a child.
pub(crate) fn of_picture(picture: &Picture) -> String {
    let (phase, up) = (picture.phase.word(), text::span(picture.up));
    let mut table = format!("scoreboard  {phase}  up {up}\n");
    let requests = format!("{} requests", picture.requests());
    let totals: Vec<String> = totals(picture).into_iter().chain([requests]).collect();
    table.push_str(&totals.join("  "));
    table.push('\n');
    if picture.max_children > 0 {
        // Writing to a string does not fail.
        let _ = writeln!(table, "[{}]", picture.board);
    }
    if !picture.children.is_empty() {
        let headings = ["SLOT", "PID", "S", "", "FOR", "AGE", "REQS", "LABEL"];
        let _ = writeln!(table, "{}", aligned(headings));
    }
    for child in &picture.children {
        let _ = writeln!(table, "{}", row(child).trim_end());
    }
    table
}

/// The counts of a daemon's children, a phrase each.
pub(crate) fn totals(picture: &Picture) -> Vec<String> {
    let mut totals = Vec::new();
    if picture.max_children > 0 {
        totals.push(format!("{} of {} children", picture.children.len(), picture.max_children));
    }
    if let Some(counters) = &picture.counters {
        totals.push(format!("{} forks ({} failed)", counters.forks, counters.failed_forks));
        totals.push(format!("{} failed exits", counters.failed_exits));
        totals.push(format!("{} at max_children", counters.max_children_reached));
    }
    totals
}

/// The requests that wait, if any do.
pub(crate) fn waiting(picture: &Picture) -> Option<String> {
    picture.waiting.filter(|waiting| *waiting > 0).map(|waiting| format!("{waiting} waiting"))
}

fn row(child: &Child) -> String {
    let pid = child.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    aligned([
        &child.slot.to_string(),
        &pid,
        &child.letter.to_string(),
        picture::status(daemon_core::Status::from_letter(child.letter)),
        &text::span(child.since),
        &text::span(child.age),
        &child.requests.to_string(),
        &child.label,
    ])
}

fn aligned([slot, pid, letter, word, since, age, requests, label]: [&str; 8]) -> String {
    format!("{slot:>5} {pid:>7}  {letter} {word:<7} {since:>5}  {age:>5}  {requests:>7}  {label}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::staged;

    #[test]
    fn what_a_scoreboard_does_not_know_is_left_out() {
        insta::assert_snapshot!("board", of_picture(&staged::board_only()));
    }
}
