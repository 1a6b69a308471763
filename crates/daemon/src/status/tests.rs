//! The report of a made-up scoreboard: its text is the original's, its JSON says the same.

use daemon_core::{Bell, Line, Scoreboard, Seat, Status, lines_for};

use super::*;

struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

fn at(secs: u64) -> Moment {
    Moment::from_since_boot(Duration::from_secs(1000 + secs))
}

/// Six slots, of which four are shown; the second child serves, and says what.
fn board() -> Board {
    let lines = lines_for(6).unwrap();
    let lines = Box::leak((0..lines).map(|_line| Line::new()).collect::<Box<[Line]>>());
    let scoreboard = Scoreboard::format(lines, 6, at(0)).unwrap();
    scoreboard.show(4);
    for (slot, status) in [(0, None), (1, Some(Status::Serving)), (2, Some(Status::Fresh))] {
        let slot = SlotNumber::new(slot);
        let generation = scoreboard.order(slot, at(1)).unwrap();
        if let Some(status) = status {
            let pid = 700 + slot.get();
            let seat = Seat::take(scoreboard.board(), slot, generation, pid, at(2), Silent);
            let seat = seat.unwrap();
            seat.report(status, at(5)).unwrap();
            if status == Status::Serving {
                seat.label(b"GET /");
            }
        }
    }
    scoreboard.board()
}

fn report(reporter: Reporter) -> Report {
    let view = View {
        alias: "echo".to_owned(),
        model: Kind::PreFork,
        reporter,
        parent: 99,
        phase: Phase::Running,
    };
    Report::of(view, Some(board()), at(9))
}

#[test]
fn the_parent_s_text_is_the_original_s() {
    assert_eq!(
        report(Reporter::Parent).to_string(),
        "echo\n    \
         Pre-forking server, we are a parent\n    \
         3 children:\n        \
         ?: F\n        \
         701: r\n        \
         702: .\n\
         Scoreboard\n    \
         4 slots in the scoreboard\n    \
         Slots [Fr. ]\n    \
         1 slots free\n"
    );
}

#[test]
fn a_child_s_text_has_the_scoreboard_and_no_list() {
    let slot = SlotNumber::new(1);
    let text = report(Reporter::Child { slot }).to_string();
    assert!(text.starts_with("echo\n    Pre-forking server, we are a child\nScoreboard\n"));
}

#[test]
fn each_child_is_told_with_its_age_its_pause_and_its_word() {
    let report = report(Reporter::Parent);
    let serving = &report.children[1];
    assert_eq!((serving.pid, serving.letter, serving.requests), (Some(701), 'r', 1));
    assert_eq!((serving.age.as_secs(), serving.since.as_secs()), (7, 4));
    assert_eq!(serving.label.as_deref(), Some("GET /"));
    assert_eq!(report.children[0].pid, None);
    assert_eq!(report.children[2].label, None);
}

#[test]
fn as_json_it_says_the_same() {
    let json = serde_json::to_value(report(Reporter::Parent)).unwrap();
    assert_eq!(json["alias"], "echo");
    assert_eq!(json["model"], "pre-fork");
    assert_eq!(json["board"], "Fr. ");
    assert_eq!((&json["slots"], &json["free"]), (&4.into(), &1.into()));
    assert_eq!(json["children"][1]["letter"], "r");
    assert_eq!(json["children"][1]["label"], "GET /");
}

#[test]
fn a_daemon_without_children_has_no_scoreboard() {
    let view = View {
        alias: "solo".to_owned(),
        model: Kind::Solo,
        reporter: Reporter::Parent,
        parent: 99,
        phase: Phase::Running,
    };
    let report = Report::of(view, None, at(9));
    assert_eq!(report.to_string(), "solo\n    Non-forking server\n");
    assert_eq!((report.slots, report.free), (0, 0));
}

#[test]
fn ends_are_counted_by_whether_they_were_in_order() {
    let mut counters = Counters::default();
    counters.exited(&Cause::Recycled(daemon_core::Spent::Requests), 10);
    counters.exited(&Cause::Exited(1), 3);
    assert_eq!((counters.left, counters.died, counters.requests), (1, 1, 13));
}
