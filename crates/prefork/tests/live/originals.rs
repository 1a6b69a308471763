//! Ports of the test files of `Parallel::Prefork`, one scenario for each file. The scenario's name
//! begins with the file's name.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use daemon_core::Status;
use daemon_prefork::SignalForward::{Nothing, OneByOne, ToAll};
use daemon_prefork::{Prefork, STATUS_IDLE, Signal, StartResult};
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::this_pid;
use daemon_sys::signals::SignalQueue;

use super::support::{
    Counters, assert_success, board, run_in_process, send, until_term, wait_for_stop, workers,
};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("01_base_each_of_ten_workers_receives_term_and_is_reaped", base),
    ("02_reconfigure_hup_starts_a_second_generation", reconfigure),
    ("03_spareworkers_the_number_of_workers_follows_the_number_of_active_workers", spare_workers),
    ("04_interval_forks_and_signals_are_an_interval_apart", interval),
    ("05_before_and_after_fork_are_called_for_each_worker", before_after_fork),
    ("06_wait_all_children_with_timeout_returns_the_number_of_workers_left", wait_with_timeout),
    ("07_wait_all_children_does_not_hang_when_many_workers_exit_at_once", wait_does_not_hang),
];

fn base() {
    let counters = Counters::new();
    let reaped = Rc::new(Cell::new(0));
    let mut pm = Prefork::builder()
        .on_child_reap({
            let reaped = Rc::clone(&reaped);
            move |_, _| reaped.set(reaped.get() + 1)
        })
        .build()
        .expect("valid settings");
    while pm.signal_received().is_none() {
        match pm.start_fork().expect("start succeeds") {
            StartResult::Manager(_) => {}
            StartResult::Worker(worker) => {
                assert!(!worker.should_stop());
                if counters.add(0) == 10 {
                    send(worker.manager_pid(), Signal::Term);
                }
                wait_for_stop(&worker);
                counters.add(0);
                worker.finish(0);
            }
        }
    }
    assert_eq!(pm.wait_all_children().expect("the wait succeeds"), 0);
    assert_eq!((counters.get(0), reaped.get(), pm.num_workers()), (20, 10, 0));
}

fn reconfigure() {
    let mut pm = Prefork::builder()
        .max_workers(1)
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Hup, ToAll(Signal::Term))])
        .build()
        .expect("valid settings");
    let mut starts = 0;
    while pm.signal_received() != Some(Signal::Term) {
        starts += 1;
        pm.start(|worker| {
            assert_eq!(worker.generation(), starts);
            assert!(!worker.should_stop());
            let signal = if starts == 1 { Signal::Hup } else { Signal::Term };
            send(worker.manager_pid(), signal);
            wait_for_stop(worker);
        })
        .expect("start succeeds");
    }
    pm.wait_all_children().expect("the wait succeeds");
    assert_eq!(starts, 2);
}

fn spare_workers() {
    const ACTIVE: usize = 0;
    const LOOKED: usize = 1;
    let counters = Counters::new();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("board");
    let manager = this_pid();
    let driver = run_in_process(|| {
        let board = board(&file);
        let count = |is: fn(Status) -> bool| {
            workers(board).iter().filter(|worker| worker.status.is_some_and(is)).count()
        };
        for (look, active, wanted) in [(1, 0, 3), (2, 1, 10), (3, 0, 5)] {
            counters.set(ACTIVE, active);
            eventually("the number of workers is as expected", || match active {
                0 => count(Status::is_idle) == wanted && workers(board).len() == wanted,
                _active => count(Status::is_busy) == wanted,
            });
            send(manager, Signal::Usr1);
            counters.until(LOOKED, look);
        }
        send(manager, Signal::Term);
    });
    let mut pm = Prefork::builder()
        .min_spare_workers(3)
        .max_spare_workers(5)
        .max_workers(10)
        .err_respawn_interval(Duration::ZERO)
        .scoreboard_file(&file)
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Usr1, Nothing)])
        .build()
        .expect("valid settings");
    assert_eq!(pm.num_active_workers(), 0);
    let mut seen = Vec::new();
    while pm.signal_received() != Some(Signal::Term) {
        let signal = pm.start(|worker| {
            while !worker.should_stop() {
                let status = if counters.get(ACTIVE) == 1 { 'A' } else { STATUS_IDLE };
                worker.set_status(status).expect("the status is set");
                std::thread::yield_now();
            }
        });
        if signal.expect("start succeeds") == Signal::Usr1 {
            seen.push((pm.num_workers(), pm.num_active_workers()));
            counters.add(LOOKED);
        }
    }
    pm.wait_all_children().expect("the wait succeeds");
    assert_success(driver);
    assert_eq!(seen, [(3, 0), (10, 10), (5, 0)]);
}

