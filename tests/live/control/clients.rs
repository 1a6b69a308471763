//! Clients that ask badly, slowly or in numbers.

use super::{control, up};
use crate::harness::{Control, Start, crowd, fault, until};

#[test]
fn garbage_is_answered_and_harms_nobody() {
    let daemon = up(Start::pool(), "start=1 min=0 max=2");
    let mut client = control(&daemon);
    for garbage in ["\n", "hello\n", "{\"version\":1}\n", "\u{0}\u{1}\u{2}\n", "[[[[[[\n"] {
        client.send(garbage).unwrap();
        assert_eq!(fault(&client.read().unwrap()).0, "malformed", "{garbage:?}");
    }
    client.send("{\"version\":99,\"command\":\"status\"}\n").unwrap();
    let (kind, text) = fault(&client.read().unwrap());
    assert_eq!(kind, "version");
    assert!(text.contains("version 1") && text.contains("version 99"), "{text}");
    assert_eq!(client.report()["phase"], "running");
}

#[test]
fn half_a_line_waits_for_its_other_half() {
    let daemon = up(Start::pool(), "start=1 min=0 max=2");
    let mut slow = control(&daemon);
    for part in ["{\"version\":1,", "\"command\":", "\"stat"] {
        slow.send(part).unwrap();
        assert_eq!(control(&daemon).report()["phase"], "running");
    }
    slow.send("us\"}\n").unwrap();
    assert_eq!(slow.read().unwrap()["ok"]["reply"], "status");
    // One that leaves in the middle of a line.
    let mut gone = control(&daemon);
    gone.send("{\"version\":1,\"comm").unwrap();
    drop(gone);
    assert_eq!(control(&daemon).report()["phase"], "running");
}

#[test]
fn a_line_without_end_is_refused_and_closed() {
    let daemon = up(Start::pool(), "start=1 min=0 max=2");
    let mut client = control(&daemon);
    // It is closed before all of it is written.
    let _refused = client.send(&"x".repeat(1 << 20));
    let (kind, text) = fault(&client.read().unwrap());
    assert_eq!(kind, "malformed");
    assert!(text.contains("4096"), "{text}");
    client.is_closed();
    assert_eq!(control(&daemon).report()["phase"], "running");
}

#[test]
fn a_hundred_clients_at_once_are_all_answered_and_too_many_are_told() {
    let daemon = up(Start::pool(), "start=2 min=0 max=4");
    crowd(100, |number| {
        let mut client = control(&daemon);
        assert_eq!(client.report()["phase"], "running");
        assert_eq!(client.ask("peek", "")["ok"]["reply"], "peek", "{number}");
    });
    // Those that have left are forgotten when the next comes.
    let mut most: Vec<Control> = Vec::new();
    until("128 are connected", || {
        let mut client = control(&daemon);
        let answer = client.ask("peek", "");
        if answer["ok"].is_object() {
            most.push(client);
            return None;
        }
        let (kind, text) = fault(&answer);
        assert_eq!(kind, "refused");
        (most.len() == 128 && text.contains("128 clients")).then_some(())
    });
    most.clear();
    until("there is room again", || {
        Some(()).filter(|()| control(&daemon).ask("peek", "")["ok"].is_object())
    });
}

#[test]
fn a_client_that_never_reads_misses_events_and_nobody_waits_for_it() {
    let daemon = up(Start::each(), "max=8 backlog=64");
    let mut deaf = control(&daemon);
    deaf.send("{\"version\":1,\"command\":\"events\"}\n").unwrap();
    crowd(8, |_client| {
        for _child in 0..150 {
            let mut client = daemon.client();
            client.pid();
        }
    });
    let mut operator = control(&daemon);
    until("all have gone", || {
        let report = operator.report();
        (report["counters"]["exits"]["done"] == 1200).then_some(())
    });
    let missed = deaf.event("some are missed", |event| event["event"] == "missed");
    assert!(missed["events"].as_u64().unwrap() > 0);
}
