//! Scenarios of the shutdown, with workers that do not stop and with a manager that is killed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use daemon_prefork::{ExitCause, Pid, Prefork, Signal, Worker};
use daemon_sys::reap::wait_for;
use daemon_sys::signals::ignore;

use super::support::{
    Counters, board, has_death_signal, killed_by, pids, run_in_process, send, sleep_until_killed,
    until_gone, wait_for_stop, workers,
};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("wait_all_children_for_times_out_if_workers_ignore_term", left),
    ("workers_that_ignore_term_are_killed_after_the_grace_period", killed_after_grace),
    ("workers_exit_when_the_manager_is_killed", no_orphan),
    ("workers_that_check_for_signals_exit_when_the_manager_is_killed", no_orphan_that_checks),
    (
        "the_parent_death_signal_kill_ends_workers_that_ignore_term_when_the_manager_is_killed",
        no_stubborn_orphan,
    ),
    ("a_worker_that_is_asked_to_stop_finishes_its_current_work", finishes),
    (
        "workers_that_call_watch_manager_after_a_user_change_exit_when_the_manager_is_killed",
        no_orphan_of_another_user,
    ),
];

fn stubborn(counters: &Counters) -> impl FnOnce(&Worker) + '_ {
    |worker| {
        ignore(Signal::Term).expect("the signal is ignored");
        if counters.add(0) == 3 {
            send(worker.manager_pid(), Signal::Term);
        }
        sleep_until_killed()
    }
}

fn left() {
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(3).build().expect("valid settings");
    pm.start(stubborn(&counters)).expect("start succeeds");
    let started = Instant::now();
    let time = Duration::from_millis(30);
    assert_eq!(pm.wait_all_children_for(time).expect("the wait succeeds"), 3);
    assert!(started.elapsed() >= time);
    pm.signal_all_children(Signal::Kill).expect("this process is the manager");
    assert_eq!(pm.wait_all_children().expect("the wait succeeds"), 0);
}

fn killed_after_grace() {
    let counters = Counters::new();
    let causes: Rc<RefCell<Vec<ExitCause>>> = Rc::default();
    let grace = Duration::from_millis(50);
    let mut pm = Prefork::builder()
        .max_workers(3)
        .grace(grace)
        .on_child_reap({
            let causes = Rc::clone(&causes);
            move |_, worker| causes.borrow_mut().push(worker.cause)
        })
        .logger(slog::Logger::root(slog::Discard, slog::o!()))
        .build()
        .expect("valid settings");
    pm.start(stubborn(&counters)).expect("start succeeds");
    let started = Instant::now();
    assert_eq!(pm.wait_all_children().expect("the wait succeeds"), 0);
    assert!(started.elapsed() >= grace);
    let overdue = ExitCause::KilledByDaemon(daemon_core::KillReason::GraceExpired);
    assert_eq!(causes.take(), [overdue; 3]);
}

/// Kills a manager whose three workers run `work`, and waits until all three have exited.
fn orphaned(death_signal: Option<Signal>, work: impl FnOnce(&Worker) + Copy) {
    if !has_death_signal() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("board");
    let manager = run_in_process(|| {
        let builder = Prefork::builder().max_workers(3).scoreboard_file(&file);
        let builder = match death_signal {
            Some(signal) => builder.death_signal(signal),
            None => builder,
        };
        let mut pm = builder.build().expect("valid settings");
        pm.start(|worker| {
            work(worker);
        })
        .expect("start succeeds");
    });
    let board = board(&file);
    eventually("all workers are busy", || {
        let all = workers(board);
        all.len() == 3 && all.iter().all(|w| w.status.is_some_and(daemon_core::Status::is_busy))
    });
    let orphans: Vec<Pid> = pids(board);
    send(manager, Signal::Kill);
    assert_eq!(wait_for(manager).expect("a child of this process"), killed_by(Signal::Kill));
    until_gone(&orphans);
}

fn no_orphan() {
    orphaned(None, |worker| {
        worker.set_status('W').expect("the status is set");
        sleep_until_killed()
    });
}

fn no_orphan_that_checks() {
    orphaned(None, |worker| {
        assert!(!worker.should_stop());
        worker.set_status('W').expect("the status is set");
        wait_for_stop(worker);
    });
}

fn no_stubborn_orphan() {
    orphaned(Some(Signal::Kill), |worker| {
        ignore(Signal::Term).expect("the signal is ignored");
        worker.set_status('W').expect("the status is set");
        sleep_until_killed()
    });
}

fn finishes() {
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(5).build().expect("valid settings");
    pm.start(|worker| {
        while !worker.should_stop() {
            counters.add(0);
            if counters.add(1) == 50 {
                send(worker.manager_pid(), Signal::Term);
            }
            std::thread::yield_now();
            counters.add(2);
        }
    })
    .expect("start succeeds");
    pm.wait_all_children().expect("the wait succeeds");
    assert_eq!(counters.get(0), counters.get(2), "work was started but not finished");
}

fn no_orphan_of_another_user() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can change the user");
        return;
    }
    orphaned(None, |worker| {
        nix::unistd::setgid(nix::unistd::Gid::from_raw(65534)).expect("the group is changed");
        nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).expect("the user is changed");
        worker.watch_manager().expect("the manager exists");
        worker.set_status('W').expect("the status is set");
        sleep_until_killed()
    });
}
