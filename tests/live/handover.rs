//! Tests requests that the parent sends to a child: thousands of connections, and requests of any
//! size.

use std::collections::BTreeMap;

use crate::harness::{DaemonProcess, Process, TestProgram, run_clients, until};

fn descriptors(daemon: &DaemonProcess) -> BTreeMap<Process, usize> {
    [daemon.parent(), daemon.fork_server()]
        .into_iter()
        .map(|process| (process, process.descriptors().len()))
        .collect()
}

/// Waits until the parent and the fork server have no more descriptors than before. A descriptor
/// that was open for a moment may have been counted before, so both may have fewer.
fn wait_for_at_most(daemon: &DaemonProcess, before: &BTreeMap<Process, usize>) {
    until("the parent and the fork server have no more descriptors than before", || {
        let all = descriptors(daemon);
        all.iter().all(|(process, open)| before.get(process) >= Some(open)).then_some(())
    });
}

#[test]
fn ten_thousand_connections_leak_no_descriptor_in_any_process() {
    let daemon = TestProgram::postfork().options("max=8").start();
    let mut client = daemon.client();
    let in_a_child = client.pid().descriptors().len();
    client.ask("done");
    until("the first child is gone", || daemon.children().is_empty().then_some(()));
    let before = descriptors(&daemon);
    run_clients(8, |number| {
        for round in 0..1250 {
            let mut client = daemon.client();
            let word = format!("{number}-{round}");
            assert_eq!(client.ask(&format!("echo {word}")), word);
        }
    });
    until("the last child is gone", || daemon.children().is_empty().then_some(()));
    wait_for_at_most(&daemon, &before);
    let mut client = daemon.client();
    assert_eq!(client.pid().descriptors().len(), in_a_child);
    assert!(daemon.report()["counters"]["forks"].as_u64() >= Some(10_000));
}

#[test]
fn a_pool_whose_children_are_replaced_repeatedly_leaks_no_descriptor() {
    let daemon = TestProgram::pool().options("start=2 min=2 max=6 requests=1").start();
    let mut client = daemon.client();
    let in_a_child = client.pid().descriptors().len();
    client.ask("done");
    let before = descriptors(&daemon);
    run_clients(4, |_client| {
        for _round in 0..100 {
            assert_eq!(daemon.client().ask("echo x"), "x");
        }
    });
    wait_for_at_most(&daemon, &before);
    assert_eq!(daemon.client().pid().descriptors().len(), in_a_child);
}

#[test]
fn requests_of_up_to_ten_megabytes_arrive_complete() {
    let daemon = TestProgram::large().logged().start();
    for size in [0, 1, 65_536, 10 * 1024 * 1024] {
        let answer = daemon.ask(&format!("bytes {size}"));
        assert!(answer.starts_with("handed to "), "{answer}");
        daemon.wait_for_log(&format!("received {size} bytes, 0 wrong"));
    }
}

#[test]
fn a_request_over_the_size_limit_is_refused_with_its_size_and_the_limit() {
    let daemon = TestProgram::large().logged().options("request_limit=1048576").start();
    let answer = daemon.ask("bytes 2097152");
    assert!(answer.starts_with("not handed over: "), "{answer}");
    let size = 2_097_152;
    let line = answer.split(|letter: char| !letter.is_ascii_digit());
    let numbers: Vec<u64> = line.filter_map(|number| number.parse().ok()).collect();
    // The request's length is sent with the request and counts towards the limit too.
    assert!((size..size + 16).contains(&numbers[0]), "{answer}");
    assert_eq!(numbers[1], 1_048_576, "{answer}");
    assert!(daemon.ask("bytes 1000").starts_with("handed to "));
}

#[test]
fn the_parent_refuses_update_status_and_suggests_hand_over() {
    let daemon = TestProgram::postfork().start();
    let answer = daemon.ask("wait");
    assert!(answer.starts_with("refused: ") && answer.contains("HandOver"), "{answer}");
}