fn interval() {
    const SPAWN: Duration = Duration::from_millis(60);
    const SIGNAL: Duration = Duration::from_millis(120);
    let forked = Rc::new(RefCell::new(Vec::new()));
    let exited = Rc::new(RefCell::new(Vec::new()));
    let note = |times: &Rc<RefCell<Vec<Instant>>>| {
        let times = Rc::clone(times);
        move || times.borrow_mut().push(Instant::now())
    };
    let (note_forked, note_exited) = (note(&forked), note(&exited));
    let mut pm = Prefork::builder()
        .max_workers(3)
        .spawn_interval(SPAWN)
        .trap_signals([
            (Signal::Term, OneByOne(Signal::Term, SIGNAL)),
            (Signal::Hup, ToAll(Signal::Term)),
        ])
        .before_fork(move |_| note_forked())
        .on_child_reap(move |_, _| note_exited())
        .build()
        .expect("valid settings");
    until_term(&mut pm, |worker| {
        if worker.slot().get() == 2 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    let apart = |times: &Rc<RefCell<Vec<Instant>>>, by: Duration| {
        let times = times.borrow();
        assert_eq!(times.len(), 3);
        // A single interval can be shorter if a signal was handled late, so two intervals are
        // measured together.
        assert!(times[2] - times[0] >= by * 2 - by / 10, "{:?}", times[2] - times[0]);
    };
    apart(&forked, SPAWN);
    apart(&exited, SIGNAL);
}

fn before_after_fork() {
    let (before, after) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let mut pm = Prefork::builder()
        .max_workers(3)
        .before_fork({
            let before = Rc::clone(&before);
            move |_| before.set(before.get() + 1)
        })
        .after_fork({
            let after = Rc::clone(&after);
            move |overview, pid| {
                assert_ne!(pid, overview.manager_pid);
                after.set(after.get() + 1);
            }
        })
        .build()
        .expect("valid settings");
    until_term(&mut pm, |worker| {
        if before.get() == 10 {
            send(worker.manager_pid(), Signal::Term);
        }
    });
    assert!(before.get() >= 10 && after.get() == before.get(), "{} {}", before.get(), after.get());
}

/// Calls `wait_all_children_for` with a short timeout until only this number of workers is left.
fn wait_until_left(pm: &mut Prefork, left: u32) {
    let short = Duration::from_millis(20);
    eventually("the other workers have exited", || {
        pm.wait_all_children_for(short).expect("the wait succeeds") <= left
    });
    assert_eq!(pm.wait_all_children_for(short).expect("the wait succeeds"), left);
}

fn wait_with_timeout() {
    let counters = Counters::new();
    let reaped = Rc::new(Cell::new(0));
    let mut pm = Prefork::builder()
        .max_workers(30)
        .on_child_reap({
            let reaped = Rc::clone(&reaped);
            move |_, _| reaped.set(reaped.get() + 1)
        })
        .build()
        .expect("valid settings");
    let work = |worker: &daemon_prefork::Worker| {
        let queue = SignalQueue::new(&[Signal::Term]).expect("the queue opens");
        let number = counters.add(0);
        if number == 30 {
            send(worker.manager_pid(), Signal::Term);
        }
        let mut received = 0;
        while received * 10 < number {
            let ready = wait(&[(std::os::fd::AsFd::as_fd(&queue), Interest::Read)], None);
            assert!(ready.expect("the wait succeeds")[0].is_readable());
            received += queue.drain().expect("the signals are read").len() as u32;
        }
    };
    pm.start(work).expect("start succeeds");
    wait_until_left(&mut pm, 20);
    pm.signal_all_children(Signal::Term).expect("this process is the manager");
    wait_until_left(&mut pm, 10);
    pm.signal_all_children(Signal::Term).expect("this process is the manager");
    assert_eq!(pm.wait_all_children().expect("the wait succeeds"), 0);
    assert_eq!((pm.num_workers(), reaped.get()), (0, 30));
}

fn wait_does_not_hang() {
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(30).build().expect("valid settings");
    pm.start(|worker| {
        assert!(!worker.should_stop());
        let number = counters.add(0);
        if number == 30 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
        // Now all workers exit within a few milliseconds of each other.
        std::thread::sleep(Duration::from_micros(100_000 + 100 * u64::from(number)));
    })
    .expect("start succeeds");
    pm.wait_all_children_for(Duration::from_millis(100)).expect("the wait succeeds");
    assert_eq!(pm.wait_all_children().expect("the wait succeeds"), 0);
}
