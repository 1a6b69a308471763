//! Scenarios of workers and their number.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use daemon_prefork::SignalForward::{Nothing, ToAll};
use daemon_prefork::{
    ConfigError, Descendants, Exit, ExitCause, Prefork, Reaped, Signal, StartResult,
};
use daemon_sys::process::{Pid, this_pid};

use super::support::{
    Counters, assert_success, board, run_in_process, send, until_term, wait_for_stop, workers,
};
use crate::scenarios::{Scenario, again, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_start_with_other_threads_fails_and_the_error_names_the_threads", other_threads),
    ("two_hundred_workers_start_and_stop", two_hundred),
    ("the_number_of_workers_can_be_changed_at_run_time", change_number),
    ("a_max_workers_above_the_number_of_slots_is_refused", too_few_slots),
    ("a_second_manager_is_refused_and_the_first_continues", second_manager),
    ("settings_that_are_changed_between_two_starts_take_effect", settings),
    ("a_worker_cannot_call_the_managers_methods", not_in_a_worker),
    ("the_reap_hook_gets_the_exit_cause_of_each_worker", causes),
    ("a_worker_inherits_no_descriptors_of_other_workers", descriptors),
    ("values_owned_by_hooks_are_dropped_in_the_manager_only", hooks_belong_to_the_manager),
    ("a_worker_takes_what_it_has_started_along_at_a_stop", descendants_end_at_a_stop),
    ("a_worker_takes_what_it_has_started_along_when_it_is_killed", descendants_end_with_a_kill),
    ("the_manager_does_not_reap_children_that_are_not_its_workers", other_children),
    ("output_before_a_fork_and_in_a_worker_is_written_once", printed_once),
    ("a_manager_and_its_worker_print_text_for_another_scenario", printing),
];

fn other_threads() {
    let mut pm = Prefork::builder().build().expect("valid settings");
    let (go, wait) = channel::<()>();
    let other = thread::Builder::new()
        .name("chatterbox".into())
        .spawn(move || wait.recv().is_err())
        .expect("the thread starts");
    let error = pm.start(|_worker| ()).expect_err("another thread runs").to_string();
    let wanted = "refusing to fork: 1 other thread is running: \"chatterbox\" (tid ";
    assert!(error.starts_with(wanted), "{error}");
    assert_eq!(pm.num_workers(), 0);
    drop(go);
    assert!(other.join().expect("the thread has not panicked"));
    send(this_pid(), Signal::Term);
    assert_eq!(pm.start(|_worker| ()).expect("start succeeds without other threads"), Signal::Term);
}

fn two_hundred() {
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(200).build().expect("valid settings");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        counters.add(worker.slot().get() as usize);
        if counters.add(1000) == 200 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    assert!((0..200).all(|slot| counters.get(slot) == 1), "a slot was not used exactly once");
    assert_eq!(counters.get(1000), 200);
}

fn change_number() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("board");
    let counters = Counters::new();
    let manager = this_pid();
    let driver = run_in_process(|| {
        let board = board(&file);
        for (number, wanted) in [(1, 3), (2, 7), (3, 2)] {
            eventually("the number of workers is as expected", || workers(board).len() == wanted);
            send(manager, Signal::Usr1);
            counters.until(0, number);
        }
        send(manager, Signal::Term);
    });
    let mut pm = Prefork::builder()
        .max_workers(3)
        .scoreboard_file(&file)
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Usr1, Nothing)])
        .build()
        .expect("valid settings");
    let mut sizes = [7, 2, 5].into_iter();
    while pm.signal_received() != Some(Signal::Term) {
        let signal = pm.start(wait_for_stop).expect("start succeeds");
        if let (Signal::Usr1, Some(size)) = (signal, sizes.next()) {
            pm.set_max_workers(size).expect("there are enough slots");
            counters.add(0);
        }
    }
    pm.wait_all_children().expect("the wait succeeds");
    assert_success(driver);
}

/// Starts a process that runs until it is killed, and writes its pid to the file.
#[expect(clippy::zombie_processes, reason = "the process outlives the worker, which starts it")]
fn start_sleeper(file: &std::path::Path) {
    let sleeper = Command::new("sleep").arg("1000").spawn().expect("the process starts");
    fs::write(file, sleeper.id().to_string()).expect("the file is written");
}

