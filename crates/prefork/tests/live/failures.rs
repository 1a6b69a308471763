//! Scenarios of what goes wrong: workers that fail, forks that are refused.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use daemon_prefork::SignalForward::{Nothing, ToAll};
use daemon_prefork::{Prefork, Signal};
use nix::sys::resource::{getrlimit, setrlimit};
use nix::unistd::{Uid, setuid};

use super::limit::PROCESSES;
use super::support::{Counters, quiet, send, sleep_until_killed, until_term, wait_for_stop};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_worker_that_exits_badly_at_once_in_a_loop_slows_no_other_slot", bad_loop),
    ("a_worker_that_exits_well_at_once_in_a_loop_is_replaced_at_once", good_loop),
    ("a_bad_exit_of_an_old_generation_does_not_slow_the_new_one", old_generation),
    ("a_failure_while_workers_are_waited_for_does_not_slow_the_next_start", in_the_wait),
    ("workers_that_are_killed_after_a_while_are_replaced_at_once", killed),
    ("forks_that_are_refused_are_tried_again_until_they_succeed", refused),
];

fn bad_loop() {
    const INTERVAL: Duration = Duration::from_millis(150);
    let others = Rc::new(Cell::new(0));
    let bad: Rc<RefCell<Vec<Instant>>> = Rc::default();
    let mut pm = Prefork::builder()
        .max_workers(2)
        .err_respawn_interval(INTERVAL)
        .on_child_reap({
            let (others, bad) = (Rc::clone(&others), Rc::clone(&bad));
            move |overview, gone| match gone.slot.get() {
                0 => {
                    bad.borrow_mut().push(Instant::now());
                    if bad.borrow().len() == 4 {
                        send(overview.manager_pid, Signal::Term);
                    }
                }
                _other => others.set(others.get() + 1),
            }
        })
        .logger(quiet())
        .build()
        .expect("built");
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| if worker.slot().get() == 0 { 1 } else { 0 }).expect("starts");
    }
    pm.wait_all_children().expect("waits");
    let bad = bad.take();
    let took = bad[3] - bad[0];
    // Four births an interval apart; the deaths are a little later each.
    assert!(took >= INTERVAL * 3 - INTERVAL / 2, "{took:?}");
    assert!(others.get() > 40, "the other slot had {} workers meanwhile", others.get());
}

fn good_loop() {
    let counters = Counters::new();
    let begun = Instant::now();
    let mut pm = Prefork::builder().max_workers(2).build().expect("built");
    until_term(&mut pm, |worker| {
        if counters.add(0) == 200 {
            send(worker.manager_pid(), Signal::Term);
        }
    });
    assert!(counters.get(0) >= 200);
    // A delay of a second each, or of a tenth, would take longer.
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

fn old_generation() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(1)
        .err_respawn_interval(Duration::from_secs(3600))
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Hup, ToAll(Signal::Usr1))])
        .logger(quiet())
        .build()
        .expect("built");
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| {
            if worker.generation() == 1 {
                // HUP is passed on as a signal that it dies of, with a bad exit.
                send(worker.manager_pid(), Signal::Hup);
                super::support::sleep_until_killed()
            }
            assert!(!worker.should_stop());
            counters.add(0);
            send(worker.manager_pid(), Signal::Term);
            wait_for_stop(worker);
        })
        .expect("starts");
    }
    pm.wait_all_children().expect("waits");
    assert_eq!(counters.get(0), 1);
}

fn in_the_wait() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(1)
        .err_respawn_interval(Duration::from_secs(3600))
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Hup, Nothing)])
        .logger(quiet())
        .build()
        .expect("built");
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| match counters.add(0) {
            1 => {
                send(worker.manager_pid(), Signal::Hup);
                counters.until(1, 1);
                7
            }
            _second => {
                send(worker.manager_pid(), Signal::Term);
                sleep_until_killed()
            }
        })
        .expect("starts");
        counters.add(1);
        pm.wait_all_children().expect("waits");
    }
    assert_eq!(counters.get(0), 2);
}

fn killed() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(4)
        .err_respawn_interval(Duration::from_millis(1))
        .logger(quiet())
        .build()
        .expect("built");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        match counters.add(0) {
            // The first four have lived longer than a millisecond when they die.
            1..=4 => {
                std::thread::sleep(Duration::from_millis(5));
                send(daemon_prefork::Pid::this(), Signal::Kill);
            }
            8 => send(worker.manager_pid(), Signal::Term),
            _later => {}
        }
        wait_for_stop(worker);
    });
    assert_eq!(counters.get(0), 8);
}

fn refused() {
    let Some(processes) = PROCESSES else {
        println!("skipped: there is no limit of processes to set here");
        return;
    };
    // The limit does not hold for root.
    if Uid::effective().is_root() {
        setuid(Uid::from_raw(65_534)).expect("root may");
    }
    let (_, most) = getrlimit(processes).expect("a limit");
    setrlimit(processes, 0, most).expect("lowered");
    let (counters, tries) = (Counters::new(), Rc::new(Cell::new(0)));
    let mut pm = Prefork::builder()
        .max_workers(3)
        .err_respawn_interval(Duration::from_millis(10))
        .before_fork({
            let tries = Rc::clone(&tries);
            move |overview| {
                tries.set(tries.get() + 1);
                assert!(overview.num_workers == 0 || tries.get() > 3);
                if tries.get() == 3 {
                    setrlimit(processes, most, most).expect("raised");
                }
            }
        })
        .logger(quiet())
        .build()
        .expect("built");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        if counters.add(0) == 3 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    assert_eq!((counters.get(0), tries.get()), (3, 5));
}
