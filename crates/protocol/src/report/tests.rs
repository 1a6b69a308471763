//! Tests the report of a sample scoreboard in all its output formats.

use daemon_core::{Scoreboard, ScoreboardLine, Seat, Status, WakeParent, lines_for};

use super::*;

struct IgnoredWakeup;

impl WakeParent for IgnoredWakeup {
    fn wake(&self) {}
}

fn at(secs: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_secs(1000 + secs))
}

/// Returns a scoreboard with six slots, of which four are visible. The second child is serving and
/// has a label.
fn board() -> ScoreboardReader {
    let lines = lines_for(6).unwrap();
    let lines =
        Box::leak((0..lines).map(|_line| ScoreboardLine::new()).collect::<Box<[ScoreboardLine]>>());
    let scoreboard = Scoreboard::format(lines, 6, at(0)).unwrap();
    scoreboard.set_visible_slots(4);
    for (slot, status) in [(0, None), (1, Some(Status::Serving)), (2, Some(Status::Fresh))] {
        let slot = SlotNumber::new(slot);
        let generation = scoreboard.open_slot(slot, at(1)).unwrap();
        if let Some(status) = status {
            let pid = 700 + slot.get();
            let seat = Seat::take(scoreboard.reader(), slot, generation, pid, at(2), IgnoredWakeup);
            let seat = seat.unwrap();
            seat.report(status, at(5)).unwrap();
            if status == Status::Serving {
                seat.set_label(b"GET /");
            }
        }
    }
    scoreboard.reader()
}

fn report(reporter: Reporter) -> Report {
    let mut report = Report::new("echo".to_owned(), ModelKind::PreFork, reporter, 99);
    (report.fork_server, report.phase) = (Some(100), Phase::Running);
    let board = board();
    report.add_board(board, &board.entries().collect::<Vec<_>>(), at(9));
    report
}

