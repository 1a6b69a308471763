//! Scenarios of workers that fail, and of forks that the system refuses.

use std::cell::{Cell, RefCell};
use std::env;
use std::fs::File;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use daemon_prefork::SignalForward::{Nothing, ToAll};
use daemon_prefork::{ConfigError, Prefork, Signal};
use daemon_sys::limits::{Resource, set_limit};
use daemon_sys::process::this_pid;
use nix::sys::resource::{getrlimit, setrlimit};
use nix::unistd::{Uid, setuid};

use super::limit::PROCESSES;
use super::support::{
    Counters, discard_logs, has_death_signal, send, sleep_until_killed, until_term, wait_for_stop,
};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("repeated_failures_in_one_slot_do_not_delay_forks_in_other_slots", failure_loop),
    ("workers_that_exit_with_code_0_are_replaced_at_once", success_loop),
    ("a_failure_in_the_old_generation_does_not_delay_forks_of_the_new_generation", old_generation),
    ("a_failure_during_wait_all_children_does_not_delay_forks_of_the_next_start", during_the_wait),
    ("killed_workers_that_ran_longer_than_err_respawn_interval_are_replaced_at_once", killed),
    ("refused_forks_are_retried_until_they_succeed", refused),
    ("a_manager_that_cannot_be_built_leaves_no_scoreboard_file", no_file_is_left),
    ("a_hook_that_panics_ends_the_program_and_its_workers", panicking_hooks),
];

fn failure_loop() {
    const INTERVAL: Duration = Duration::from_millis(150);
    let others = Rc::new(Cell::new(0));
    let bad: Rc<RefCell<Vec<Instant>>> = Rc::default();
    let mut pm = Prefork::builder()
        .max_workers(2)
        .err_respawn_interval(INTERVAL)
        .on_child_reap({
            let (others, bad) = (Rc::clone(&others), Rc::clone(&bad));
            move |overview, worker| match worker.slot.get() {
                0 => {
                    bad.borrow_mut().push(Instant::now());
                    if bad.borrow().len() == 4 {
                        send(overview.manager_pid, Signal::Term);
                    }
                }
                _other => others.set(others.get() + 1),
            }
        })
        .logger(discard_logs())
        .build()
        .expect("valid settings");
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| if worker.slot().get() == 0 { 1 } else { 0 }).expect("start succeeds");
    }
    pm.wait_all_children().expect("the wait succeeds");
    let bad = bad.take();
    let took = bad[3] - bad[0];
    // The forks in slot 0 are at least an interval apart, and each of its workers exits soon after
    // its fork.
    assert!(took >= INTERVAL * 3 - INTERVAL / 2, "{took:?}");
    assert!(others.get() > 40, "the other slot had only {} workers", others.get());
}

fn success_loop() {
    let counters = Counters::new();
    let started = Instant::now();
    let mut pm = Prefork::builder().max_workers(2).build().expect("valid settings");
    until_term(&mut pm, |worker| {
        if counters.add(0) == 200 {
            send(worker.manager_pid(), Signal::Term);
        }
    });
    assert!(counters.get(0) >= 200);
    // If each replacement were delayed by 100 ms, 200 workers in two slots would take 10 seconds.
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
}

fn old_generation() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(1)
        .err_respawn_interval(Duration::from_secs(3600))
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Hup, ToAll(Signal::Usr1))])
        .logger(discard_logs())
        .build()
        .expect("valid settings");
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| {
            if worker.generation() == 1 {
                // HUP is forwarded as a signal that kills the worker, which counts as a failure.
                send(worker.manager_pid(), Signal::Hup);
                super::support::sleep_until_killed()
            }
            assert!(!worker.should_stop());
            counters.add(0);
            send(worker.manager_pid(), Signal::Term);
            wait_for_stop(worker);
        })
        .expect("start succeeds");
    }
    pm.wait_all_children().expect("the wait succeeds");
    assert_eq!(counters.get(0), 1);
}

