//! Tests of children that are never ready after their fork.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::{DaemonProcess, Process, Signal, TestProgram, until};

const CAUSE: &str = "killed as a rogue: not ready within the boot timeout";

/// Starts a pool of two whose later children misbehave at their start while the file `hang` exists,
/// and creates this file.
fn pool(misdeed: &str, options: &str) -> DaemonProcess {
    let daemon = TestProgram::pool()
        .logged()
        .options(&format!("start=2 min=2 max_spare=2 max=3 boot_timeout=700 {misdeed}=DIR/hang"))
        .options(options)
        .start();
    fs::write(daemon.dir().join("hang"), "").unwrap();
    daemon
}

/// Waits until a child was killed because it was not ready, and returns its pid.
fn wait_until_killed(daemon: &DaemonProcess) -> Process {
    let line = daemon.wait_for_log(CAUSE);
    let child = line.split("child: ").nth(1).and_then(|rest| rest.split([',', ' ']).next());
    Process(child.and_then(|child| child.parse().ok()).unwrap_or_else(|| panic!("{line}")))
}

#[test]
fn a_replacement_that_hangs_or_is_stopped_at_its_start_is_killed_with_its_cause_and_replaced() {
    for misdeed in ["hang_at_start_while", "stop_at_start_while"] {
        let daemon = pool(misdeed, "");
        let old = daemon.children();
        let mut client = daemon.client();
        let serving = client.pid();
        let victim = old.iter().find(|child| **child != serving).unwrap();
        assert!(victim.signal(Signal::SIGKILL));
        assert!(!old.contains(&wait_until_killed(&daemon)));
        daemon.wait_for_log("rogue child");
        assert_eq!(client.ask("echo on"), "on");
        fs::remove_file(daemon.dir().join("hang")).unwrap();
        assert!(!old.contains(&daemon.client().pid()), "a replacement serves");
    }
}

#[test]
fn old_children_serve_while_the_new_children_of_a_reload_are_never_ready() {
    let mut daemon = pool("hang_at_start_while", "reload_on_hup");
    let old = daemon.children();
    assert!(daemon.parent().signal(Signal::SIGHUP));
    wait_until_killed(&daemon);
    assert!(old.contains(&daemon.client().pid()), "an old child serves");
    assert!(old.iter().all(|child| child.is_alive()), "no old child was retired");
    fs::remove_file(daemon.dir().join("hang")).unwrap();
    daemon.wait_for_log("reload finished");
    until("the old children have exited", || {
        old.iter().all(|child| !child.is_alive()).then_some(())
    });
    daemon.stop();
}

#[test]
fn a_post_forked_child_that_never_begins_its_request_is_killed() {
    let daemon = TestProgram::postfork()
        .logged()
        .options("max=1 boot_timeout=700 hang_at_start_while=DIR/hang")
        .start();
    fs::write(daemon.dir().join("hang"), "").unwrap();
    let mut hung = daemon.client();
    hung.send("echo never\n").unwrap();
    wait_until_killed(&daemon);
    assert_eq!(hung.rest(), "");
    fs::remove_file(daemon.dir().join("hang")).unwrap();
    assert_eq!(daemon.client().ask("echo again"), "again");
}

#[test]
fn a_post_forked_child_may_serve_for_longer_than_the_boot_timeout() {
    let daemon = TestProgram::postfork().logged().options("max=2 boot_timeout=300").start();
    let mut client = daemon.client();
    let child = client.pid();
    let start = Instant::now();
    until("the boot timeout has passed twice", || {
        daemon.client().pid();
        (start.elapsed() > Duration::from_millis(700)).then_some(())
    });
    assert_eq!(client.pid(), child);
    assert!(!daemon.log().contains(CAUSE));
}
