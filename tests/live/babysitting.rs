//! Tests the babysitter with real processes and with each kind of rogue child.

mod evidence;
mod symbols;

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::{DaemonProcess, LineClient, Process, Signal, TestProgram, during, until};

/// Starts a pool of two children that the babysitter checks ten times a second.
fn watched(options: &str) -> DaemonProcess {
    watched_every(100, options)
}

/// Starts a pool of two children that the babysitter checks at this interval, in milliseconds.
/// Consecutive steps of the ladder are two intervals apart.
fn watched_every(millis: u32, options: &str) -> DaemonProcess {
    let pool = format!("start=2 min=0 max_spare=2 max=2 babysit={millis}");
    TestProgram::pool().logged().options(options).options(&pool).start()
}

/// Sends a word without waiting for an answer, because the word keeps the child busy.
fn send_word(client: &mut LineClient, word: &str) {
    client.send(&format!("{word}\n")).unwrap();
}

fn exit_line(daemon: &DaemonProcess, child: Process) -> String {
    daemon.wait_for_log(&format!("received: ChildExited {} ", child.0))
}

fn step_line(daemon: &DaemonProcess, child: Process, step: &str) -> String {
    daemon.wait_for_log(&format!("received: RogueChild {} {step} ", child.0))
}

fn is_served(daemon: &DaemonProcess) {
    assert_eq!(daemon.client().ask("echo on"), "on");
}

#[test]
fn a_child_that_exceeds_its_cpu_limit_gets_int_term_and_kill() {
    let daemon = watched("cpu=300");
    let mut client = daemon.client();
    let child = client.pid();
    send_word(&mut client, "spin /no/such/file");
    for measure in ["int", "term", "kill"] {
        let logged = step_line(&daemon, child, measure);
        assert!(logged.contains("CPU time limit exceeded"), "{logged}");
    }
    assert!(exit_line(&daemon, child).contains("rogue: CPU time limit exceeded"));
    is_served(&daemon);
}

#[test]
fn a_child_over_its_total_cpu_limit_is_stopped_after_its_request() {
    // Consecutive steps are two seconds apart, so the child has two seconds to finish its request.
    let daemon = watched_every(1000, "total_cpu=200");
    let mut client = daemon.client();
    let child = client.pid();
    let enough = daemon.dir().join("enough");
    send_word(&mut client, &format!("spin {}", enough.display()));
    step_line(&daemon, child, "int");
    fs::write(&enough, "").unwrap();
    assert_eq!(client.read().unwrap(), "ok");
    assert_eq!(client.ask("done"), "ok");
    assert!(exit_line(&daemon, child).contains("rogue: CPU time limit exceeded"));
}

#[test]
fn a_child_past_its_request_timeout_gets_int_term_and_kill() {
    let daemon = watched("request_timeout=300");
    let mut client = daemon.client();
    let child = client.pid();
    send_word(&mut client, "wait_for /no/such/file");
    for measure in ["int", "term", "kill"] {
        step_line(&daemon, child, measure);
    }
    assert!(exit_line(&daemon, child).contains("rogue: request timeout exceeded"));
    assert_eq!(client.rest(), "");
    is_served(&daemon);
}

#[test]
fn a_post_forked_child_that_is_killed_at_its_request_timeout_frees_its_slot() {
    let options = "max=1 babysit=100 request_timeout=300";
    let daemon = TestProgram::postfork().logged().options(options).start();
    let mut client = daemon.client();
    let child = client.pid();
    send_word(&mut client, "wait_for /no/such/file");
    let mut waiting = daemon.client();
    assert_eq!(waiting.ask("echo at last"), "at last");
    assert!(exit_line(&daemon, child).contains("rogue: request timeout exceeded"));
}

#[test]
fn a_request_can_extend_its_timeout_and_long_requests_have_a_separate_timeout() {
    let daemon = watched("request_timeout=1500 long_timeout=60000");
    let (mut extends, mut long) = (daemon.client(), daemon.client());
    let (first, second) = (extends.pid(), long.pid());
    assert_eq!(extends.ask("extend 60000"), "ok");
    assert_eq!(long.ask("long"), "ok");
    during(Duration::from_millis(2500), || assert!(first.is_alive() && second.is_alive()));
    assert_eq!(extends.ask("echo on"), "on");
    assert_eq!(long.ask("echo on"), "on");
    assert!(!daemon.log().contains("received: RogueChild"), "{}", daemon.log());
    // The extension applied only to the first request. The next request of the same child times
    // out.
    assert_eq!(extends.ask("next_request"), "ok");
    step_line(&daemon, first, "int");
}

