//! Tests children that cannot accept connections: their siblings serve the connections, and a child
//! that cannot accept for long is replaced.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::harness::{DaemonProcess, LineClient, Process, TestProgram, until};

const POOL: &str = "start=4 min=4 max_spare=4 max=4 open_files=64";

fn pools() -> [DaemonProcess; 2] {
    [TestProgram::pool(), TestProgram::serve()]
        .map(|program| program.logged().options(POOL).start())
}

/// Connects until `child` serves the client.
fn client_of(daemon: &DaemonProcess, child: Process) -> LineClient {
    let mut others = Vec::new();
    loop {
        let mut client = daemon.client();
        if client.pid() == child {
            return client;
        }
        // Keeps the other children busy.
        others.push(client);
    }
}

/// Makes a child open all its descriptors until the file `end` exists.
fn exhaust(daemon: &DaemonProcess, child: Process) {
    let mut client = client_of(daemon, child);
    let end = daemon.dir().join("end");
    assert_eq!(client.ask(&format!("exhaust_descriptors {}", end.display())), "ok");
    wait_until_exhausted(child);
}

/// Waits until a child has no free descriptor, or has exited. The descriptor of its last client is
/// closed, and its number is used again.
fn wait_until_exhausted(child: Process) {
    until("all descriptors are in use", || {
        let is_full = child.descriptors().range(..64).count() == 64;
        (is_full || !child.is_alive()).then_some(())
    });
}

/// Makes requests until a child has logged that it cannot accept one of them, and then 200 more.
fn check_that_siblings_serve(daemon: &DaemonProcess, request: impl Fn()) {
    until("a child cannot accept a connection", || {
        request();
        daemon.log().contains("cannot accept a connection").then_some(())
    });
    (0..200).for_each(|_| request());
}

#[test]
fn connections_are_served_by_the_siblings_of_a_child_without_free_descriptors() {
    for daemon in pools() {
        let child = daemon.wait_for_children(4)[0];
        exhaust(&daemon, child);
        check_that_siblings_serve(&daemon, || {
            assert!(daemon.client().ask("echo word").ends_with("word"));
        });
        let log = daemon.log();
        assert_eq!(log.matches("cannot accept a connection").count(), 1, "{log}");
    }
}

#[test]
fn connections_to_a_unix_socket_are_served_by_the_siblings_of_a_child_without_descriptors() {
    let program = TestProgram::serve().logged().options(POOL).options("unix=DIR/s");
    let daemon = program.start();
    let path = daemon.dir().join("s");
    let ask = |word: &str| {
        let mut stream = BufReader::new(UnixStream::connect(&path).unwrap());
        stream.get_ref().set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.get_mut().write_all(format!("{word}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).unwrap();
        answer
    };
    let end = daemon.dir().join("end");
    assert_eq!(ask(&format!("exhaust_descriptors {}", end.display())), "ok\n");
    check_that_siblings_serve(&daemon, || assert_eq!(ask("word"), "word\n"));
}

#[test]
fn a_child_that_cannot_accept_for_long_is_replaced() {
    for daemon in pools() {
        let child = daemon.wait_for_children(4)[0];
        exhaust(&daemon, child);
        until("the child exits", || {
            assert!(daemon.client().ask("echo on").ends_with("on"));
            (!child.is_alive()).then_some(())
        });
        daemon.wait_for_log("cannot accept connections, the child exits");
        daemon.wait_for_log("reason: exited with code 71");
        let children = daemon.wait_for_children(4);
        assert!(!children.contains(&child));
    }
}

#[test]
fn a_pool_whose_children_all_lack_descriptors_serves_again_when_there_are_some() {
    for daemon in pools() {
        let (children, end) = (daemon.wait_for_children(4), daemon.dir().join("end"));
        let mut clients: Vec<_> = children.iter().map(|_| daemon.client()).collect();
        for client in &mut clients {
            client.pid();
        }
        for client in &mut clients {
            assert_eq!(client.ask(&format!("exhaust_descriptors {}", end.display())), "ok");
        }
        drop(clients);
        children.into_iter().for_each(wait_until_exhausted);
        let mut waiting = Vec::new();
        until("no child can accept", || {
            let mut client = daemon.client();
            client.send("echo late\n").unwrap();
            // A child that was served until now may still have a free descriptor.
            if !client.is_answered_within(Duration::from_millis(100)) {
                waiting.push(client);
            }
            (waiting.len() >= 8).then_some(())
        });
        daemon.wait_for_log("cannot accept a connection");
        fs::write(end, "").unwrap();
        for mut client in waiting {
            assert!(client.read().unwrap().ends_with("late"));
        }
    }
}
