//! Tests a dispatcher of which a process has no descriptor left: the parent runs, callers are told why
//! their requests fail, and all requests are served when there are descriptors again.

use std::time::Duration;

use crate::harness::{DaemonProcess, LineClient, Process, Signal, TestProgram, until};

/// The length of a parameter or a result that is sent in a memory file.
const LARGE: usize = 200_000;

const REJECTED: &str = "failed: rejected: ";
const NO_WORKER: &str = "no worker could be started: ";
const EMFILE: &str = "too many open files";

/// Starts a dispatcher with one worker. Returns it with its only client and the worker.
fn dispatcher(start: u32) -> (DaemonProcess, LineClient) {
    let program = TestProgram::dispatcher().options(&format!("start={start} max=1"));
    let daemon = program.start();
    let mut client = daemon.client();
    // The answer shows that the parent has started.
    assert!(client.ask("nothing").starts_with(REJECTED));
    (daemon, client)
}

fn large_echo() -> String {
    format!("echo {}", "x".repeat(LARGE))
}

/// Checks that small and large requests are served.
#[track_caller]
fn serves(client: &mut LineClient) {
    assert_eq!(client.ask("echo small"), "small");
    assert_eq!(client.ask(&large_echo()).len(), LARGE);
    assert_eq!(client.ask(&format!("repeat {LARGE}")).len(), LARGE);
}

#[test]
fn requests_are_rejected_while_the_parent_has_no_descriptor_for_a_worker() {
    let (daemon, mut client) = dispatcher(0);
    daemon.parent().limit_descriptors(3);
    for _request in 0..3 {
        let answer = client.ask("pid");
        assert!(answer.starts_with(&format!("{REJECTED}{NO_WORKER}")), "{answer}");
        assert!(answer.ends_with(&format!("cannot create a socket pair: {EMFILE}")), "{answer}");
    }
    daemon.parent().limit_descriptors(1024);
    serves(&mut client);
}

#[test]
fn requests_are_answered_while_the_parent_with_a_worker_has_no_descriptor() {
    let (daemon, mut client) = dispatcher(1);
    let worker = client.pid();
    let mut other = daemon.client();
    assert_eq!(other.pid(), worker);
    daemon.parent().limit_descriptors(3);
    other.send(&large_echo()).unwrap();
    other.send("\n").unwrap();
    // A small request waits behind the large one.
    assert_eq!(client.ask("echo small"), "small");
    let answer = other.read().unwrap();
    let reason = "not enough memory for the parameters of method \"echo\": ";
    assert!(answer.starts_with(&format!("{REJECTED}{reason}")), "{answer}");
    assert!(answer.to_lowercase().contains(EMFILE), "{answer}");
    assert_eq!(client.pid(), worker, "the worker is healthy");
    daemon.parent().limit_descriptors(1024);
    serves(&mut client);
}

#[test]
fn new_clients_and_workers_are_served_after_a_long_shortage_of_descriptors() {
    let (daemon, mut client) = dispatcher(1);
    let worker = client.pid();
    daemon.parent().limit_descriptors(3);
    assert!(worker.signal(Signal::SIGKILL));
    for _request in 0..5 {
        let answer = client.ask("pid");
        assert!(answer.starts_with(REJECTED), "{answer}");
    }
    let mut late = daemon.client();
    late.send("pid\n").unwrap();
    assert!(!late.is_answered_within(Duration::from_millis(300)), "it cannot be accepted");
    daemon.parent().limit_descriptors(1024);
    let replacement: Process = Process(late.read().unwrap().parse().unwrap());
    assert_ne!(replacement, worker);
    serves(&mut client);
}

#[test]
fn a_result_is_an_error_if_the_parent_or_the_worker_has_no_descriptor_and_the_worker_stays() {
    let (daemon, mut client) = dispatcher(1);
    let worker = client.pid();
    daemon.parent().limit_descriptors(3);
    let answer = client.ask(&format!("repeat {LARGE}"));
    assert_eq!(answer, "failed: the result was lost: the dispatcher has no free descriptor");
    assert_eq!(client.pid(), worker);
    daemon.parent().limit_descriptors(1024);
    serves(&mut client);
    // This worker has no memory file that it could use again.
    let (_daemon, mut client) = dispatcher(1);
    let worker = client.pid();
    worker.limit_descriptors(3);
    let answer = client.ask(&format!("repeat {LARGE}"));
    assert!(answer.starts_with("failed: cannot return the result of the method: "), "{answer}");
    assert_eq!(client.pid(), worker);
    worker.limit_descriptors(1024);
    serves(&mut client);
    assert_eq!(client.pid(), worker);
}

#[test]
fn a_task_whose_worker_has_no_descriptor_for_its_parameters_is_run_by_another_worker() {
    let (_daemon, mut client) = dispatcher(1);
    let worker = client.pid();
    worker.limit_descriptors(3);
    assert_eq!(client.ask(&large_echo()).len(), LARGE);
    assert_ne!(client.pid(), worker);
}

#[test]
fn a_dispatcher_runs_while_its_fork_server_has_no_descriptor_for_a_new_worker() {
    let (daemon, mut client) = dispatcher(1);
    let worker = client.pid();
    daemon.fork_server().limit_descriptors(3);
    assert!(worker.signal(Signal::SIGKILL));
    let answer = client.ask("pid");
    assert!(answer.starts_with(&format!("{REJECTED}{NO_WORKER}")), "{answer}");
    daemon.fork_server().limit_descriptors(1024);
    until("a request is run", || client.ask("pid").parse::<u32>().ok());
    serves(&mut client);
}