#[test]
fn a_rogue_that_extends_its_request_timeout_is_not_killed() {
    // Consecutive steps of the ladder are two seconds apart.
    let pool = "start=1 min=0 max_spare=1 max=1 babysit=1000 request_timeout=300";
    let daemon = TestProgram::pool().logged().options(pool).start();
    let mut client = daemon.client();
    let child = client.pid();
    step_line(&daemon, child, "int");
    // The child extends the timeout of its request.
    assert_eq!(client.ask("extend 60000"), "ok");
    step_line(&daemon, child, "recovered");
    during(Duration::from_millis(2500), || assert!(child.is_alive()));
    assert!(!daemon.log().contains(&format!("RogueChild {} term", child.0)));
    assert_eq!(client.ask("done"), "ok");
    exit_line(&daemon, child);
}

#[test]
fn a_child_that_is_blocked_for_less_than_its_heartbeat_timeout_survives() {
    let daemon = watched("heartbeat_timeout=3000");
    let mut client = daemon.client();
    let child = client.pid();
    let enough = daemon.dir().join("enough");
    send_word(&mut client, &format!("block {}", enough.display()));
    // The child is blocked for longer than the interval between two heartbeats, but not for as long
    // as the heartbeat timeout.
    during(Duration::from_millis(1800), || ());
    fs::write(&enough, "").unwrap();
    assert_eq!(client.read().unwrap(), "ok");
    during(Duration::from_millis(2500), || assert!(child.is_alive()));
    assert_eq!(client.ask("echo on"), "on");
}

#[test]
fn all_children_survive_when_a_suspended_system_resumes_just_before_a_check() {
    let daemon = watched("heartbeat_timeout=2000");
    let (parent, children) = (daemon.parent(), daemon.children());
    // Stopping the parent and the children simulates a suspended system.
    for stopped in [1600, 1800, 2000, 2200] {
        for process in [parent].into_iter().chain(children.iter().copied()) {
            assert!(process.signal(Signal::SIGSTOP));
        }
        during(Duration::from_millis(stopped), || ());
        // The parent continues first, so it can check before a child sends a heartbeat.
        for process in [parent].into_iter().chain(children.iter().copied()) {
            assert!(process.signal(Signal::SIGCONT));
        }
        during(Duration::from_millis(800), || assert_eq!(daemon.children(), children));
    }
    assert!(!daemon.log().contains("received: RogueChild"), "{}", daemon.log());
}

#[test]
fn a_child_over_its_soft_memory_limit_is_recycled_after_its_request() {
    for measure in ["", "pss"] {
        let daemon = watched(&format!("soft_memory=64 {measure}"));
        let mut client = daemon.client();
        let child = client.pid();
        assert_eq!(client.ask("leak 100"), "ok");
        daemon.wait_for_log("received: DaemonShutdown Retired");
        assert_eq!(client.ask("echo still here"), "still here");
        assert_eq!(client.ask("done"), "ok");
        assert!(exit_line(&daemon, child).contains("soft memory limit exceeded"));
        is_served(&daemon);
    }
}

#[test]
fn a_child_over_its_hard_memory_limit_is_killed_immediately() {
    let daemon = watched("soft_memory=64 hard_memory=128");
    let mut client = daemon.client();
    let child = client.pid();
    send_word(&mut client, "leak 200");
    assert!(exit_line(&daemon, child).contains("rogue: hard memory limit exceeded"));
    assert!(!daemon.log().contains(&format!("RogueChild {} int", child.0)));
    is_served(&daemon);
}

/// Waits until a hung child is replaced, and checks that the replacement comes less than a second
/// after the timeout.
fn is_replaced_in_time(daemon: &DaemonProcess, hung: Process, since: Instant, timeout: Duration) {
    until("the hung child is replaced", || {
        let children = daemon.children();
        (!children.contains(&hung) && children.len() >= 2).then_some(())
    });
    let late = since.elapsed().saturating_sub(timeout);
    // Half a second is enough on an idle machine. A machine that is busy with other tests may need
    // twice as long.
    assert!(late < Duration::from_secs(1), "replaced {late:?} after the timeout");
    assert!(exit_line(daemon, hung).contains("rogue: no heartbeat"));
    is_served(daemon);
}

const BEAT: Duration = Duration::from_millis(1000);

#[test]
fn a_child_stopped_by_sigstop_is_replaced_whether_it_is_idle_or_busy() {
    let daemon = watched("heartbeat_timeout=1000 min=2 max=4");
    let idle = daemon.children()[0];
    let since = Instant::now();
    assert!(idle.signal(Signal::SIGSTOP));
    is_replaced_in_time(&daemon, idle, since, BEAT);
    let mut client = daemon.client();
    let busy = client.pid();
    let since = Instant::now();
    assert!(busy.signal(Signal::SIGSTOP));
    is_replaced_in_time(&daemon, busy, since, BEAT);
    assert_eq!(client.rest(), "");
}

