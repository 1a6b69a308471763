//! Tests `examples/gearman_worker` with a real gearmand. The `gearman` command submits the jobs.

use std::collections::BTreeSet;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Gearmand, GuardedProgram, Process, Signal, during, run_clients, until};

const CLIENTS: usize = 10;
const ROUNDS: usize = 10;
const JOBS: usize = 20;

/// Starts a worker without a manager and waits until the server lists it.
#[track_caller]
fn worker(server: &Gearmand) -> GuardedProgram {
    let worker = GuardedProgram::example("gearman_worker", &[&server.address(), "0"]);
    let name = format!("gearman_worker-{} ", worker.process().0);
    until("the worker is in the server's list", || {
        server.workers(&name).iter().any(|line| line.contains(" reverse")).then_some(())
    });
    worker
}

/// Starts a manager with ten workers and waits until the server lists them.
#[track_caller]
fn ten_workers(server: &Gearmand) -> (GuardedProgram, BTreeSet<Process>) {
    let manager = GuardedProgram::example("gearman_worker", &[&server.address()]);
    let workers = until("the server's list has ten workers", || the_ten_workers(server));
    (manager, workers)
}

/// Returns the server's workers if there are ten.
fn the_ten_workers(server: &Gearmand) -> Option<BTreeSet<Process>> {
    let known = server.workers(" reverse");
    let id = |line: &String| {
        let (_before, id) = line.split_once("gearman_worker-")?;
        id.split_whitespace().next()?.parse().ok().map(Process)
    };
    let workers: BTreeSet<Process> = known.iter().filter_map(id).collect();
    (workers.len() == 10).then_some(workers)
}

/// Stops a worker, or a manager with its workers, and returns the number of jobs that each worker
/// has answered.
#[track_caller]
fn stop_and_count_jobs(guard: &mut GuardedProgram) -> Vec<usize> {
    assert_eq!(guard.stop(Signal::SIGTERM), "code 0", "{}", guard.stderr());
    let said = guard.stdout();
    let number = |line: &str| {
        let number = line.strip_prefix("jobs answered: ").and_then(|rest| rest.parse().ok());
        number.unwrap_or_else(|| panic!("no number of jobs in {said:?}"))
    };
    said.lines().map(number).collect()
}

/// Stops a worker and returns the number of jobs that it has answered.
#[track_caller]
fn answered(worker: &mut GuardedProgram) -> usize {
    let jobs = stop_and_count_jobs(worker);
    assert_eq!(jobs.len(), 1, "one number for one worker: {jobs:?}");
    jobs[0]
}