#[test]
fn the_report_of_the_parent_prints_a_status_text_like_that_of_the_perl_original() {
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
fn the_report_of_a_child_prints_the_scoreboard_without_the_list_of_children() {
    let slot = SlotNumber::new(1);
    let text = report(Reporter::Child { slot }).to_string();
    assert!(text.starts_with("echo\n    Pre-forking server, we are a child\nScoreboard\n"));
}

#[test]
fn the_report_contains_the_age_status_time_and_label_of_each_child() {
    let report = report(Reporter::Parent);
    let serving = &report.children[1];
    assert_eq!((serving.pid, serving.letter, serving.requests), (Some(701), 'r', 1));
    assert_eq!((serving.age.as_secs(), serving.since.as_secs()), (7, 4));
    assert_eq!(serving.label.as_deref(), Some("GET /"));
    assert_eq!(report.children[0].pid, None);
    assert_eq!(report.children[2].label, None);
}

#[test]
fn json_contains_the_fields_of_the_report() {
    let json = serde_json::to_value(report(Reporter::Parent)).unwrap();
    assert_eq!(json["alias"], "echo");
    assert_eq!(json["model"], "pre-forking");
    assert_eq!(json["board"], "Fr. ");
    assert_eq!((&json["slots"], &json["free"]), (&4.into(), &1.into()));
    assert_eq!(json["children"][1]["letter"], "r");
    assert_eq!(json["children"][1]["label"], "GET /");
}

#[test]
fn a_daemon_without_children_has_no_scoreboard() {
    let report = Report::new("solo".to_owned(), ModelKind::Solo, Reporter::Parent, 99);
    assert_eq!(report.to_string(), "solo\n    Non-forking server\n");
    assert_eq!((report.slots, report.free), (0, 0));
}

#[test]
fn exits_are_counted_as_clean_or_failed() {
    let mut counters = Counters::default();
    counters.exited(&ExitCause::Recycled(daemon_core::RecycleReason::Requests), 10);
    counters.exited(&ExitCause::Exited(1), 3);
    assert_eq!((counters.clean_exits, counters.failed_exits, counters.requests), (1, 1, 13));
}

/// Returns a report with all its fields set.
fn full() -> Report {
    let mut report = report(Reporter::Parent);
    report.accepting = Some(AcceptState::Accepting);
    report.operator_pause = Some(OperatorPause::Off);
    report.up = Duration::from_millis(7_500_250);
    report.waiting = 2;
    let mut counters = Counters {
        forks: 12,
        failed_forks: 1,
        operator_pauses: 1,
        pool_full: 3,
        ..Counters::default()
    };
    counters.returned = 4;
    counters.exited(&ExitCause::Retired, 100);
    counters.exited(&ExitCause::Killed { signal: 11, core: false }, 7);
    report.add_counters(counters);
    report.add_usage(|pid| {
        let cpu = Some(Duration::from_millis(u64::from(pid) * 10));
        Some(ProcessUsage { cpu, rss: Some(u64::from(pid) << 13), pss: Some(u64::from(pid) << 12) })
    });
    report
}

#[test]
fn dropped_log_records_are_shown_if_there_are_any() {
    let mut report = full();
    assert!(!report.table().to_string().contains("log records"));
    report.log_dropped = 7;
    let table = report.table().to_string();
    assert!(table.contains("\nlog records dropped: 7\n"), "{table}");
    let metrics = report.open_metrics();
    assert!(metrics.contains("log_records_dropped_total{daemon=\"echo\"} 7\n"), "{metrics}");
}

#[test]
fn the_table_is_aligned() {
    let lines = [
        "echo: pre-forking server, running, accepting, up 2h05m; 3 of 4 children, 2 requests waiting",
        "108 requests, 12 forks (1 failed), 1 clean exits, 1 failed exits, paused 1 times by the \
         operator and 3 times because the pool was full, 4 requests returned",
        "SLOT  PID  S  FOR  AGE  REQS    CPU   RSS   PSS  LABEL",
        "   -   99  -    -    -     -  990ms  792K  396K  parent",
        "   -  100  -    -    -     -     1s  800K  400K  fork server",
        "   0    -  F   8s   8s     0      -     -     -",
        "   1  701  r   4s   7s     1     7s  5.5M  2.7M  GET /",
        "   2  702  .   4s   7s     0     7s  5.5M  2.7M",
    ];
    assert_eq!(full().table().to_string().lines().collect::<Vec<_>>(), lines);
}

#[test]
fn control_characters_in_a_label_are_replaced() {
    let mut report = full();
    report.children[1].label = Some("\u{1b}[2Jgone".to_owned());
    let table = report.table().to_string();
    assert!(table.contains("?[2Jgone") && !table.contains('\u{1b}'), "{table}");
}

#[test]
fn the_table_of_a_daemon_without_children_is_only_the_summary() {
    let mut report = report(Reporter::Parent);
    (report.model, report.children, report.max_children) = (ModelKind::Solo, Vec::new(), 0);
    assert_eq!(report.table().to_string(), "echo: non-forking server, running\n");
}

#[test]
fn open_metrics_contain_the_numbers_of_the_report() {
    let text = full().open_metrics();
    assert!(text.ends_with("# EOF\n"), "{text}");
    // The order of families, and of samples within a family, is not significant.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&text), sorted(include_str!("tests/metrics.txt")), "{text}");
}

#[test]
fn quotes_in_the_alias_are_escaped_in_metrics() {
    let mut report = full();
    report.alias = "a \"b\" \\c".to_owned();
    let line = r#"actix_daemon_forks_total{daemon="a \"b\" \\c"} 12"#;
    assert!(report.open_metrics().lines().any(|text| text == line), "{}", report.open_metrics());
}

#[test]
fn durations_are_numbers_of_seconds_in_json() {
    let json = serde_json::to_value(full()).unwrap();
    assert_eq!(json["up"], 7500.25);
    assert_eq!(json["children"][1]["age"], 7.0);
    assert_eq!(json["children"][1]["cpu"], 7.01);
    assert_eq!(json["children"][0]["cpu"], serde_json::Value::Null);
    assert_eq!(json["processes"][1]["role"], "fork-server");
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), full());
}

#[test]
fn json_of_an_older_version_without_the_newer_fields_is_parsed() {
    let mut json = serde_json::to_value(full()).unwrap();
    for later in ["processes", "fork_server"] {
        json.as_object_mut().unwrap().remove(later);
    }
    assert!(serde_json::from_value::<Report>(json).unwrap().processes.is_empty());
}

