//! Tests the example `forking`. Some of the tests are ports of `t/30_forking.t`, a test of the
//! original, POE::Component::Daemon.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{DaemonProcess, Process, TestProgram, run_clients};

fn forking() -> DaemonProcess {
    TestProgram::example("forking").start()
}

#[test]
fn each_connection_has_its_own_process_and_actix_system() {
    let daemon = forking();
    let mut first = daemon.client();
    assert_eq!(first.ask("DONGS!!"), "???");
    assert_eq!(first.ask("PING"), "PONG");
    let pid = first.pid();
    assert_eq!(first.pid(), pid);
    let kernel = first.ask("KERNEL");
    assert!(!kernel.is_empty());
    let mut second = daemon.client();
    assert_eq!(second.ask("PING"), "PONG");
    assert_ne!(second.pid(), pid);
    let other = second.ask("KERNEL");
    assert!(!other.is_empty() && other != kernel, "{kernel} {other}");
    let logfile = first.ask("LOGFILE");
    assert!(fs::exists(&logfile).unwrap(), "{logfile}");
}

#[test]
fn status_text_has_the_format_of_the_original() {
    let daemon = forking();
    let status = daemon.client().ask_up_to("STATUS", "    2 slots free");
    assert_eq!(status[1], "    Forking server, we are a child");
    assert!(status.iter().any(|line| line == "    Slots [r  ]"), "{status:?}");
}

#[test]
fn children_return_the_pid_of_their_parent_and_term_to_the_parent_stops_the_daemon() {
    let mut daemon = forking();
    let mut first = daemon.client();
    let pid = first.pid();
    assert_eq!(first.ask("DONE"), "OK");
    let mut second = daemon.client();
    assert_ne!(second.pid(), pid);
    let parent = Process(second.ask("PARENT").parse().unwrap());
    assert_eq!(parent, daemon.parent());
    assert_eq!(second.ask("DONE"), "OK");
    assert_eq!(daemon.stop()[&parent], "code 0");
}

#[test]
fn a_fourth_connection_is_answered_when_one_of_the_first_three_ends() {
    let daemon = forking();
    let mut busy: Vec<_> = (0..3).map(|_client| daemon.client()).collect();
    for client in &mut busy {
        assert_eq!(client.ask("PING"), "PONG");
    }
    for _round in 0..5 {
        let mut fourth = daemon.client();
        fourth.send("PING\n").unwrap();
        // A daemon that exceeded `max_children` would answer within this time.
        assert!(!fourth.is_answered_within(Duration::from_millis(50)));
        assert_eq!(busy.remove(0).ask("DONE"), "OK");
        assert_eq!(fourth.read().unwrap(), "PONG");
        busy.push(fourth);
    }
}

#[test]
fn twenty_concurrent_connections_are_not_reset() {
    let daemon = forking();
    let answers = run_clients(20, |_client| {
        let mut client = daemon.client();
        let answer = client.ask("PING");
        assert_eq!(client.ask("DONE"), "OK");
        answer
    });
    assert_eq!(answers, ["PONG"; 20]);
}

#[test]
fn a_hundred_concurrent_connections_are_answered_correctly() {
    let daemon = forking();
    run_clients(100, |_client| {
        let mut client = daemon.client();
        let pid = client.pid();
        assert_eq!(client.pid(), pid);
        assert_eq!(client.ask("nonsense"), "???");
        assert_eq!(client.ask("ping"), "PONG");
        assert_eq!(client.ask("DONE"), "OK");
    });
}

#[test]
fn there_are_never_more_children_than_max_children() {
    let daemon = forking();
    let fork_server = daemon.fork_server();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(fork_server.children().len());
            }
            most
        });
        run_clients(30, |_client| {
            for _round in 0..5 {
                let mut client = daemon.client();
                assert_eq!(client.ask("PING"), "PONG");
                assert_eq!(client.ask("DONE"), "OK");
            }
        });
        done.store(true, Ordering::Relaxed);
        let most = watch.join().unwrap();
        assert!((1..=3).contains(&most), "{most} children at a time");
    });
}

#[test]
fn clients_that_disconnect_without_a_command_do_not_affect_later_clients() {
    let daemon = forking();
    for _client in 0..50 {
        drop(daemon.client());
    }
    assert_eq!(daemon.client().ask("PING"), "PONG");
}