/// Submits two thousand jobs and checks each answer. Ten clients submit ten rounds of twenty jobs
/// each. `rounds` counts the answered rounds of all clients.
fn two_thousand_jobs(server: &Gearmand, rounds: &AtomicUsize) {
    run_clients(CLIENTS, |client| {
        for round in 0..ROUNDS {
            let words: Vec<String> =
                (0..JOBS).map(|job| format!("{client}-{round}-{job}\n")).collect();
            let reversed = |word: &String| word.chars().rev().collect::<String>();
            let expected: String = words.iter().map(reversed).collect();
            assert_eq!(server.jobs("reverse", &words.concat()), expected);
            rounds.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// Checks and removes the progress reports of a `sleep` job, and returns the job's result. The
/// `gearman` command buffers the ten progress reports but not the result, so the result may be
/// printed first.
#[track_caller]
fn slept(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    for tenth in (1..=10).rev() {
        let line = format!("{tenth}0% Complete\n");
        assert!(text.contains(&line), "{output:?}");
        text = text.replacen(&line, "", 1);
    }
    text
}

#[test]
fn each_function_of_the_gearman_worker_returns_its_result_or_error() {
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
    assert_eq!(worker.stderr(), "");
}

#[test]
fn two_thousand_jobs_are_each_answered_once_while_workers_start_and_stop() {
    let Some(server) = Gearmand::start() else { return };
    let rounds = AtomicUsize::new(0);
    let first = worker(&server);
    let done = thread::scope(|scope| {
        let clients = scope.spawn(|| two_thousand_jobs(&server, &rounds));
        let (mut worker_in_place, mut done) = (first, 0);
        for rounds_before in [25, 50, 75] {
            until(&format!("{rounds_before} rounds are answered"), || {
                let over = rounds.load(Ordering::Relaxed) >= rounds_before;
                (over || clients.is_finished()).then_some(())
            });
            assert!(!clients.is_finished(), "the worker is stopped before the last job");
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
fn two_thousand_jobs_are_each_answered_once_while_ten_workers_are_replaced_on_hup() {
    let Some(server) = Gearmand::start() else { return };
    let rounds = AtomicUsize::new(0);
    let (mut manager, first_ten) = ten_workers(&server);
    thread::scope(|scope| {
        let clients = scope.spawn(|| two_thousand_jobs(&server, &rounds));
        until("half of the jobs are answered", || {
            let half = rounds.load(Ordering::Relaxed) >= CLIENTS * ROUNDS / 2;
            (half || clients.is_finished()).then_some(())
        });
        assert!(!clients.is_finished(), "HUP is sent before the last job");
        manager.process().signal(Signal::SIGHUP);
        until("ten new workers have replaced the first ten", || {
            the_ten_workers(&server)?.is_disjoint(&first_ten).then_some(())
        });
        clients.join().expect("every job is answered");
    });
    let jobs = stop_and_count_jobs(&mut manager);
    assert_eq!(jobs.len(), 20, "all twenty workers have exited: {jobs:?}");
    assert_eq!(jobs.iter().sum::<usize>(), CLIENTS * ROUNDS * JOBS);
    assert_eq!(manager.warnings(), "");
}

#[test]
fn a_killed_worker_of_ten_is_replaced_and_its_job_is_done() {
    let Some(server) = Gearmand::start() else { return };
    let (mut manager, first_ten) = ten_workers(&server);
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..10).map(|_client| scope.spawn(|| server.job("sleep", "2000"))).collect();
        until("each worker has a job", || (server.queue("sleep").running == 10).then_some(()));
        let killed = *first_ten.first().expect("there are ten workers");
        killed.signal(Signal::SIGKILL);
        let now = until("there are ten workers again", || {
            the_ten_workers(&server).filter(|workers| !workers.contains(&killed))
        });
        assert_eq!(now.intersection(&first_ten).count(), 9, "no other worker is replaced");
        for client in clients {
            // The killed worker's job was started twice, so some of its progress is reported twice.
            let text = slept(&client.join().expect("the client does not fail"));
            assert!(text.contains("2000"), "{text}");
        }
    });
    assert_eq!(stop_and_count_jobs(&mut manager).iter().sum::<usize>(), 10);
}

#[test]
fn a_running_job_is_answered_before_the_worker_stops() {
    let Some(server) = Gearmand::start() else { return };
    let mut worker = worker(&server);
    thread::scope(|scope| {
        let client = scope.spawn(|| server.job("sleep", "1500"));
        until("the job is running", || (server.queue("sleep").running == 1).then_some(()));
        assert_eq!(answered(&mut worker), 1);
        assert_eq!(slept(&client.join().expect("the client does not fail")), "1500");
    });
}

#[test]
fn jobs_left_by_a_stopped_worker_go_to_the_next_worker() {
    let Some(server) = Gearmand::start() else { return };
    let mut first = worker(&server);
    for _job in 0..10 {
        server.submit("sleep", "50");
    }
    until("the first job is running", || (server.queue("sleep").running == 1).then_some(()));
    let done = answered(&mut first);
    assert!(done < 10, "the worker is stopped before the last job, not after {done} jobs");
    assert_eq!(server.queue("sleep").jobs, 10 - done);
    let mut second = worker(&server);
    until("all jobs are done", || (server.queue("sleep").jobs == 0).then_some(()));
    assert_eq!(answered(&mut second), 10 - done);
}

#[test]
fn the_job_of_a_killed_worker_is_done_by_another_worker() {
    let Some(server) = Gearmand::start() else { return };
    let mut first = worker(&server);
    thread::scope(|scope| {
        let client = scope.spawn(|| server.job("sleep", "1500"));
        until("the job is running", || (server.queue("sleep").running == 1).then_some(()));
        assert_eq!(first.stop(Signal::SIGKILL), "signal SIGKILL");
        let mut second = worker(&server);
        // Both workers have reported progress, so some reports arrive twice.
        let text = slept(&client.join().expect("the client does not fail"));
        assert!(text.contains("1500"), "{text}");
        assert_eq!(answered(&mut second), 1);
    });
}

#[test]
fn an_idle_worker_stops_immediately_and_the_server_removes_it_from_its_list() {
    let Some(server) = Gearmand::start() else { return };
    let mut worker = worker(&server);
    let name = format!("gearman_worker-{} ", worker.process().0);
    assert_eq!(answered(&mut worker), 0);
    assert_eq!(server.queue("reverse").workers, 0);
    until("the worker is no longer in the server's list", || {
        server.workers(&name).is_empty().then_some(())
    });
}

#[test]
fn a_worker_reconnects_to_a_restarted_server() {
    let Some(mut server) = Gearmand::start() else { return };
    let mut worker = worker(&server);
    assert_eq!(server.job("reverse", "before").stdout, b"erofeb");
    server.restart_while(|| {
        until("the worker has logged the lost connection and a failed reconnect", || {
            let line = worker.stderr();
            (line.contains("closed the connection") && line.contains("cannot connect"))
                .then_some(())
        });
    });
    assert_eq!(server.job("reverse", "after").stdout, b"retfa");
    assert_eq!(answered(&mut worker), 2);
}

#[test]
fn a_worker_without_descriptors_runs_jobs_and_reconnects_when_it_has_some() {
    let Some(mut server) = Gearmand::start() else { return };
    let mut worker = worker(&server);
    worker.process().limit_descriptors(3);
    assert_eq!(server.job("reverse", "before").stdout, b"erofeb");
    server.restart_while(|| {});
    until("the worker has no descriptor for a connection", || {
        worker.stderr().contains("cannot connect: Too many open files").then_some(())
    });
    worker.process().limit_descriptors(1024);
    assert_eq!(server.job("reverse", "after").stdout, b"retfa");
    assert_eq!(answered(&mut worker), 2);
}

#[test]
fn a_manager_without_descriptors_replaces_a_killed_worker_when_it_has_some() {
    let Some(server) = Gearmand::start() else { return };
    let (mut manager, first_ten) = ten_workers(&server);
    manager.process().limit_descriptors(3);
    let killed = *first_ten.first().expect("there are ten workers");
    killed.signal(Signal::SIGKILL);
    assert_eq!(server.job("reverse", "meanwhile").stdout, b"elihwnaem");
    until("the killed worker is reaped", || (!killed.is_alive()).then_some(()));
    during(Duration::from_millis(300), || {
        assert_eq!(manager.status(), None, "{}", manager.stderr());
    });
    manager.process().limit_descriptors(1024);
    until("there are ten workers again", || {
        the_ten_workers(&server).filter(|workers| !workers.contains(&killed))
    });
    assert_eq!(stop_and_count_jobs(&mut manager).iter().sum::<usize>(), 1);
}

#[test]
fn a_worker_with_an_invalid_server_address_reports_the_address_and_does_not_start() {
    let mut worker = GuardedProgram::example("gearman_worker", &["nowhere"]);
    assert_eq!(worker.wait_until_gone(), "code 1");
    assert!(worker.stderr().contains("nowhere"), "{}", worker.stderr());
}
