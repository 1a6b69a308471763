//! Tests the status that parents and children report, as text in the format of the original,
//! POE::Component::Daemon, and as JSON.

use crate::harness::{TestProgram, until};

#[test]
fn the_parents_status_text_has_the_format_of_the_original() {
    let daemon = TestProgram::pool().options("start=2 min=0 max=4").start();
    let mut client = daemon.client();
    let busy = client.pid();
    let status = until("the status shows the busy child", || {
        Some(daemon.ask("status")).filter(|status| status.contains('r'))
    });
    let lines: Vec<&str> = status.lines().collect();
    assert_eq!(lines[0], "pool");
    assert_eq!(lines[1], "    Pre-forking server, we are a parent");
    assert_eq!(lines[2], "    2 children:");
    assert!(lines[3..5].contains(&format!("        {}: r", busy.0).as_str()), "{status}");
    assert_eq!(lines[5], "Scoreboard");
    assert_eq!(lines[6], "    4 slots in the scoreboard");
    assert!(lines[7].starts_with("    Slots [") && lines[7].contains('r'), "{status}");
    assert_eq!(lines[8], "    2 slots free");
}

#[test]
fn the_status_report_has_all_its_fields_as_json() {
    let daemon = TestProgram::postfork().options("max=3 alias=tellers").start();
    let mut client = daemon.client();
    let child = client.pid();
    client.ask("label a name");
    let report = daemon.report();
    assert_eq!(report["alias"], "tellers");
    assert_eq!(report["model"], "post-forking");
    assert_eq!(report["reporter"], "parent");
    assert_eq!(report["parent"], daemon.parent().0);
    assert_eq!(report["phase"], "running");
    assert_eq!(report["accepting"], "accepting");
    assert_eq!(report["board"], "r  ");
    assert_eq!(report["max_children"], 3);
    assert_eq!(report["children"][0]["pid"], child.0);
    assert_eq!(report["children"][0]["letter"], "r");
    assert_eq!(report["children"][0]["label"], "a name");
    assert_eq!(report["counters"]["forks"], 1);
}

#[test]
fn the_status_report_of_a_child_covers_all_children() {
    let daemon = TestProgram::pool().options("start=2 min=0 max=4").start();
    let (mut first, mut second) = (daemon.client(), daemon.client());
    let pids = [first.pid(), second.pid()];
    let report: serde_json::Value = serde_json::from_str(&first.ask("json")).unwrap();
    assert_eq!(report["parent"], daemon.parent().0);
    assert_eq!(report["board"].as_str().unwrap().matches('r').count(), 2, "{report}");
    for child in report["children"].as_array().unwrap() {
        assert!(pids.iter().any(|pid| child["pid"] == pid.0), "{report}");
    }
}

#[test]
fn a_daemon_without_children_reports_that_it_does_not_fork() {
    let daemon = TestProgram::solo().start();
    assert_eq!(daemon.ask("status").trim_end(), "solo\n    Non-forking server");
    assert!(daemon.ask("resize more").contains("refused"));
}
