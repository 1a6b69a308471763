//! Scenarios of the scoreboard, in memory and in a file.

use std::time::Duration;

use daemon_core::{Phase, Status};
use daemon_prefork::SignalForward::{Nothing, ToAll};
use daemon_prefork::{Pid, Prefork, STATUS_IDLE, STATUS_NEXIST, Signal};
use daemon_sys::process::this_pid;

use super::support::{
    Counters, assert_success, board, has_death_signal, killed_by, pids, run_in_process, send,
    sleep_until_killed, until_gone, until_term, wait_for_stop, workers,
};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "a_worker_can_set_any_status_except_the_reserved_character_and_control_characters",
        any_character,
    ),
    ("statuses_returns_the_status_of_each_slot", shown),
    ("the_scoreboard_file_of_a_killed_manager_is_readable_and_can_be_replaced", after_kill),
    ("killed_workers_are_replaced_if_min_spare_workers_is_set", refilled),
];

fn any_character() {
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(1).build().expect("valid settings");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        for status in ['A', '!', ' ', '本', STATUS_IDLE, STATUS_IDLE, 'B', 'C', STATUS_IDLE] {
            worker.set_status(status).expect("the status is set");
        }
        let error = worker.set_status(STATUS_NEXIST).expect_err("reserved").to_string();
        assert_eq!(error, "cannot set status '.': it is reserved for slots without a worker");
        let error = worker.set_status('\n').expect_err("a control character").to_string();
        assert_eq!(error, "cannot set status '\\n': it is a control character");
        counters.add(0);
        send(worker.manager_pid(), Signal::Term);
        wait_for_stop(worker);
    });
    assert_eq!(counters.get(0), 1);
}

fn shown() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(4)
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Usr1, Nothing)])
        .build()
        .expect("valid settings");
    assert_eq!(pm.statuses(), "....");
    let mut seen = String::new();
    while pm.signal_received() != Some(Signal::Term) {
        let signal = pm.start(|worker| {
            assert!(!worker.should_stop());
            match worker.slot().get() {
                0 => worker.set_status('é').expect("the status is set"),
                2 => worker.set_status('K').expect("the status is set"),
                _idle => {}
            }
            if counters.add(0) == 4 {
                send(worker.manager_pid(), Signal::Usr1);
            }
            wait_for_stop(worker);
        });
        if signal.expect("start succeeds") == Signal::Usr1 {
            seen = pm.statuses();
            assert_eq!(pm.num_active_workers(), 2);
            send(this_pid(), Signal::Term);
        }
    }
    pm.wait_all_children().expect("the wait succeeds");
    assert_eq!(seen, "é_K_");
    assert_eq!(pm.statuses(), "....");
}

/// Starts a manager in a separate process, with its scoreboard in a file.
fn manager(file: &std::path::Path) -> Pid {
    run_in_process(|| {
        let mut pm = Prefork::builder()
            .max_workers(3)
            .scoreboard_file(file)
            .build()
            .expect("valid settings");
        until_term(&mut pm, |worker| {
            worker.set_status('W').expect("the status is set");
            sleep_until_killed()
        });
    })
}

fn after_kill() {
    // On systems without a parent death signal, the workers continue after their manager is killed.
    if !has_death_signal() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("board");
    let first = manager(&file);
    let old_board = board(&file);
    let busy = |board| {
        let all = workers(board);
        all.len() == 3 && all.iter().all(|entry| entry.status == Some(Status::Serving))
    };
    eventually("all workers are busy", || busy(old_board));
    let orphans = pids(old_board);
    send(first, Signal::Kill);
    assert_eq!(
        daemon_sys::reap::wait_for(first).expect("a child of this process"),
        killed_by(Signal::Kill)
    );
    until_gone(&orphans);
    // The file keeps its last contents until a new manager replaces it.
    assert_eq!(pids(board(&file)), orphans);
    assert_eq!(board(&file).phase(), Phase::Running);
    let second = manager(&file);
    eventually("the second manager has replaced the file", || {
        let now = board(&file);
        busy(now) && pids(now).iter().all(|pid| !orphans.contains(pid))
    });
    assert_eq!(pids(old_board), orphans, "the open mapping no longer shows the old file");
    let now = board(&file);
    send(second, Signal::Term);
    assert_success(second);
    assert_eq!((now.phase(), workers(now).len()), (Phase::Stopped, 0));
}

fn refilled() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("board");
    let counters = Counters::new();
    let manager = this_pid();
    let driver = run_in_process(|| {
        let board = board(&file);
        for _round in 0..3 {
            eventually("two workers are active and two are idle", || {
                let all = workers(board);
                let busy = all.iter().filter(|w| w.status.is_some_and(Status::is_busy)).count();
                let idle = all.iter().filter(|w| w.status.is_some_and(Status::is_idle)).count();
                // A new worker is idle before it increments the counter, so also wait until all
                // four workers have incremented the counter.
                (busy, idle) == (2, 2) && counters.get(0) == 4
            });
            counters.set(0, 0);
            let before = pids(board);
            before.iter().for_each(|pid| send(*pid, Signal::Kill));
            eventually("the killed workers are replaced", || {
                let now = pids(board);
                now.len() >= 2 && now.iter().all(|pid| !before.contains(pid))
            });
        }
        send(manager, Signal::Term);
    });
    let mut pm = Prefork::builder()
        .min_spare_workers(2)
        .max_spare_workers(3)
        .max_workers(6)
        .err_respawn_interval(Duration::ZERO)
        .scoreboard_file(&file)
        .logger(slog::Logger::root(slog::Discard, slog::o!()))
        .build()
        .expect("valid settings");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        if counters.add(0) <= 2 {
            worker.set_status('A').expect("the status is set");
        }
        wait_for_stop(worker);
    });
    assert_success(driver);
}