mod any {
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn time() -> impl Strategy<Value = Duration> {
        // Up to a hundred years.
        (0..3_200_000_000_000_000_u64).prop_map(Duration::from_micros)
    }

    fn cause() -> impl Strategy<Value = ExitCause> {
        use daemon_core::{Exit, KillReason, RecycleReason, Violation};
        prop_oneof![
            Just(ExitCause::Done),
            Just(ExitCause::Recycled(RecycleReason::Memory)),
            Just(ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Hung))),
            Just(ExitCause::OutOfMemory),
            any::<i32>().prop_map(ExitCause::Exited),
            any::<i32>().prop_map(|code| ExitCause::FailedToBoot(Exit::Code(code))),
            any::<(i32, bool)>().prop_map(|(signal, core)| ExitCause::Killed { signal, core }),
        ]
    }

    fn child() -> impl Strategy<Value = ChildReport> {
        let who = (0..65_536_u32, option::of(any::<u32>()), any::<char>(), any::<u32>());
        let does = (time(), time(), any::<u64>(), option::of(any::<String>()));
        let uses = (option::of(time()), option::of(any::<u64>()), option::of(any::<u64>()));
        (who, does, uses, vec(cause(), 0..4)).prop_map(|(who, does, uses, causes)| ChildReport {
            slot: SlotNumber::new(who.0),
            pid: who.1,
            letter: who.2,
            age: does.0,
            since: does.1,
            requests: does.2,
            label: does.3,
            generation: who.3,
            cpu: uses.0,
            rss: uses.1,
            pss: uses.2,
            causes,
        })
    }

    fn counters() -> impl Strategy<Value = Counters> {
        let exits = btree_map("[a-z-]{1,12}", any::<u64>(), 0..4);
        (any::<[u64; 10]>(), exits).prop_map(|(counted, exits)| Counters {
            forks: counted[0],
            failed_forks: counted[1],
            requests: counted[2],
            operator_pauses: counted[3],
            pool_full: counted[4],
            max_children_reached: counted[5],
            clean_exits: counted[6],
            failed_exits: counted[7],
            exits,
            returned: counted[8],
            scoreboard_repairs: counted[9],
        })
    }

    prop_compose! {
        fn report()(
            alias: String,
            numbers: [u32; 6],
            slot in option::of(0..65_536_u32),
            model in prop_oneof![Just(ModelKind::Solo), Just(ModelKind::PostFork), Just(ModelKind::PreFork)],
            phase in proptest::sample::select(Phase::ALL.to_vec()),
            accepting in option::of(prop_oneof![Just(AcceptState::Accepting), Just(AcceptState::Paused)]),
            operator_pause in option::of(prop_oneof![Just(OperatorPause::Off), Just(OperatorPause::On)]),
            up in time(),
            board: String,
            children in vec(child(), 0..5),
            counters in option::of(counters()),
            memory in option::of(any::<u64>()),
            log_dropped: u64,
        ) -> Report {
            let [parent, fork_server, slots, free, max_children, waiting] = numbers;
            let reporter = slot.map_or(Reporter::Parent, |slot| {
                Reporter::Child { slot: SlotNumber::new(slot) }
            });
            let fork_server_process = ProcessReport {
                role: ProcessRole::ForkServer, pid: fork_server, cpu: Some(up), rss: memory, pss: None,
            };
            Report {
                alias, model, reporter, parent, fork_server: Some(fork_server), phase, accepting, operator_pause, up, board,
                slots, free, max_children, waiting, children, counters,
                processes: vec![fork_server_process], log_dropped,
            }
        }
    }

    proptest! {
        #[test]
        fn any_report_survives_a_round_trip_through_json(report in report()) {
            let json = serde_json::to_string(&report).unwrap();
            let back: Report = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back, report);
        }

        #[test]
        fn any_report_can_be_printed(report in report()) {
            let _text = (report.to_string(), report.table().to_string());
            prop_assert!(report.open_metrics().ends_with("# EOF\n"));
        }
    }
}