#[test]
fn a_child_with_a_blocked_event_loop_is_replaced_even_if_it_blocks_signals() {
    let daemon = watched("heartbeat_timeout=1000 min=2 max=4");
    for word in ["block", "spin", "block_term", "block_signals"] {
        let mut client = daemon.client();
        let child = client.pid();
        let since = Instant::now();
        send_word(&mut client, &format!("{word} /no/such/file"));
        is_replaced_in_time(&daemon, child, since, BEAT);
    }
}

#[test]
fn children_that_send_heartbeats_are_not_killed() {
    let daemon = watched("heartbeat_timeout=1500 request_timeout=60000");
    let mut client = daemon.client();
    client.pid();
    let children = daemon.children();
    during(Duration::from_millis(2500), || {
        assert_eq!(daemon.children(), children);
    });
    assert_eq!(client.ask("echo on"), "on");
}

#[test]
fn children_survive_when_they_and_the_parent_are_stopped_and_continued() {
    let daemon = watched("heartbeat_timeout=1000 request_timeout=60000");
    let mut client = daemon.client();
    client.pid();
    let (parent, children) = (daemon.parent(), daemon.children());
    // Stopping the parent and the children simulates a suspended system.
    for process in [parent].into_iter().chain(children.iter().copied()) {
        assert!(process.signal(Signal::SIGSTOP));
    }
    until("all children are stopped", || {
        children.iter().all(|child| child.state() == Some('T')).then_some(())
    });
    during(Duration::from_secs(4), || ());
    for process in children.iter().copied().chain([parent]) {
        assert!(process.signal(Signal::SIGCONT));
    }
    assert_eq!(client.ask("echo on"), "on");
    during(Duration::from_secs(1), || {
        assert_eq!(daemon.children(), children);
    });
    assert!(!daemon.log().contains("received: RogueChild"), "{}", daemon.log());
    // The parent watches its children again.
    assert!(children[0].signal(Signal::SIGSTOP));
    assert!(exit_line(&daemon, children[0]).contains("rogue: no heartbeat"));
}

#[test]
fn children_survive_when_only_the_parent_is_stopped_and_continued() {
    let daemon = watched("heartbeat_timeout=1000 request_timeout=2000");
    let children = daemon.children();
    let parent = daemon.parent();
    assert!(parent.signal(Signal::SIGSTOP));
    during(Duration::from_secs(5), || {
        assert_eq!(daemon.children(), children);
    });
    assert!(parent.signal(Signal::SIGCONT));
    during(Duration::from_secs(1), || {
        assert_eq!(daemon.children(), children);
    });
    is_served(&daemon);
}

#[test]
fn idle_children_past_their_lifetime_are_recycled() {
    let daemon = watched("max_lifetime=1500");
    let first = daemon.children();
    until("the first two children are gone", || {
        let children = daemon.children();
        children.iter().all(|child| !first.contains(child)).then_some(())
    });
    for child in first {
        assert!(exit_line(&daemon, child).contains("lifetime limit reached"));
    }
    is_served(&daemon);
}

#[test]
fn the_exit_of_a_foreign_child_is_reported() {
    let daemon = watched("");
    let pid = daemon.ask("foreign sleep 1000");
    let process = Process(pid.parse().unwrap());
    assert!(process.signal(Signal::SIGKILL));
    daemon.wait_for_log(&format!("received: ForeignExited {pid}"));
}

#[test]
fn the_babysit_example_handles_each_kind_of_fault_as_documented() {
    let daemon = TestProgram::example("babysit").start();
    let log = |name: &str| fs::read_to_string(daemon.dir().join(name)).unwrap_or_default();
    let mut extended = daemon.client();
    assert_eq!(extended.ask("more"), "more");
    for (word, logged) in [
        ("spin", "rogue: CPU time limit exceeded"),
        ("sleep", "rogue: request timeout exceeded"),
        ("block", "rogue: no heartbeat"),
    ] {
        let mut client = daemon.client();
        // On a busy machine, the child may need more than the request timeout of eight seconds to
        // use two seconds of processor time.
        if word == "spin" {
            assert_eq!(client.ask("more"), "more");
        }
        send_word(&mut client, word);
        assert_eq!(client.rest(), "");
        until(&format!("{logged:?} is logged"), || {
            log("babysit.log").contains(logged).then_some(())
        });
        until("the slow log contains the reason", || {
            log("babysit.slow").contains(logged).then_some(())
        });
    }
    let mut leaks = daemon.client();
    assert_eq!(leaks.ask("more"), "more");
    for _time in 0..3 {
        assert_eq!(leaks.ask("leak"), "leak");
    }
    send_word(&mut leaks, "leak");
    let logged = "rogue: hard memory limit exceeded";
    until(&format!("{logged:?} is logged"), || log("babysit.log").contains(logged).then_some(()));
    assert_eq!(extended.ask("still here"), "still here");
}
