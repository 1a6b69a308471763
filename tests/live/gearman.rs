//! `examples/gearman_worker` at a real gearmand, its jobs submitted by the `gearman` command.

use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::harness::{Gearmand, Guard, Signal, crowd, until};

/// Starts a worker, and waits until the server knows it.
#[track_caller]
fn worker(server: &Gearmand) -> Guard {
    let worker = Guard::example("gearman_worker", &[&server.address()]);
    let name = format!("gearman_worker-{} ", worker.process().0);
    until("the worker is in the server's list", || {
        server.workers(&name).iter().any(|line| line.contains(" reverse")).then_some(())
    });
    worker
}

/// Stops a worker, and tells how many jobs it has answered.
#[track_caller]
fn answered(worker: &mut Guard) -> usize {
    assert_eq!(worker.stop(Signal::SIGTERM), "code 0", "{}", worker.complained());
    let said = worker.said();
    let number = said.strip_prefix("jobs answered: ").and_then(|rest| rest.trim_end().parse().ok());
    number.unwrap_or_else(|| panic!("{said:?} tells no number of jobs"))
}

/// What a job of `sleep` has come to: its progress was told ten times. The command writes that through
/// a buffer and the result past it, so it may stand before or behind.
#[track_caller]
fn slept(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    for tenth in (1..=10).rev() {
        let told = format!("{tenth}0% Complete\n");
        assert!(text.contains(&told), "{output:?}");
        text = text.replacen(&told, "", 1);
    }
    text
}

#[test]
fn each_function_answers_the_command() {
    let Some(server) = Gearmand::start() else { return };
    let mut worker = worker(&server);
    let table = [
        ("reverse", "gearman", "namraeg"),
        ("reverse", "für", "rüf"),
        ("wc", "one two\nthree\n", "2 3 14\n"),
    ];
    for (function, workload, result) in table {
        let output = server.job(function, workload);
        assert_eq!(String::from_utf8_lossy(&output.stdout), result, "{function} {output:?}");
    }
    assert_eq!(slept(&server.job("sleep", "30")), "30");
    let output = server.job("fail", "for a reason");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "for a reason\nJob failed\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(answered(&mut worker), 5);
    assert_eq!(worker.complained(), "");
}

#[test]
fn two_thousand_jobs_are_each_answered_once_while_workers_come_and_go() {
    const CLIENTS: usize = 10;
    const ROUNDS: usize = 10;
    const JOBS: usize = 20;
    let Some(server) = Gearmand::start() else { return };
    let rounds = AtomicUsize::new(0);
    let first = worker(&server);
    let done = thread::scope(|scope| {
        let clients = scope.spawn(|| {
            crowd(CLIENTS, |client| {
                for round in 0..ROUNDS {
                    let words: Vec<String> =
                        (0..JOBS).map(|job| format!("{client}-{round}-{job}\n")).collect();
                    let reversed = |word: &String| word.chars().rev().collect::<String>();
                    let expected: String = words.iter().map(reversed).collect();
                    assert_eq!(server.jobs("reverse", &words.concat()), expected);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        let (mut worker_in_place, mut done) = (first, 0);
        for rounds_before in [25, 50, 75] {
            until(&format!("{rounds_before} rounds are over"), || {
                let over = rounds.load(Ordering::Relaxed) >= rounds_before;
                (over || clients.is_finished()).then_some(())
            });
            assert!(!clients.is_finished(), "it stops in the middle");
            done += answered(&mut worker_in_place);
            worker_in_place = worker(&server);
        }
        clients.join().expect("every job is answered");
        done + answered(&mut worker_in_place)
    });
    assert_eq!(done, CLIENTS * ROUNDS * JOBS);
    assert_eq!(server.queue("reverse").jobs, 0);
}

#[test]
fn a_job_in_hand_is_answered_before_the_worker_stops() {
    let Some(server) = Gearmand::start() else { return };
    let mut worker = worker(&server);
    thread::scope(|scope| {
        let client = scope.spawn(|| server.job("sleep", "300"));
        until("the job is in hand", || (server.queue("sleep").running == 1).then_some(()));
        assert_eq!(answered(&mut worker), 1);
        assert_eq!(slept(&client.join().expect("the client runs")), "300");
    });
}

#[test]
fn what_is_left_when_a_worker_stops_is_the_next_ones() {
    let Some(server) = Gearmand::start() else { return };
    let mut first = worker(&server);
    for _job in 0..10 {
        server.submit("sleep", "50");
    }
    until("the first is in hand", || (server.queue("sleep").running == 1).then_some(()));
    let done = answered(&mut first);
    assert!(done < 10, "it stops in the middle, not after {done}");
    assert_eq!(server.queue("sleep").jobs, 10 - done);
    let mut second = worker(&server);
    until("all are done", || (server.queue("sleep").jobs == 0).then_some(()));
    assert_eq!(answered(&mut second), 10 - done);
}

#[test]
fn the_job_of_a_worker_that_is_killed_is_done_by_another_one() {
    let Some(server) = Gearmand::start() else { return };
    let mut first = worker(&server);
    thread::scope(|scope| {
        let client = scope.spawn(|| server.job("sleep", "200"));
        until("the job is in hand", || (server.queue("sleep").running == 1).then_some(()));
        assert_eq!(first.stop(Signal::SIGKILL), "signal SIGKILL");
        let mut second = worker(&server);
        assert_eq!(slept(&client.join().expect("the client runs")), "200");
        assert_eq!(answered(&mut second), 1);
    });
}

#[test]
fn a_worker_that_sleeps_leaves_at_once_and_the_server_knows() {
    let Some(server) = Gearmand::start() else { return };
    let mut worker = worker(&server);
    let name = format!("gearman_worker-{} ", worker.process().0);
    assert_eq!(answered(&mut worker), 0);
    assert_eq!(server.queue("reverse").workers, 0);
    until("it is off the list", || server.workers(&name).is_empty().then_some(()));
}

#[test]
fn a_worker_comes_back_to_a_server_that_is_restarted() {
    let Some(mut server) = Gearmand::start() else { return };
    let mut worker = worker(&server);
    assert_eq!(server.job("reverse", "before").stdout, b"erofeb");
    server.is_replaced_while(|| {
        until("the worker has told of it", || {
            let told = worker.complained();
            (told.contains("closed the connection") && told.contains("cannot connect"))
                .then_some(())
        });
    });
    assert_eq!(server.job("reverse", "after").stdout, b"retfa");
    assert_eq!(answered(&mut worker), 2);
}

#[test]
fn a_worker_of_no_address_says_so_and_does_not_start() {
    let mut worker = Guard::example("gearman_worker", &["nowhere"]);
    assert_eq!(worker.ended(), "code 1");
    assert!(worker.complained().contains("nowhere"), "{}", worker.complained());
}
