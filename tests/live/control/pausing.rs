//! Tests the commands that pause and resume a daemon.

use std::time::Duration;

use super::{control, socket_path, start_with_control};
use crate::harness::{DaemonProcess, LineClient, TestProgram, until};

/// Connects and sends a request. While the daemon is paused, the connection waits in the listener's
/// queue.
fn connect_and_send(daemon: &DaemonProcess) -> LineClient {
    let mut client = daemon.client();
    client.send("echo served\n").unwrap();
    client
}

#[test]
fn connections_wait_while_a_daemon_is_paused_and_are_served_after_it_resumes() {
    for start in [TestProgram::pool(), TestProgram::serve(), TestProgram::postfork()] {
        let daemon = start.logged().options("control=DIR/control start=3 min=1 max=4").launch();
        until("the control socket exists", || socket_path(&daemon).exists().then_some(()));
        let mut operator = control(&daemon);
        until("the daemon runs", || (operator.report()["phase"] == "running").then_some(()));
        let mut begun = connect_and_send(&daemon);
        begun.read().unwrap();
        assert_eq!(operator.expect_done("pause", ""), "paused: no more requests are accepted");
        assert_eq!(operator.expect_done("pause", ""), "was paused already");
        assert_eq!(operator.report()["accepting"], "paused");
        assert_eq!(operator.report()["operator_pause"], "on");
        // Running requests continue.
        begun.send("echo on\n").unwrap();
        assert!(begun.read().unwrap().contains("on"));
        drop(begun);
        // A child that read the scoreboard just before the pause may accept one more connection.
        until("a new client has to wait", || {
            let mut client = connect_and_send(&daemon);
            (!client.is_answered_within(Duration::from_millis(250))).then_some(())
        });
        let mut waiting = connect_and_send(&daemon);
        assert!(!waiting.is_answered_within(Duration::from_millis(250)));
        assert_eq!(operator.expect_done("resume", ""), "resumed: requests are accepted again");
        assert!(waiting.read().unwrap().contains("served"));
        assert_eq!(operator.expect_done("resume", ""), "was not paused");
        assert_eq!(operator.report()["accepting"], "accepting");
    }
}

#[test]
fn clients_that_wait_at_a_paused_daemon_are_served_when_the_daemon_stops() {
    for start in [TestProgram::pool(), TestProgram::postfork()] {
        let mut daemon = start_with_control(start, "start=2 min=1 max=4");
        let mut operator = control(&daemon);
        operator.expect_done("pause", "");
        until("a new client has to wait", || {
            let mut client = connect_and_send(&daemon);
            (!client.is_answered_within(Duration::from_millis(250))).then_some(())
        });
        let mut waiting = connect_and_send(&daemon);
        waiting.send("done\n").unwrap();
        operator.expect_done("stop", "");
        assert_eq!(waiting.read().unwrap(), "served");
        daemon.wait_until_gone();
    }
}

#[test]
fn a_child_that_starts_while_the_pool_is_paused_accepts_no_connections() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=1 max_spare=1 max=1");
    let mut operator = control(&daemon);
    operator.expect_done("pause", "");
    let child = daemon.wait_for_children(1)[0];
    operator.expect_done("kill", &format!("\"pid\":{}", child.0));
    until("another child is ready", || {
        let report = operator.report();
        let next = &report["children"][0];
        (next["letter"] == "." && next["pid"] != child.0).then_some(())
    });
    let mut waiting = connect_and_send(&daemon);
    assert!(!waiting.is_answered_within(Duration::from_millis(250)));
    operator.expect_done("resume", "");
    assert_eq!(waiting.read().unwrap(), "served");
}
