//! The state of a daemon as text.
//!
//! [`table`] and [`metrics`] are the two places where a daemon's own report becomes text.

use std::fmt::Write;

use actix_daemon::Report;

use crate::picture::{self, Child, Picture};
use crate::text;

/// The report for people.
pub(crate) fn table(report: &Report) -> String {
    of_picture(&Picture::from(report))
}

/// The report for Prometheus and its kind.
pub(crate) fn metrics(report: &Report) -> String {
    let mut page = Page { text: String::new(), daemon: escaped(&report.alias) };
    page.family("up_seconds", "gauge", "How long the daemon has been up", Some("seconds"));
    page.sample("up_seconds", "", report.up.as_secs_f64());
    page.family("children", "gauge", "Children, by status", None);
    for status in daemon_core::Status::ALL.into_iter().skip(1) {
        let count = report.children.iter().filter(|child| child.letter == status.letter()).count();
        let status = format!(",status=\"{}\"", picture::status(Some(status)));
        page.sample("children", &status, count as f64);
    }
    page.family("max_children", "gauge", "The most children there may be", None);
    page.sample("max_children", "", report.max_children.into());
    page.family("waiting", "gauge", "Requests that wait for a child", None);
    page.sample("waiting", "", report.waiting.into());
    if let Some(counters) = &report.counters {
        let requests = Picture::from(report).requests();
        for (name, help, count) in [
            ("requests", "Requests begun", requests),
            ("forks", "Children born", counters.forks),
            ("fork_failures", "Forks that failed", counters.failed_forks),
            ("pauses", "Times that the door was shut", counters.pauses),
            ("handed_back", "Requests that were handed back", counters.handed_back),
        ] {
            page.family(name, "counter", help, None);
            page.sample(&format!("{name}_total"), "", count as f64);
        }
        page.family("exits", "counter", "Children that are gone, by cause", None);
        for (cause, count) in &counters.exits {
            page.sample("exits_total", &format!(",cause=\"{}\"", escaped(cause)), *count as f64);
        }
    }
    page.text.push_str("# EOF\n");
    page.text
}

/// A picture for people: a head of two lines, and a line a child.
pub(crate) fn of_picture(picture: &Picture) -> String {
    let mut head = Vec::new();
    head.push(picture.alias.clone().unwrap_or_else(|| "scoreboard".to_owned()));
    head.extend(picture.model.map(|model| picture::model(model).to_owned()));
    head.push(picture::phase(picture.phase).to_owned());
    head.extend(picture.door.map(|door| picture::door(door).to_owned()));
    head.extend(waiting(picture));
    head.push(format!("up {}", text::span(picture.up)));
    head.extend(picture.parent.map(|parent| format!("parent {parent}")));
    let mut table = head.join("  ");
    table.push('\n');
    let requests = format!("{} requests", picture.requests());
    let totals: Vec<String> = totals(picture).into_iter().chain([requests]).collect();
    table.push_str(&totals.join("  "));
    table.push('\n');
    if picture.max_children > 0 {
        // Writing to a string does not fail.
        let _ = writeln!(table, "[{}]", picture.board);
    }
    let heading = "SLOT     PID  S        IN    AGE     REQS       CPU    RSS    PSS  LABEL";
    if !picture.children.is_empty() {
        let _ = writeln!(table, "{heading}");
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
        totals.push(format!("{} died", counters.died));
        totals.push(format!("{} at the cap", counters.at_the_cap));
    }
    totals
}

/// The requests that wait, if any do.
pub(crate) fn waiting(picture: &Picture) -> Option<String> {
    picture.waiting.filter(|waiting| *waiting > 0).map(|waiting| format!("{waiting} waiting"))
}

fn row(child: &Child) -> String {
    let dash = || "-".to_owned();
    format!(
        "{:>4}  {:>6}  {} {:<6}  {:>4}  {:>5}  {:>7}  {:>8}  {:>5}  {:>5}  {}",
        child.slot.get(),
        child.pid.map_or_else(dash, |pid| pid.to_string()),
        child.letter,
        picture::status(daemon_core::Status::from_letter(child.letter)),
        text::span(child.since),
        text::span(child.age),
        child.requests,
        child.cpu.map_or_else(dash, |cpu| format!("{:.2}s", cpu.as_secs_f64())),
        child.rss.map_or_else(dash, text::bytes),
        child.pss.map_or_else(dash, text::bytes),
        child.label,
    )
}

/// A page of OpenMetrics as it grows.
struct Page {
    text: String,
    daemon: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str, unit: Option<&str>) {
        let name = format!("actix_daemon_{name}");
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}.\n# TYPE {name} {kind}");
        if let Some(unit) = unit {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let daemon = &self.daemon;
        let _ = writeln!(self.text, "actix_daemon_{name}{{daemon=\"{daemon}\"{labels}}} {value}");
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::staged;

    #[test]
    fn a_report_is_a_table_for_people() {
        insta::assert_snapshot!("table", table(&staged::report(&staged::busy())));
    }

    #[test]
    fn metrics_name_the_daemon_and_end_as_the_format_wants() {
        let mut report = staged::report(&staged::busy());
        report.alias = "a \"quoted\"\nname".to_owned();
        let page = metrics(&report);
        assert!(
            page.contains(r#"actix_daemon_children{daemon="a \"quoted\"\nname",status="serves"}"#)
        );
        assert!(page.ends_with("\n# EOF\n"));
        insta::assert_snapshot!("metrics", page);
    }

    #[test]
    fn what_a_scoreboard_does_not_know_is_left_out() {
        insta::assert_snapshot!("board", of_picture(&staged::board_only()));
    }
}
