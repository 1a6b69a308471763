//! Scenarios of the end: workers that do not leave, a manager that is killed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use daemon_prefork::{ExitCause, Pid, Prefork, Signal, Worker};
use daemon_sys::reap::wait_for;
use daemon_sys::signals::ignore;

use super::support::{
    Counters, aside, board, orphans_are_told, pids, send, sleep_until_killed, until_gone,
    wait_for_stop, workers,
};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("workers_that_ignore_term_are_left_when_the_time_is_over", left),
    ("workers_that_ignore_term_are_killed_after_the_grace", killed_after_grace),
    ("a_manager_that_is_killed_leaves_no_worker", no_orphan),
    ("a_manager_that_is_killed_leaves_no_worker_that_asks", no_orphan_that_asks),
    ("a_manager_that_is_killed_leaves_none_that_ignores_term_if_so_told", no_stubborn_orphan),
    ("a_worker_finishes_what_it_has_in_hand", finishes),
    (
        "a_worker_that_has_changed_its_user_and_watches_anew_does_not_outlive_it",
        no_orphan_of_another_user,
    ),
];

fn stubborn(counters: &Counters) -> impl FnOnce(&Worker) + '_ {
    |worker| {
        ignore(Signal::Term).expect("ignored");
        if counters.add(0) == 3 {
            send(worker.manager_pid(), Signal::Term);
        }
        sleep_until_killed()
    }
}

fn left() {
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(3).build().expect("built");
    pm.start(stubborn(&counters)).expect("starts");
    let begun = Instant::now();
    let time = Duration::from_millis(30);
    assert_eq!(pm.wait_all_children_for(time).expect("waits"), 3);
    assert!(begun.elapsed() >= time);
    pm.signal_all_children(Signal::Kill).expect("the manager");
    assert_eq!(pm.wait_all_children().expect("waits"), 0);
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
            move |_, gone| causes.borrow_mut().push(gone.cause)
        })
        .logger(slog::Logger::root(slog::Discard, slog::o!()))
        .build()
        .expect("built");
    pm.start(stubborn(&counters)).expect("starts");
    let begun = Instant::now();
    assert_eq!(pm.wait_all_children().expect("waits"), 0);
    assert!(begun.elapsed() >= grace);
    let overdue = ExitCause::KilledByDaemon(daemon_core::KillReason::GraceExpired);
    assert_eq!(causes.take(), [overdue; 3]);
}

/// Kills a manager of three workers, each of which does this, and waits until all are gone.
fn orphaned(death_signal: Option<Signal>, work: impl FnOnce(&Worker) + Copy) {
    if !orphans_are_told() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("board");
    let manager = aside(|| {
        let builder = Prefork::builder().max_workers(3).scoreboard_file(&file);
        let builder = match death_signal {
            Some(signal) => builder.death_signal(signal),
            None => builder,
        };
        let mut pm = builder.build().expect("built");
        pm.start(|worker| {
            work(worker);
        })
        .expect("starts");
    });
    let board = board(&file);
    eventually("all work", || {
        let all = workers(board);
        all.len() == 3 && all.iter().all(|w| w.status.is_some_and(daemon_core::Status::is_busy))
    });
    let orphans: Vec<Pid> = pids(board);
    send(manager, Signal::Kill);
    assert_eq!(wait_for(manager).expect("ours"), Signal::Kill);
    until_gone(&orphans);
}

fn no_orphan() {
    orphaned(None, |worker| {
        worker.set_status('W').expect("set");
        sleep_until_killed()
    });
}

fn no_orphan_that_asks() {
    orphaned(None, |worker| {
        assert!(!worker.should_stop());
        worker.set_status('W').expect("set");
        wait_for_stop(worker);
    });
}

fn no_stubborn_orphan() {
    orphaned(Some(Signal::Kill), |worker| {
        ignore(Signal::Term).expect("ignored");
        worker.set_status('W').expect("set");
        sleep_until_killed()
    });
}

fn finishes() {
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(5).build().expect("built");
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
    .expect("starts");
    pm.wait_all_children().expect("waits");
    assert_eq!(counters.get(0), counters.get(2), "each that was begun was ended");
}

fn no_orphan_of_another_user() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root may become another user");
        return;
    }
    orphaned(None, |worker| {
        nix::unistd::setgid(nix::unistd::Gid::from_raw(65534)).expect("another group");
        nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).expect("another user");
        worker.watch_manager().expect("the manager is there");
        worker.set_status('W').expect("set");
        sleep_until_killed()
    });
}