fn wait_until_gone(file: &std::path::Path) {
    let pid = fs::read_to_string(file).expect("the worker has written the pid");
    let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a pid");
    eventually("what the worker has started is gone", || {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
}

fn descendants_end_at_a_stop() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("pid");
    let builder = Prefork::builder().max_workers(1).descendants(Descendants::EndAtStop);
    let mut pm = builder.build().expect("valid settings");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        start_sleeper(&file);
        send(worker.manager_pid(), Signal::Term);
        wait_for_stop(worker);
    });
    wait_until_gone(&file);
}

fn descendants_end_with_a_kill() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("pid");
    let builder = Prefork::builder()
        .max_workers(1)
        .descendants(Descendants::EndAtStop)
        .grace(Duration::from_millis(200));
    let mut pm = builder.build().expect("valid settings");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        start_sleeper(&file);
        send(worker.manager_pid(), Signal::Term);
        loop {
            thread::park();
        }
    });
    wait_until_gone(&file);
}

fn second_manager() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("board");
    let counters = Counters::new();
    let builder = || Prefork::builder().max_workers(2).scoreboard_file(&file);
    let mut pm = builder().build().expect("valid settings");
    let refused = builder().build().expect_err("a manager exists").to_string();
    assert_eq!(
        refused,
        "cannot create a manager: this process already has a manager or is a worker"
    );
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        let refused = builder().build().expect_err("this process is a worker");
        assert!(matches!(refused, ConfigError::AlreadyManaged), "{refused}");
        if counters.add(0) == 2 {
            assert_eq!(
                workers(board(&file)).len(),
                2,
                "the file does not show the first manager's workers"
            );
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    drop(pm);
    builder().build().expect("the first manager was dropped");
}

fn settings() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(8)
        .min_spare_workers(2)
        .max_spare_workers(3)
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Usr1, Nothing)])
        .build()
        .expect("valid settings");
    let manager = this_pid();
    let mut seen = Vec::new();
    for wanted in [2, 4, 1] {
        pm.set_spare_workers(wanted, wanted).expect("the setting is changed");
        pm.set_spawn_interval(Duration::from_millis(1)).expect("the setting is changed");
        pm.set_err_respawn_interval(Duration::from_millis(500)).expect("the setting is changed");
        counters.set(0, wanted);
        let driver = run_in_process(|| {
            counters.until(1, wanted);
            if wanted == 1 {
                counters.until(2, 3);
            }
            send(manager, Signal::Usr1);
        });
        pm.start(|worker| {
            assert!(!worker.should_stop());
            counters.add(1);
            wait_for_stop(worker);
            counters.add(2);
        })
        .expect("start succeeds");
        assert_success(driver);
        // In the last round, some of the exited workers may not be reaped yet.
        if wanted != 1 {
            seen.push(pm.num_workers());
        }
    }
    pm.set_signal_received(None);
    assert_eq!(pm.signal_received(), None);
    pm.signal_all_children(Signal::Term).expect("the signal is sent");
    pm.wait_all_children().expect("the wait succeeds");
    assert_eq!((seen, counters.get(1), counters.get(2)), (vec![2, 4], 4, 4));
}

fn too_few_slots() {
    let mut pm = Prefork::builder().max_workers(10).build().expect("valid settings");
    pm.set_max_workers(20).expect("there are enough slots");
    let error = pm.set_max_workers(21).expect_err("too few slots").to_string();
    assert_eq!(
        error,
        "cannot set max_workers to 21: the scoreboard has only 20 slots, which were created for the initial max_workers"
    );
    assert_eq!(pm.max_workers(), 20);
}

fn not_in_a_worker() {
    let mut pm = Prefork::builder().max_workers(1).build().expect("valid settings");
    while pm.signal_received() != Some(Signal::Term) {
        match pm.start_fork().expect("start succeeds") {
            StartResult::Manager(_) => {}
            StartResult::Worker(worker) => {
                let error = pm.start(|_worker| ()).expect_err("in a worker").to_string();
                assert_eq!(error, "cannot start workers in a worker: only the manager can");
                let error = pm.wait_all_children().expect_err("in a worker").to_string();
                assert_eq!(error, "cannot wait for workers in a worker: only the manager can");
                let error =
                    pm.signal_all_children(Signal::Kill).expect_err("in a worker").to_string();
                assert_eq!(error, "cannot signal workers in a worker: only the manager can");
                let error = pm.set_max_workers(3).expect_err("in a worker");
                assert!(matches!(error, ConfigError::InWorker(_)), "{error}");
                assert_eq!((pm.num_workers(), pm.manager_pid()), (0, worker.manager_pid()));
                send(worker.manager_pid(), Signal::Term);
                wait_for_stop(&worker);
                worker.finish(0);
            }
        }
    }
    pm.wait_all_children().expect("the wait succeeds");
}

