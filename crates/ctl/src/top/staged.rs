//! Daemons to look at, for tests.

use std::time::Duration;

use actix_daemon::{Counters, ExitCause, Report};
use daemon_core::{KillReason, Phase, SlotNumber, Violation};
use serde_json::{Value, json};

use crate::picture::{Child, Picture};

/// A pool of 32, of which 14 are there.
pub(crate) fn busy() -> Picture {
    let board = ".wwrrlrFrf rewr";
    let mut picture = bare("web", "pre-fork", board, 32);
    picture.phase = Phase::Running;
    picture.up = Duration::from_secs(11_520);
    picture.waiting = Some(0);
    let mut counters = picture.counters.take().unwrap_or_default();
    counters.forks = 120;
    counters.failed_forks = 2;
    counters.requests += 98_765;
    counters.max_children_reached = 1;
    counters.clean_exits = 103;
    counters.failed_exits = 3;
    counters.exits = [("killed".to_owned(), 3), ("recycled-requests".to_owned(), 103)].into();
    picture.counters = Some(counters);
    let causes = [
        ExitCause::Killed { signal: 11, core: true },
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Cpu)),
        ExitCause::OutOfMemory,
        ExitCause::Exited(3),
    ];
    for (child, cause) in picture.children.iter_mut().zip(causes.into_iter().cycle()) {
        if child.slot.get() % 3 == 0 {
            child.causes = vec![cause];
        }
    }
    picture
}

/// Its scoreboard alone.
pub(crate) fn board_only() -> Picture {
    let told = busy();
    let forget = |child: Child| Child { cpu: None, rss: None, pss: None, ..child };
    Picture {
        alias: None,
        model: None,
        parent: None,
        waiting: None,
        counters: None,
        children: told.children.into_iter().map(forget).collect(),
        ..told
    }
}

/// A daemon of these letters.
pub(crate) fn bare(alias: &str, model: &str, board: &str, max_children: u32) -> Picture {
    let width = max_children as usize;
    let model = serde_json::from_value(json!(model)).expect("a model");
    let letters = board.chars().zip(0_u32..).filter(|(letter, _slot)| *letter != ' ');
    let children: Vec<Child> = letters.map(|(letter, slot)| child(letter, slot)).collect();
    let mut counters = Counters::default();
    counters.requests = children.iter().map(|child| child.requests).sum();
    Picture {
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

/// The same a while later: each child that serves has begun so many requests more, and used a quarter
/// of a processor.
pub(crate) fn later(picture: &Picture, by: Duration, requests: u64) -> Picture {
    let mut picture = picture.clone();
    picture.up += by;
    for child in &mut picture.children {
        child.age += by;
        child.since += by;
        if matches!(child.letter, 'r' | 'l') {
            child.requests += requests;
            if let Some(counters) = &mut picture.counters {
                counters.requests += requests;
            }
            child.cpu = child.cpu.map(|cpu| cpu + by / 4);
        }
    }
    picture
}

/// As the daemon reports it. A report has no constructor here, so that it is made of JSON as the
/// daemon's is.
pub(crate) fn report(picture: &Picture) -> Report {
    let child = |child: &Child| {
        json!({
            "slot": child.slot, "pid": child.pid, "letter": child.letter,
            "age": child.age.as_secs_f64(), "since": child.since.as_secs_f64(),
            "requests": child.requests, "label": child.label, "generation": child.generation,
            "cpu": child.cpu.map(|cpu| cpu.as_secs_f64()), "rss": child.rss, "pss": child.pss,
            "causes": child.causes,
        })
    };
    let children: Vec<Value> = picture.children.iter().map(child).collect();
    let report = json!({
        "alias": picture.alias, "model": picture.model, "reporter": "parent",
        "parent": picture.parent, "phase": picture.phase, "accepting": picture.accepting,
        "operator_pause": picture.operator_pause,
        "up": picture.up.as_secs_f64(), "board": picture.board, "slots": picture.max_children,
        "free": 0, "max_children": picture.max_children, "waiting": picture.waiting,
        "children": children, "counters": picture.counters,
    });
    serde_json::from_value(report).expect("a report")
}
