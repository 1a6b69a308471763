//! Snapshots of daemons, for tests.

use std::time::Duration;

use daemon_core::{ExitCause, KillReason, Phase, SlotNumber, Violation};
use daemon_protocol::{Counters, Report};
use serde_json::{Value, json};

use crate::snapshot::{Child, Snapshot};

/// Returns the snapshot of a pool with 14 children and a maximum of 32.
pub(crate) fn busy() -> Snapshot {
    let board = ".wwrrlrFrf rewr";
    let mut snapshot = with_letters("web", "pre-forking", board, 32);
    snapshot.phase = Phase::Running;
    snapshot.up = Duration::from_secs(11_520);
    snapshot.waiting = Some(0);
    let mut counters = snapshot.counters.take().unwrap_or_default();
    counters.forks = 120;
    counters.failed_forks = 2;
    counters.requests += 98_765;
    counters.max_children_reached = 1;
    counters.clean_exits = 103;
    counters.failed_exits = 3;
    counters.exits = [("killed".to_owned(), 3), ("recycled-requests".to_owned(), 103)].into();
    snapshot.counters = Some(counters);
    let causes = [
        ExitCause::Killed { signal: 11, core: true },
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Cpu)),
        ExitCause::OutOfMemory,
        ExitCause::Exited(3),
    ];
    for (child, cause) in snapshot.children.iter_mut().zip(causes.into_iter().cycle()) {
        if child.slot.get() % 3 == 0 {
            child.causes = vec![cause];
        }
    }
    snapshot
}

/// Returns the snapshot of the same pool as [`busy`], but with only the data that the scoreboard
/// file contains.
pub(crate) fn board_only() -> Snapshot {
    let full = busy();
    let without_resources = |child: Child| Child { cpu: None, rss: None, pss: None, ..child };
    Snapshot {
        alias: None,
        model: None,
        parent: None,
        waiting: None,
        counters: None,
        children: full.children.into_iter().map(without_resources).collect(),
        ..full
    }
}

/// Returns the snapshot of a daemon with these letters on its scoreboard.
pub(crate) fn with_letters(alias: &str, model: &str, board: &str, max_children: u32) -> Snapshot {
    let width = max_children as usize;
    let model = serde_json::from_value(json!(model)).expect("a valid model");
    let letters = board.chars().zip(0_u32..).filter(|(letter, _slot)| *letter != ' ');
    let children: Vec<Child> = letters.map(|(letter, slot)| child(letter, slot)).collect();
    let mut counters = Counters::default();
    counters.requests = children.iter().map(|child| child.requests).sum();
    Snapshot {
        alias: Some(alias.to_owned()),
        model: Some(model),
        parent: Some(4_700),
        phase: Phase::Running,
        accepting: None,
        operator_pause: None,
        up: Duration::from_secs(75),
        board: format!("{board:<width$}"),
        max_children,
        waiting: Some(0),
        children,
        counters: Some(counters),
    }
}

fn child(letter: char, slot: u32) -> Child {
    let label = match letter {
        'r' => format!("GET /items/{slot}"),
        'l' => "GET /report?year=2025".to_owned(),
        _idle => String::new(),
    };
    Child {
        slot: SlotNumber::new(slot),
        generation: slot % 4 + 1,
        pid: (letter != 'F').then_some(4_711 + slot * 3),
        letter,
        age: Duration::from_secs(u64::from(slot * slot * 31)),
        since: Duration::from_secs(u64::from(slot * 2)),
        requests: u64::from((slot * 7_919) % 1_000),
        cpu: (letter != 'F').then(|| Duration::from_millis(u64::from(slot) * 730)),
        rss: (letter != 'F').then(|| (9 << 20) + (u64::from(slot) << 18)),
        pss: (letter != 'F').then(|| (1 << 20) + (u64::from(slot) << 17)),
        causes: Vec::new(),
        label,
    }
}

/// Returns the snapshot as it is after the time `by`. In this time each busy child has started
/// `requests` more requests, and has used a quarter of a processor.
pub(crate) fn later(snapshot: &Snapshot, by: Duration, requests: u64) -> Snapshot {
    let mut snapshot = snapshot.clone();
    snapshot.up += by;
    for child in &mut snapshot.children {
        child.age += by;
        child.since += by;
        if matches!(child.letter, 'r' | 'l') {
            child.requests += requests;
            if let Some(counters) = &mut snapshot.counters {
                counters.requests += requests;
            }
            child.cpu = child.cpu.map(|cpu| cpu + by / 4);
        }
    }
    snapshot
}

/// Returns the report with the data of this snapshot. Reports have no public constructor, so the
/// report is parsed from JSON.
pub(crate) fn report(snapshot: &Snapshot) -> Report {
    let child = |child: &Child| {
        json!({
            "slot": child.slot, "pid": child.pid, "letter": child.letter,
            "age": child.age.as_secs_f64(), "since": child.since.as_secs_f64(),
            "requests": child.requests, "label": child.label, "generation": child.generation,
            "cpu": child.cpu.map(|cpu| cpu.as_secs_f64()), "rss": child.rss, "pss": child.pss,
            "causes": child.causes,
        })
    };
    let children: Vec<Value> = snapshot.children.iter().map(child).collect();
    let report = json!({
        "alias": snapshot.alias, "model": snapshot.model, "reporter": "parent",
        "parent": snapshot.parent, "phase": snapshot.phase, "accepting": snapshot.accepting,
        "operator_pause": snapshot.operator_pause,
        "up": snapshot.up.as_secs_f64(), "board": snapshot.board, "slots": snapshot.max_children,
        "free": 0, "max_children": snapshot.max_children, "waiting": snapshot.waiting,
        "children": children, "counters": snapshot.counters,
    });
    serde_json::from_value(report).expect("a valid report")
}