fn causes() {
    let reaped: Rc<RefCell<Vec<Reaped>>> = Rc::default();
    let mut pm = Prefork::builder()
        .max_workers(6)
        .on_child_reap({
            let reaped = Rc::clone(&reaped);
            move |overview, worker| {
                let mut reaped = reaped.borrow_mut();
                reaped.push(*worker);
                if reaped.len() == 5 {
                    send(overview.manager_pid, Signal::Term);
                }
            }
        })
        .logger(slog::Logger::root(slog::Discard, slog::o!()))
        .build()
        .expect("valid settings");
    std::panic::set_hook(Box::new(|_quietly| {}));
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| -> Result<i32, &str> {
            match (worker.slot().get(), worker.generation()) {
                (0, 1) => Ok(7),
                (1, 1) => Err("no disk"),
                (2, 1) => panic!("bad luck"),
                (3, 1) => {
                    send(this_pid(), Signal::Kill);
                    Ok(0)
                }
                (4, 1) => std::process::exit(3),
                _last => {
                    wait_for_stop(worker);
                    Ok(0)
                }
            }
        })
        .expect("start succeeds");
    }
    pm.wait_all_children().expect("the wait succeeds");
    let mut reaped = reaped.take();
    reaped.sort_by_key(|worker| worker.slot);
    let causes: Vec<ExitCause> = reaped.iter().map(|worker| worker.cause).collect();
    assert_eq!(
        causes,
        [
            ExitCause::Exited(7),
            ExitCause::Exited(1),
            ExitCause::Exited(101),
            ExitCause::Killed { signal: 9, core: false },
            ExitCause::Exited(3),
            ExitCause::Shutdown,
        ]
    );
    assert_eq!(reaped[0].exit, Exit::Code(7));
    assert!(reaped.iter().all(|worker| worker.generation == 1));
}

fn descriptors() {
    let counters = Counters::new();
    let open = || fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u32);
    let mut pm = Prefork::builder().max_workers(20).build().expect("valid settings");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        counters.set(worker.slot().get() as usize, open());
        if counters.add(1000) == 20 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    let counts: BTreeSet<u32> = (0..20).map(|slot| counters.get(slot)).collect();
    assert_eq!(counts.len(), 1, "not all workers have the same number of descriptors: {counts:?}");
}

fn hooks_belong_to_the_manager() {
    struct DropCounter(Counters);
    impl Drop for DropCounter {
        fn drop(&mut self) {
            self.0.add(0);
        }
    }
    let memory = Counters::new();
    let drop_counter = DropCounter(memory.clone());
    let mut pm = Prefork::builder()
        .max_workers(5)
        .before_fork(move |_| {
            drop_counter.0.add(1);
        })
        .build()
        .expect("valid settings");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        if memory.add(2) == 5 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    assert_eq!((memory.get(0), memory.get(1)), (0, 5));
    drop(pm);
    assert_eq!(memory.get(0), 1);
}

fn other_children() {
    let mut other_child = Command::new("sh").args(["-c", "exit 3"]).spawn().expect("sh starts");
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(2)
        .after_fork({
            let counters = counters.clone();
            move |_, _| {
                counters.add(2);
            }
        })
        .on_child_reap({
            let counters = counters.clone();
            move |_, _| {
                counters.add(1);
            }
        })
        .build()
        .expect("valid settings");
    until_term(&mut pm, |worker| {
        if counters.add(0) == 20 {
            send(worker.manager_pid(), Signal::Term);
        }
    });
    assert_eq!(counters.get(1), counters.get(2), "the hook was called for other children");
    assert_eq!(other_child.wait().expect("a child of this process").code(), Some(3));
}

/// Prints the text that [`printed_once`] checks.
fn printing() {
    print!("before ");
    let mut pm = Prefork::builder().max_workers(1).build().expect("valid settings");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        print!("within ");
        send(worker.manager_pid(), Signal::Term);
        wait_for_stop(worker);
    });
    print!("after");
}

fn printed_once() {
    let mut process = again("a_manager_and_its_worker_print_text_for_another_scenario")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the scenario starts");
    let mut printed = String::new();
    let mut output = process.stdout.take().expect("stdout is a pipe");
    output.read_to_string(&mut printed).expect("the output is text");
    assert!(process.wait().expect("a child of this process").success());
    assert_eq!(printed, "before within after");
}
