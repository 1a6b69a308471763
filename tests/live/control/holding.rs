//! A daemon that is paused and goes on.

use std::time::Duration;

use super::{control, place, up};
use crate::harness::{Client, Daemon, Start, until};

/// Whether a client that comes now is served: it waits in the listener's queue otherwise.
fn begin_to_ask(daemon: &Daemon) -> Client {
    let mut client = daemon.client();
    client.send("echo served\n").unwrap();
    client
}

#[test]
fn while_a_daemon_is_paused_connections_wait_and_then_they_are_served() {
    for start in [Start::pool(), Start::short(), Start::each()] {
        let daemon = start.logged().options("control=DIR/control start=3 min=1 max=4").begun();
        until("the socket is there", || place(&daemon).exists().then_some(()));
        let mut operator = control(&daemon);
        until("it runs", || (operator.report()["phase"] == "running").then_some(()));
        let mut begun = begin_to_ask(&daemon);
        begun.read().unwrap();
        assert_eq!(operator.done("pause", ""), "paused: no more requests are accepted");
        assert_eq!(operator.done("pause", ""), "was paused already");
        assert_eq!(operator.report()["accepting"], "paused");
        assert_eq!(operator.report()["operator_pause"], "on");
        // What was begun goes on.
        begun.send("echo on\n").unwrap();
        assert!(begun.read().unwrap().contains("on"));
        drop(begun);
        // The children have heard of it when they have had their turn at a signal.
        until("a client that comes has to wait", || {
            let mut client = begin_to_ask(&daemon);
            (!client.is_answered_within(Duration::from_millis(250))).then_some(())
        });
        let mut waiting = begin_to_ask(&daemon);
        assert!(!waiting.is_answered_within(Duration::from_millis(250)));
        assert_eq!(operator.done("resume", ""), "resumed: requests are accepted again");
        assert!(waiting.read().unwrap().contains("served"));
        assert_eq!(operator.done("resume", ""), "was not paused");
        assert_eq!(operator.report()["accepting"], "accepting");
    }
}

#[test]
fn who_waits_at_a_paused_daemon_is_served_when_it_stops() {
    for start in [Start::pool(), Start::each()] {
        let mut daemon = up(start, "start=2 min=1 max=4");
        let mut operator = control(&daemon);
        operator.done("pause", "");
        until("a client that comes has to wait", || {
            let mut client = begin_to_ask(&daemon);
            (!client.is_answered_within(Duration::from_millis(250))).then_some(())
        });
        let mut waiting = begin_to_ask(&daemon);
        waiting.send("done\n").unwrap();
        operator.done("stop", "");
        assert_eq!(waiting.read().unwrap(), "served");
        daemon.ended();
    }
}

#[test]
fn a_child_that_is_born_while_the_pool_is_paused_waits_too() {
    let daemon = up(Start::pool(), "start=1 min=1 max_spare=1 max=1");
    let mut operator = control(&daemon);
    operator.done("pause", "");
    let child = daemon.until_children(1)[0];
    operator.done("kill", &format!("\"pid\":{}", child.0));
    until("another child is ready", || {
        let report = operator.report();
        let next = &report["children"][0];
        (next["letter"] == "." && next["pid"] != child.0).then_some(())
    });
    let mut waiting = begin_to_ask(&daemon);
    assert!(!waiting.is_answered_within(Duration::from_millis(250)));
    operator.done("resume", "");
    assert_eq!(waiting.read().unwrap(), "served");
}
