//! Tests faults: processes that are killed, that crash or that have no free descriptor, and
//! children that exit at start.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::harness::{DaemonProcess, Process, Signal, TestProgram, during, until};

/// Returns the kernel objects that can outlive processes: System V objects and shared memory files.
fn kernel_objects() -> BTreeSet<String> {
    let mut objects = BTreeSet::new();
    for kind in ["shm", "sem", "msg"] {
        let list = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        objects.extend(list.lines().skip(1).filter_map(|line| {
            let id = line.split_whitespace().nth(1)?;
            Some(format!("{kind} {id}"))
        }));
    }
    let files = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    objects.extend(files.map(|file| file.path().display().to_string()));
    objects
}

/// Starts a daemon, lets the test kill one of its processes, and checks that no process and no
/// kernel object is left.
fn assert_nothing_is_left(start: fn() -> TestProgram, kill: fn(&mut DaemonProcess)) {
    let before = kernel_objects();
    let mut daemon = start().logged().options("start=3 max=4 grace=300").start();
    let mut client = daemon.client();
    client.pid();
    kill(&mut daemon);
    daemon.wait_until_gone();
    assert_eq!(client.rest(), "");
    let left: Vec<_> = kernel_objects().difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn all_processes_and_kernel_objects_disappear_after_the_parent_is_killed() {
    for start in [TestProgram::pool, TestProgram::postfork] {
        assert_nothing_is_left(start, |daemon| {
            assert!(daemon.parent().signal(Signal::SIGKILL));
        });
    }
}

#[test]
fn all_processes_and_kernel_objects_disappear_after_the_fork_server_is_killed() {
    for start in [TestProgram::pool, TestProgram::postfork] {
        assert_nothing_is_left(start, |daemon| {
            let parent = daemon.parent();
            assert!(daemon.fork_server().signal(Signal::SIGKILL));
            assert_eq!(daemon.wait_until_gone()[&parent], "code 1");
            daemon.wait_for_log("the fork server (pid ");
        });
    }
}

#[test]
fn children_finish_their_request_and_exit_after_parent_and_fork_server_are_killed() {
    for start in [TestProgram::pool, TestProgram::postfork] {
        let mut daemon = start().logged().options("start=3 max=4").start();
        let mut client = daemon.client();
        client.pid();
        let (parent, fork_server) = (daemon.parent(), daemon.fork_server());
        assert!(parent.signal(Signal::SIGKILL));
        fork_server.signal(Signal::SIGKILL);
        daemon.wait_for_log("received: DaemonShutdown");
        assert_eq!(client.ask("echo still here"), "still here");
        assert_eq!(client.ask("done"), "ok");
        daemon.wait_until_gone();
    }
}

#[test]
fn a_killed_child_is_replaced_and_other_children_continue() {
    let daemon = TestProgram::pool().logged().options("start=2 min=2 max=4").start();
    let (mut killed, mut other) = (daemon.client(), daemon.client());
    let child = killed.pid();
    other.pid();
    let before = daemon.children();
    assert!(child.signal(Signal::SIGKILL));
    assert_eq!(killed.rest(), "");
    assert_eq!(other.ask("echo on"), "on");
    daemon.wait_for_log(&format!("ChildExited {}", child.0));
    let mut next = daemon.client();
    assert_ne!(next.pid(), child);
    until("a new child is ready", || {
        daemon.children().iter().any(|child| !before.contains(child)).then_some(())
    });
}

#[test]
fn a_killed_child_of_a_post_forking_daemon_frees_its_slot() {
    let daemon = TestProgram::postfork().logged().options("max=1").start();
    for _round in 0..5 {
        let mut client = daemon.client();
        let child = client.pid();
        let mut waiting = daemon.client();
        waiting.send("echo served\n").unwrap();
        assert!(child.signal(Signal::SIGKILL));
        assert_eq!(client.rest(), "");
        assert_eq!(waiting.read().unwrap(), "served");
    }
}

#[test]
fn a_session_that_panics_ends_only_its_own_child() {
    for start in [TestProgram::pool, TestProgram::postfork] {
        let daemon = start().logged().options("start=2 min=2 max=4").start();
        let (mut panics, mut other) = (daemon.client(), daemon.client());
        let child = panics.pid();
        other.pid();
        panics.send("panic\n").unwrap();
        assert_eq!(panics.rest(), "");
        let line = daemon.wait_for_log("panic on request");
        assert!(line.contains(&format!("pid: {}", child.0)), "{line}");
        assert_eq!(other.ask("echo on"), "on");
        let line = daemon.wait_for_log(&format!("ChildExited {}", child.0));
        assert!(line.contains("code 101"), "{line}");
        assert_eq!(daemon.client().ask("echo on"), "on");
    }
}

#[test]
fn a_child_whose_session_has_stopped_exits_and_is_replaced() {
    let daemon = TestProgram::pool().logged().options("start=1 min=1 max_spare=1 max=1").start();
    let mut client = daemon.client();
    let child = client.pid();
    assert_eq!(client.ask("stop_session"), "ok");
    // The only child closes the next connection.
    let mut next = daemon.client();
    assert!(next.try_ask("echo on").is_err());
    let line = daemon.wait_for_log("the session of the acceptor has stopped");
    assert!(line.contains(&format!("pid: {}", child.0)), "{line}");
    let line = daemon.wait_for_log(&format!("ChildExited {}", child.0));
    assert!(line.contains("code 101"), "{line}");
    assert_eq!(daemon.client().ask("echo on"), "on");
}

#[test]
fn a_child_that_aborts_does_not_affect_other_children() {
    for start in [TestProgram::pool, TestProgram::postfork] {
        let daemon = start().logged().options("start=2 min=2 max=4 core=0").start();
        let (mut aborts, mut other) = (daemon.client(), daemon.client());
        let child = aborts.pid();
        other.pid();
        aborts.send("abort\n").unwrap();
        assert_eq!(aborts.rest(), "");
        daemon.wait_for_log(&format!("ChildExited {}", child.0));
        assert_eq!(other.ask("echo on"), "on");
        assert_eq!(daemon.client().ask("echo on"), "on");
    }
}

#[test]
fn a_parent_without_free_descriptors_logs_the_failure_and_later_accepts_connections_again() {
    let daemon = TestProgram::postfork().logged().options("open_files=48 max=8").start();
    let mut commands = daemon.command_client().unwrap();
    let message = "cannot accept a connection";
    // A descriptor that another thread of the parent uses for a moment becomes free after all
    // others are in use. The parent then still accepts a connection.
    let mut client = until("no descriptor is left for a connection", || {
        assert_ne!(commands.try_ask("exhaust_descriptors").unwrap(), "0");
        let mut client = daemon.client();
        client.send("echo late\n").unwrap();
        let accepted = until("the connection is accepted, or accepting fails", || {
            let answered = client.is_answered_within(Duration::from_millis(10));
            (answered || daemon.log().contains(message)).then_some(answered)
        });
        (!accepted).then_some(client)
    });
    assert_eq!(commands.try_ask("release").unwrap(), "ok");
    assert_eq!(client.read().unwrap(), "late");
    daemon.wait_for_log("accepting connections again");
    // The failure is logged once, no matter how often accepting is retried.
    assert_eq!(daemon.log().matches(message).count(), 1);
}

#[test]
fn a_child_without_free_descriptors_logs_the_failure_and_later_accepts_connections_again() {
    let daemon = TestProgram::pool().logged().options("open_files=48 start=1 min=0 max=1").start();
    let mut client = daemon.client();
    let child = client.pid();
    let end = daemon.dir().join("end");
    assert_eq!(client.ask(&format!("exhaust_descriptors {}", end.display())), "ok");
    assert_eq!(client.ask("done"), "ok");
    assert_eq!(client.rest(), "");
    until("all descriptors are in use", || {
        // Descriptors that the child inherited with numbers above the limit do not count.
        (child.descriptors().range(..48).count() == 48).then_some(())
    });
    let mut late = daemon.client();
    late.send("echo late\n").unwrap();
    daemon.wait_for_log("cannot accept a connection");
    fs::write(&end, "").unwrap();
    assert_eq!(late.read().unwrap(), "late");
    assert_eq!(late.pid(), child);
}

#[test]
fn forking_backs_off_when_children_exit_at_start() {
    let daemon = TestProgram::pool()
        .logged()
        .options("start=2 min=2 max=4 exit_at_start_while=DIR/exit_at_start")
        .start();
    fs::write(daemon.dir().join("exit_at_start"), "").unwrap();
    for child in daemon.children() {
        child.signal(Signal::SIGKILL);
    }
    daemon.wait_for_log("fork backoff");
    let forks = |daemon: &DaemonProcess| daemon.report()["counters"]["forks"].as_u64().unwrap();
    let before = forks(&daemon);
    // The backoff allows at most twelve forks in ten seconds, most of them at the beginning.
    // Therefore the test watches only the first quarter of the ten seconds.
    during(Duration::from_millis(2500), || ());
    let after = forks(&daemon);
    assert!(after - before <= 12, "{} forks", after - before);
    fs::remove_file(daemon.dir().join("exit_at_start")).unwrap();
    assert_eq!(daemon.client().ask("echo alive"), "alive");
}

#[test]
fn a_start_fails_with_the_reason_when_the_initial_children_exit() {
    let start = TestProgram::pool().options("start=2 max=4 exit_at_start_while=/");
    let failed = start.fail_to_start();
    assert_eq!(failed.status, "code 1");
    assert!(failed.stderr.contains("the initial children failed to start"), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("exited with code 7"),
        "the message contains the exit code: {}",
        failed.stderr
    );
}

#[test]
fn a_standalone_fork_server_ends_its_children_when_its_parent_is_killed() {
    let mut daemon = TestProgram::example("forkserver_only").start();
    let mut client = daemon.client();
    let child = until("a child is started", || daemon.children().first().copied());
    assert!(daemon.parent().signal(Signal::SIGKILL));
    daemon.wait_until_gone();
    assert!(!child.is_alive());
    assert_eq!(client.rest(), "");
}

#[test]
fn a_standalone_fork_server_serves_each_client_in_its_own_process() {
    let daemon = TestProgram::example("forkserver_only").start();
    let mut served = BTreeSet::new();
    for _client in 0..5 {
        let answer = daemon.client().ask("hello");
        let (pid, said) = answer.split_once(": ").unwrap();
        assert_eq!(said, "hello");
        assert!(served.insert(Process(pid.parse().unwrap())));
    }
}