fn during_the_wait() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(1)
        .err_respawn_interval(Duration::from_secs(3600))
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Hup, Nothing)])
        .logger(discard_logs())
        .build()
        .expect("valid settings");
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
        .expect("start succeeds");
        counters.add(1);
        pm.wait_all_children().expect("the wait succeeds");
    }
    assert_eq!(counters.get(0), 2);
}

fn killed() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(4)
        .err_respawn_interval(Duration::from_millis(1))
        .logger(discard_logs())
        .build()
        .expect("valid settings");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        match counters.add(0) {
            // The first four workers have run longer than a millisecond when they are killed.
            1..=4 => {
                std::thread::sleep(Duration::from_millis(5));
                send(this_pid(), Signal::Kill);
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
        println!("skipped: the process limit cannot be set on this system");
        return;
    };
    // The process limit does not apply to root.
    if Uid::effective().is_root() {
        setuid(Uid::from_raw(65_534)).expect("root can change the user");
    }
    let (_, most) = getrlimit(processes).expect("the limit is known");
    setrlimit(processes, 0, most).expect("the limit is lowered");
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
                    setrlimit(processes, most, most).expect("the limit is raised");
                }
            }
        })
        .logger(discard_logs())
        .build()
        .expect("valid settings");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        if counters.add(0) == 3 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    assert_eq!((counters.get(0), tries.get()), (3, 5));
}

fn no_file_is_left() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("board");
    let files = || std::fs::read_dir(dir.path()).expect("the directory is readable").count();
    set_limit(Resource::OpenFiles, 400, 400).expect("the limit is lowered");
    let mut after_the_file = 0;
    for free in 1..100 {
        // Opens all descriptors but these.
        let mut held: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        held.truncate(held.len() - free);
        let built = Prefork::builder().scoreboard_file(&path).logger(discard_logs()).build();
        drop(held);
        match built {
            Ok(_manager) => {
                assert_eq!(files(), 1);
                assert!(after_the_file > 0, "no failure came after the file was created");
                return;
            }
            Err(ConfigError::System(_)) => after_the_file += 1,
            Err(_before) => {}
        }
        assert_eq!(files(), 0, "with {free} free descriptors");
    }
    panic!("the manager cannot be built with 100 free descriptors");
}

/// The variable that names the hook that panics, in the process where it does.
const HOOK: &str = "PANICKING_HOOK";

fn panicking_hooks() {
    if let Ok(hook) = env::var(HOOK) {
        return run_until_hook_panics(&hook);
    }
    if !has_death_signal() {
        return;
    }
    for hook in ["before_fork", "after_fork", "on_child_reap"] {
        let program = env::current_exe().expect("this program has a path");
        // The scenario is in the environment. The output ends when all workers have ended.
        let output = Command::new(program).env(HOOK, hook).output().expect("the program runs");
        assert_eq!(output.status.code(), Some(101), "{hook}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(&format!("{hook} panics")), "{hook}: {stderr}");
    }
}

/// Runs two workers, which end only by a signal of the manager or of the kernel. The hook panics
/// when both have been forked; the reap hook when one of them has exited.
fn run_until_hook_panics(hook: &str) {
    let panic_at = |name: &'static str| {
        let is_this = hook == name;
        move |workers: u32| assert!(!(is_this && workers == 1), "{name} panics")
    };
    let (before_fork, after_fork, on_child_reap) =
        (panic_at("before_fork"), panic_at("after_fork"), panic_at("on_child_reap"));
    let exits = hook == "on_child_reap";
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(2)
        .before_fork(move |overview| before_fork(overview.num_workers))
        .after_fork(move |overview, _pid| after_fork(overview.num_workers))
        .on_child_reap(move |overview, _worker| on_child_reap(overview.num_workers))
        .logger(discard_logs())
        .build()
        .expect("valid settings");
    until_term(&mut pm, |_worker| {
        if counters.add(0) == 2 && exits {
            return;
        }
        sleep_until_killed()
    });
}
