//! Tests the example `preforking`. Some of the tests are ports of `t/20_preforking.t`, with which
//! POE::Component::Daemon tests its own example.

use std::collections::HashSet;
use std::fs;

use crate::harness::{DaemonProcess, Process, Signal, TestProgram, during, run_clients, until};
use std::time::Duration;

fn preforking() -> DaemonProcess {
    TestProgram::example("preforking").start()
}

#[test]
fn two_connections_are_served_by_two_processes() {
    let daemon = preforking();
    let (mut first, mut second) = (daemon.client(), daemon.client());
    let pid = first.pid();
    assert_eq!(first.pid(), pid);
    assert_ne!(second.pid(), pid);
}

#[test]
fn a_child_that_receives_hup_reopens_its_log_file() {
    let daemon = preforking();
    let mut client = daemon.client();
    let child = client.pid();
    let logfile = client.ask("LOGFILE");
    assert!(fs::exists(&logfile).unwrap(), "{logfile}");
    fs::rename(&logfile, format!("{logfile}.OLD")).unwrap();
    assert!(child.signal(Signal::SIGHUP));
    until("the log file exists again", || fs::exists(&logfile).unwrap().then_some(()));
    assert_eq!(client.ask("PING"), "PONG");
}

#[test]
fn a_child_that_reaches_its_request_quota_is_replaced() {
    let daemon = preforking();
    let mut served = HashSet::new();
    for _round in 0..3 {
        let (mut first, mut second) = (daemon.client(), daemon.client());
        for client in [&mut first, &mut second] {
            assert!(served.insert(client.pid()), "a child serves one request");
            assert_eq!(client.ask("DONE"), "OK");
            assert_eq!(client.rest(), "");
        }
    }
    for child in served {
        until("a child that has served its request is gone", || (!child.is_alive()).then_some(()));
    }
}

#[test]
fn status_shows_both_busy_children_on_the_scoreboard() {
    let daemon = preforking();
    let (mut first, mut second) = (daemon.client(), daemon.client());
    assert_eq!((first.ask("PING"), second.ask("PING")), ("PONG".into(), "PONG".into()));
    let status = first.ask_up_to("STATUS", "DONE");
    assert_eq!(status[1], "    Pre-forking server, we are a child");
    let slots = status[4].split_once("Slots [").expect("the scoreboard").1;
    assert_eq!(slots.matches('r').count(), 2, "{status:?}");
}

#[test]
fn peek_lists_the_daemons_session() {
    let daemon = preforking();
    let peek = daemon.client().ask_up_to("PEEK", "DONE");
    assert!(peek.len() > 4, "{peek:?}");
    assert!(peek.iter().any(|line| line == "session 1 (Daemon)"), "{peek:?}");
}

#[test]
fn a_child_returns_the_pid_of_its_parent() {
    let mut daemon = preforking();
    let parent = daemon.client().ask("PARENT");
    assert_eq!(parent, daemon.parent().0.to_string());
    let ended = daemon.stop();
    assert_eq!(ended[&Process(parent.parse().unwrap())], "code 0");
}

#[test]
fn clients_that_disconnect_without_a_command_do_not_affect_later_clients() {
    let daemon = preforking();
    for _client in 0..50 {
        drop(daemon.client());
    }
    assert_eq!(daemon.client().ask("PING"), "PONG");
}

#[test]
fn a_hundred_concurrent_connections_are_answered_correctly() {
    let daemon = preforking();
    let answers = run_clients(100, |_client| {
        let mut client = daemon.client();
        let pid = client.pid();
        assert_eq!(client.pid(), pid);
        assert_eq!(client.ask("ping"), "PONG");
        assert_eq!(client.ask("nonsense"), "???");
        assert_eq!(client.ask("DONE"), "OK");
        pid
    });
    let children: HashSet<Process> = answers.into_iter().collect();
    assert_eq!(children.len(), 100, "each child serves one request");
}

#[test]
fn there_are_never_more_children_than_max_children() {
    let daemon = TestProgram::pool().options("start=4 min=4 max=4 requests=3").start();
    let fork_server = daemon.fork_server();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                most = most.max(fork_server.children().len());
            }
            most
        });
        run_clients(12, |number| {
            for round in 0..15 {
                let mut client = daemon.client();
                let word = format!("{number}-{round}");
                assert_eq!(client.ask(&format!("echo {word}")), word);
            }
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let most = watch.join().unwrap();
        assert!((1..=4).contains(&most), "{most} children at a time");
    });
}

#[test]
fn an_idle_pool_of_maximum_size_does_not_grow() {
    let daemon = TestProgram::pool().options("start=4 max=4").start();
    let children = daemon.wait_for_children(4);
    // In this situation, POE::Component::Daemon forks one more child each second. This daemon does
    // not poll: if it forked a child by mistake, it would do so immediately, so 300 ms are enough.
    during(Duration::from_millis(300), || {
        assert_eq!(daemon.children(), children);
    });
}
