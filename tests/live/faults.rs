//! What goes wrong: processes that are killed or crash, and a system without descriptors or
//! processes to give.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::harness::{Daemon, Process, Signal, Start, during, until};

/// The kernel objects that outlive processes: System V's, and files of shared memory.
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

/// Starts a daemon, has the test kill one of it, and sees that nothing is left.
fn leaves_nothing(start: fn() -> Start, kill: fn(&mut Daemon)) {
    let before = kernel_objects();
    let mut daemon = start().logged().options("start=3 max=4 grace=300").up();
    let mut client = daemon.client();
    client.pid();
    kill(&mut daemon);
    daemon.ended();
    assert_eq!(client.rest(), "");
    let left: Vec<_> = kernel_objects().difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_killed_parent_leaves_no_process_and_no_kernel_object() {
    for start in [Start::pool, Start::each] {
        leaves_nothing(start, |daemon| {
            assert!(daemon.parent().signal(Signal::SIGKILL));
        });
    }
}

#[test]
fn a_killed_fork_server_leaves_no_process_and_no_kernel_object() {
    for start in [Start::pool, Start::each] {
        leaves_nothing(start, |daemon| {
            let parent = daemon.parent();
            assert!(daemon.fork_server().signal(Signal::SIGKILL));
            assert_eq!(daemon.ended()[&parent], "code 1");
            daemon.until_logged("the fork server (pid ");
        });
    }
}

#[test]
fn children_without_parent_and_fork_server_finish_what_they_have_in_hand_and_leave() {
    for start in [Start::pool, Start::each] {
        let mut daemon = start().logged().options("start=3 max=4").up();
        let mut client = daemon.client();
        client.pid();
        let (parent, fork_server) = (daemon.parent(), daemon.fork_server());
        assert!(parent.signal(Signal::SIGKILL));
        fork_server.signal(Signal::SIGKILL);
        daemon.until_logged("told: DaemonShutdown");
        assert_eq!(client.ask("echo still here"), "still here");
        assert_eq!(client.ask("done"), "ok");
        daemon.ended();
    }
}

#[test]
fn a_killed_child_is_replaced_and_the_others_do_not_notice() {
    let daemon = Start::pool().logged().options("start=2 min=2 max=4").up();
    let (mut killed, mut other) = (daemon.client(), daemon.client());
    let child = killed.pid();
    other.pid();
    let before = daemon.children();
    assert!(child.signal(Signal::SIGKILL));
    assert_eq!(killed.rest(), "");
    assert_eq!(other.ask("echo on"), "on");
    daemon.until_logged(&format!("ChildExited {}", child.0));
    let mut next = daemon.client();
    assert_ne!(next.pid(), child);
    until("a new child is there", || {
        daemon.children().iter().any(|child| !before.contains(child)).then_some(())
    });
}

#[test]
fn a_killed_child_of_a_forking_daemon_frees_its_place() {
    let daemon = Start::each().logged().options("max=1").up();
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
fn a_session_that_panics_costs_one_process() {
    for start in [Start::pool, Start::each] {
        let daemon = start().logged().options("start=2 min=2 max=4").up();
        let (mut panics, mut other) = (daemon.client(), daemon.client());
        let child = panics.pid();
        other.pid();
        panics.send("panic\n").unwrap();
        assert_eq!(panics.rest(), "");
        let line = daemon.until_logged("a panic was asked for");
        assert!(line.contains(&format!("pid: {}", child.0)), "{line}");
        assert_eq!(other.ask("echo on"), "on");
        let told = daemon.until_logged(&format!("ChildExited {}", child.0));
        assert!(told.contains("code 101"), "{told}");
        assert_eq!(daemon.client().ask("echo on"), "on");
    }
}

#[test]
fn a_child_that_aborts_costs_one_process() {
    for start in [Start::pool, Start::each] {
        let daemon = start().logged().options("start=2 min=2 max=4 core=0").up();
        let (mut aborts, mut other) = (daemon.client(), daemon.client());
        let child = aborts.pid();
        other.pid();
        aborts.send("abort\n").unwrap();
        assert_eq!(aborts.rest(), "");
        daemon.until_logged(&format!("ChildExited {}", child.0));
        assert_eq!(other.ask("echo on"), "on");
        assert_eq!(daemon.client().ask("echo on"), "on");
    }
}

#[test]
fn a_parent_without_descriptors_tells_it_and_accepts_again() {
    let daemon = Start::each().logged().options("open_files=48 max=8").up();
    let mut desk = daemon.at_the_desk().unwrap();
    assert_ne!(desk.try_ask("hoard").unwrap(), "0");
    let mut client = daemon.client();
    client.send("echo late\n").unwrap();
    daemon.until_logged("cannot accept a connection");
    assert_eq!(desk.try_ask("release").unwrap(), "ok");
    assert_eq!(client.read().unwrap(), "late");
    daemon.until_logged("accepting connections again");
    // It is told once, however often it is tried.
    assert_eq!(daemon.log().matches("cannot accept a connection").count(), 1);
}

#[test]
fn a_child_without_descriptors_tells_it_and_accepts_again() {
    let daemon = Start::pool().logged().options("open_files=48 start=1 min=0 max=1").up();
    let mut client = daemon.client();
    let child = client.pid();
    let end = daemon.dir().join("end");
    assert_eq!(client.ask(&format!("hoard {}", end.display())), "ok");
    assert_eq!(client.ask("done"), "ok");
    assert_eq!(client.rest(), "");
    until("all descriptors are taken", || {
        // What was inherited with a higher number does not count.
        (child.descriptors().range(..48).count() == 48).then_some(())
    });
    let mut late = daemon.client();
    late.send("echo late\n").unwrap();
    daemon.until_logged("cannot accept a connection");
    fs::write(&end, "").unwrap();
    assert_eq!(late.read().unwrap(), "late");
    assert_eq!(late.pid(), child);
}

#[test]
fn children_that_die_at_birth_are_not_forked_without_end() {
    let daemon =
        Start::pool().logged().options("start=2 min=2 max=4 stillborn_while=DIR/stillborn").up();
    fs::write(daemon.dir().join("stillborn"), "").unwrap();
    for child in daemon.children() {
        child.signal(Signal::SIGKILL);
    }
    daemon.until_logged("no child is forked for");
    let forks = |daemon: &Daemon| daemon.report()["counters"]["forks"].as_u64().unwrap();
    let before = forks(&daemon);
    // A quarter of the ten seconds that twelve forks are allowed in, and the most of them come first.
    during(Duration::from_millis(2500), || ());
    let after = forks(&daemon);
    assert!(after - before <= 12, "{} forks", after - before);
    fs::remove_file(daemon.dir().join("stillborn")).unwrap();
    assert_eq!(daemon.client().ask("echo alive"), "alive");
}

#[test]
fn a_start_whose_children_die_is_given_up_with_the_reason() {
    let start = Start::pool().options("start=2 max=4 stillborn_while=/");
    let failed = start.fails();
    assert_eq!(failed.status, "code 1");
    assert!(failed.error.contains("the initial children do not come up"), "{}", failed.error);
    assert!(failed.error.contains("exit code 7"), "the exit code is told: {}", failed.error);
}

#[test]
fn the_fork_server_alone_ends_its_children_when_its_parent_is_killed() {
    let mut daemon = Start::example("forkserver_only").up();
    let mut client = daemon.client();
    let child = until("a child is born", || daemon.children().first().copied());
    assert!(daemon.parent().signal(Signal::SIGKILL));
    daemon.ended();
    assert!(!child.is_alive());
    assert_eq!(client.rest(), "");
}

#[test]
fn the_fork_server_alone_serves_each_client_in_a_process_of_its_own() {
    let daemon = Start::example("forkserver_only").up();
    let mut served = BTreeSet::new();
    for _client in 0..5 {
        let answer = daemon.client().ask("hello");
        let (pid, said) = answer.split_once(": ").unwrap();
        assert_eq!(said, "hello");
        assert!(served.insert(Process(pid.parse().unwrap())));
    }
}
