//! Tests of processes that children have started, and that hold the listener.

use std::net::TcpListener;

use crate::harness::{DaemonProcess, Process, Signal, TestProgram, until};

/// The kinds of processes that a child can start, see `src/misbehave.rs`. The last one has left the
/// process group of its child.
const KINDS: [&str; 4] = ["plain", "stubborn", "orphaned", "daemonized"];

fn pool(options: &str) -> DaemonProcess {
    TestProgram::pool()
        .logged()
        .options(&format!("start=2 min=2 max=4 share_listener grace=1500 {options}"))
        .start()
}

/// Lets a child start a process of this kind, and returns the child and the process.
fn start_descendant(daemon: &DaemonProcess, kind: &str) -> (Process, Process) {
    let mut client = daemon.client();
    let child = client.pid();
    let pid = client.ask(&format!("grandchild {kind}"));
    assert_eq!(client.ask("done"), "ok");
    (child, Process(pid.parse().unwrap_or_else(|_none| panic!("{kind}: {pid}"))))
}

fn start_all(daemon: &DaemonProcess) -> Vec<Process> {
    KINDS.map(|kind| start_descendant(daemon, kind).1).to_vec()
}

fn wait_until_gone(kind: &str, process: Process) {
    until(&format!("the {kind} process is gone"), || (!process.is_alive()).then_some(()));
}

/// Checks that nothing holds the port, so that the next start can bind it.
fn assert_free(port: u16) {
    drop(TcpListener::bind(("127.0.0.1", port)).expect("the port is free"));
}

#[test]
fn a_stop_ends_every_kind_of_descendant_and_frees_the_port() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let mut daemon = pool("");
        let (port, descendants) = (daemon.port(), start_all(&daemon));
        assert!(descendants.iter().all(|process| process.is_alive()));
        assert!(daemon.parent().signal(signal));
        daemon.wait_until_gone();
        assert_free(port);
        assert!(daemon.log().contains("ending processes that children started"));
    }
}

#[test]
fn a_stop_without_descendants_says_nothing_of_them() {
    let mut daemon = pool("");
    daemon.client().pid();
    daemon.stop();
    assert!(!daemon.log().contains("processes that children started"), "{}", daemon.log());
}

#[test]
fn no_descendant_outlives_a_killed_parent() {
    let mut daemon = pool("");
    let port = daemon.port();
    start_all(&daemon);
    assert!(daemon.parent().signal(Signal::SIGKILL));
    daemon.wait_until_gone();
    assert_free(port);
}

#[test]
fn no_descendant_in_the_group_of_its_child_outlives_a_killed_fork_server() {
    let mut daemon = pool("");
    let (parent, port) = (daemon.parent(), daemon.port());
    for kind in ["plain", "stubborn", "orphaned"] {
        start_descendant(&daemon, kind);
    }
    assert!(daemon.fork_server().signal(Signal::SIGKILL));
    assert_eq!(daemon.wait_until_gone()[&parent], "code 1");
    assert_free(port);
}

#[test]
fn a_killed_child_takes_its_descendants_along() {
    let daemon = pool("babysit=50 heartbeat_timeout=1000");
    for kind in ["plain", "stubborn", "orphaned"] {
        let mut client = daemon.client();
        let descendant = Process(client.ask(&format!("grandchild {kind}")).parse().unwrap());
        assert!(descendant.is_alive());
        client.send("block /no/such/file\n").unwrap();
        wait_until_gone(kind, descendant);
    }
    daemon.wait_for_log("rogue: no heartbeat");
    assert_eq!(daemon.client().ask("echo on"), "on");
}

#[test]
fn a_child_that_ends_by_itself_leaves_its_descendants_and_this_is_logged() {
    let daemon = pool("");
    let (child, descendant) = start_descendant(&daemon, "plain");
    assert!(child.signal(Signal::SIGTERM));
    let line = daemon.wait_for_log("processes left behind by a child");
    assert!(line.contains(&format!("group: {}", child.0)), "{line}");
    assert!(descendant.is_alive());
}

#[test]
fn a_child_takes_its_descendants_along_whenever_it_ends_if_so_configured() {
    let mut daemon = pool("descendants=end_with_child");
    let port = daemon.port();
    for (kind, signal) in
        [("plain", Signal::SIGTERM), ("orphaned", Signal::SIGKILL), ("stubborn", Signal::SIGABRT)]
    {
        let (child, descendant) = start_descendant(&daemon, kind);
        assert!(child.signal(signal));
        wait_until_gone(kind, descendant);
    }
    assert!(!daemon.log().contains("processes left behind"));
    daemon.stop();
    assert_free(port);
}

#[test]
fn descendants_are_left_alone_if_so_configured() {
    let mut daemon = pool("descendants=leave");
    let (parent, port) = (daemon.parent(), daemon.port());
    let (_child, descendant) = start_descendant(&daemon, "plain");
    assert!(parent.signal(Signal::SIGTERM));
    until("the parent is gone", || (!parent.is_alive()).then_some(()));
    assert!(descendant.is_alive() && descendant.signal(Signal::SIGKILL));
    daemon.wait_until_gone();
    assert_free(port);
}

#[test]
fn adopted_descendants_that_exit_do_not_stay_zombies() {
    let daemon = pool("");
    let (_child, descendant) = start_descendant(&daemon, "orphaned");
    until("the fork server has adopted it", || {
        daemon.fork_server().children().contains(&descendant).then_some(())
    });
    assert!(descendant.signal(Signal::SIGKILL));
    until("it is reaped", || descendant.state().is_none().then_some(()));
}
