//! Tests the control socket with malformed lines, with slow clients and with many clients.

use super::{control, start_with_control};
use crate::harness::{ControlClient, TestProgram, error_of, run_clients, until};

#[test]
fn malformed_lines_get_an_error_and_do_not_harm_the_daemon() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let mut client = control(&daemon);
    for garbage in ["\n", "hello\n", "{\"version\":1}\n", "\u{0}\u{1}\u{2}\n", "[[[[[[\n"] {
        client.send(garbage).unwrap();
        assert_eq!(error_of(&client.read().unwrap()).0, "malformed", "{garbage:?}");
    }
    client.send("{\"version\":99,\"command\":\"status\"}\n").unwrap();
    let (kind, text) = error_of(&client.read().unwrap());
    assert_eq!(kind, "version");
    assert!(text.contains("version 1") && text.contains("version 99"), "{text}");
    assert_eq!(client.report()["phase"], "running");
}

#[test]
fn a_line_that_arrives_in_parts_is_answered_and_delays_no_other_client() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let mut slow = control(&daemon);
    for part in ["{\"version\":1,", "\"command\":", "\"stat"] {
        slow.send(part).unwrap();
        assert_eq!(control(&daemon).report()["phase"], "running");
    }
    slow.send("us\"}\n").unwrap();
    assert_eq!(slow.read().unwrap()["ok"]["reply"], "status");
    // The next client disconnects in the middle of a line.
    let mut gone = control(&daemon);
    gone.send("{\"version\":1,\"comm").unwrap();
    drop(gone);
    assert_eq!(control(&daemon).report()["phase"], "running");
}

#[test]
fn a_line_that_is_too_long_is_refused_and_the_connection_closed() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let mut client = control(&daemon);
    // The daemon may close the connection before the whole line is written.
    let _refused = client.send(&"x".repeat(1 << 20));
    let (kind, text) = error_of(&client.read().unwrap());
    assert_eq!(kind, "malformed");
    assert!(text.contains("4096"), "{text}");
    client.expect_closed();
    assert_eq!(control(&daemon).report()["phase"], "running");
}

#[test]
fn a_hundred_clients_are_answered_and_clients_over_the_limit_get_an_error() {
    let daemon = start_with_control(TestProgram::pool(), "start=2 min=0 max=4");
    run_clients(100, |number| {
        let mut client = control(&daemon);
        assert_eq!(client.report()["phase"], "running");
        assert_eq!(client.ask("peek", "")["ok"]["reply"], "peek", "{number}");
    });
    // The daemon forgets disconnected clients when the next client connects.
    let mut most: Vec<ControlClient> = Vec::new();
    until("128 clients are connected and the next client is refused", || {
        let mut client = control(&daemon);
        let answer = client.ask("peek", "");
        if answer["ok"].is_object() {
            most.push(client);
            return None;
        }
        let (kind, text) = error_of(&answer);
        assert_eq!(kind, "refused");
        (most.len() == 128 && text.contains("128 clients")).then_some(())
    });
    most.clear();
    until("a new client is answered", || {
        Some(()).filter(|()| control(&daemon).ask("peek", "")["ok"].is_object())
    });
}

#[test]
fn a_client_that_never_reads_misses_events_and_delays_no_other_client() {
    let daemon = start_with_control(TestProgram::postfork(), "max=8 backlog=64");
    let mut slow_reader = control(&daemon);
    slow_reader.send("{\"version\":1,\"command\":\"events\"}\n").unwrap();
    run_clients(8, |_client| {
        for _child in 0..150 {
            let mut client = daemon.client();
            client.pid();
        }
    });
    let mut operator = control(&daemon);
    until("all children have exited", || {
        let report = operator.report();
        (report["counters"]["exits"]["done"] == 1200).then_some(())
    });
    let missed = slow_reader
        .wait_for_event("missed events are reported", |event| event["event"] == "missed");
    assert!(missed["events"].as_u64().unwrap() > 0);
}
