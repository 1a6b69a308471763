//! Tests a parent that runs arbiters and a web server in other threads. Also tests the examples
//! `http`, `nonforking` and `short_way`.

use std::fs;

use crate::harness::{LineClient, Signal, TestProgram, run_clients, until};

/// Sends an HTTP request on a connection that stays open, and returns the body of the answer.
fn get(client: &mut LineClient, path: &str) -> std::io::Result<String> {
    client.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))?;
    let mut length = 0;
    loop {
        let line = client.read()?.to_ascii_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().expect("a length");
        }
        if line.is_empty() {
            break;
        }
    }
    client.read_exactly(length)
}

#[test]
fn a_daemon_whose_parent_runs_other_arbiters_and_a_web_server_serves_clients_and_stops() {
    let mut daemon = TestProgram::other_threads().logged().options("max=8").start();
    let web: u16 = fs::read_to_string(daemon.dir().join("commands.web")).unwrap().parse().unwrap();
    let threads = daemon.parent().status("Threads")[0].parse::<u32>().unwrap();
    assert!(threads >= 5, "two arbiters and two web workers run: {threads} threads");
    run_clients(20, |number| {
        let word = number.to_string();
        assert_eq!(daemon.client().ask(&format!("echo {word}")), word);
        let page = get(&mut LineClient::connect(web), "/").unwrap();
        assert!(page.contains("Forking server, we are a parent"), "{page}");
    });
    for process in [daemon.client().pid(), daemon.fork_server()] {
        assert_eq!(process.status("Threads"), ["1"]);
    }
    let parent = daemon.parent();
    parent.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait_until_gone()[&parent], "code 0");
}

#[test]
fn two_requests_on_one_http_connection_are_answered_by_one_process() {
    let daemon = TestProgram::example("http").start();
    let mut client = daemon.client();
    let answer = get(&mut client, "/").unwrap();
    assert!(answer.starts_with("answered by process "), "{answer}");
    assert_eq!(get(&mut client, "/").unwrap(), answer);
}

#[test]
fn an_http_handler_that_crashes_ends_only_its_own_child() {
    let daemon = TestProgram::example("http").start();
    let mut others: Vec<_> = (0..2).map(|_client| daemon.client()).collect();
    let answers: Vec<_> = others.iter_mut().map(|other| get(other, "/").unwrap()).collect();
    for _crash in 0..3 {
        assert!(get(&mut daemon.client(), "/crash").is_err());
        assert!(get(&mut daemon.client(), "/").unwrap().starts_with("answered by process "));
    }
    for (other, answer) in others.iter_mut().zip(answers) {
        assert_eq!(get(other, "/").unwrap(), answer);
    }
}

#[test]
fn an_idle_http_connection_is_closed_when_the_daemon_stops() {
    let mut daemon = TestProgram::example("http").start();
    let mut client = daemon.client();
    get(&mut client, "/").unwrap();
    daemon.parent().signal(Signal::SIGTERM);
    assert_eq!(client.rest(), "");
    daemon.wait_until_gone();
}

#[test]
fn a_daemon_without_children_finishes_its_requests_before_it_stops() {
    let mut daemon = TestProgram::example("nonforking").start();
    let mut client = daemon.client();
    assert_eq!(client.ask("one"), "one");
    daemon.parent().signal(Signal::SIGTERM);
    daemon.wait_for_log("daemon stopping");
    assert_eq!(client.ask("two"), "two");
    drop(client);
    daemon.wait_until_gone();
}

#[test]
fn the_short_way_example_answers_a_hundred_connections_correctly() {
    let daemon = TestProgram::example("short_way").start();
    run_clients(100, |number| {
        let mut client = daemon.client();
        for round in 0..3 {
            let word = format!("{number}-{round}");
            assert_eq!(client.ask(&word), word);
        }
    });
    until("the pool has shrunk to `max_spare` (25) children, or one more", || {
        (daemon.children().len() <= 26).then_some(())
    });
}
