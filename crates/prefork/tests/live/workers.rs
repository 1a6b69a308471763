//! Scenarios of what a worker is, and of how many there are.

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
use daemon_prefork::{ConfigError, Exit, ExitCause, Pid, Prefork, Reaped, Signal, StartResult};

use super::support::{
    Counters, aside, board, ended_well, send, until_term, wait_for_stop, workers,
};
use crate::scenarios::{Scenario, again, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_start_in_company_is_refused_and_names_the_threads", refused_in_company),
    ("two_hundred_workers_come_and_go", two_hundred),
    ("workers_may_become_more_and_fewer_while_the_service_runs", more_and_fewer),
    ("more_workers_than_the_scoreboard_has_room_for_are_refused", no_room),
    ("a_second_manager_is_refused_and_the_first_one_goes_on", second_manager),
    ("settings_are_changed_between_two_starts", settings),
    ("a_worker_can_neither_start_workers_nor_wait_for_any", not_in_a_worker),
    ("how_a_worker_ends_is_told_as_data", causes),
    ("a_worker_inherits_no_descriptor_of_the_manager_s", descriptors),
    ("what_hooks_hold_is_dropped_in_the_manager_alone", hooks_are_the_manager_s),
    ("children_that_are_no_workers_are_left_alone", strangers),
    ("what_is_printed_before_a_fork_and_in_a_worker_is_written_once", printed_once),
    ("printing", printing),
];

fn refused_in_company() {
    let mut pm = Prefork::builder().build().expect("built");
    let (go, wait) = channel::<()>();
    let other = thread::Builder::new()
        .name("chatterbox".into())
        .spawn(move || wait.recv().is_err())
        .expect("a thread");
    let error = pm.start(|_worker| ()).expect_err("refused").to_string();
    let wanted = "refusing to fork: 1 other thread is running: \"chatterbox\" (tid ";
    assert!(error.starts_with(wanted), "{error}");
    assert_eq!(pm.num_workers(), 0);
    drop(go);
    assert!(other.join().expect("joined"));
    send(Pid::this(), Signal::Term);
    assert_eq!(pm.start(|_worker| ()).expect("now it may"), Signal::Term);
}

fn two_hundred() {
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(200).build().expect("built");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        counters.add(worker.slot().get() as usize);
        if counters.add(1000) == 200 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    assert!((0..200).all(|slot| counters.get(slot) == 1), "each slot once");
    assert_eq!(counters.get(1000), 200);
}

fn more_and_fewer() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("board");
    let counters = Counters::new();
    let manager = Pid::this();
    let driver = aside(|| {
        let board = board(&file);
        for (number, wanted) in [(1, 3), (2, 7), (3, 2)] {
            eventually("as many as are wanted", || workers(board).len() == wanted);
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
        .expect("built");
    let mut sizes = [7, 2, 5].into_iter();
    while pm.signal_received() != Some(Signal::Term) {
        let signal = pm.start(wait_for_stop).expect("starts");
        if let (Signal::Usr1, Some(size)) = (signal, sizes.next()) {
            pm.set_max_workers(size).expect("there is room");
            counters.add(0);
        }
    }
    pm.wait_all_children().expect("waits");
    ended_well(driver);
}

fn second_manager() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("board");
    let counters = Counters::new();
    let builder = || Prefork::builder().max_workers(2).scoreboard_file(&file);
    let mut pm = builder().build().expect("built");
    let refused = builder().build().expect_err("refused").to_string();
    assert_eq!(
        refused,
        "cannot make a manager: this process has one, or is a worker, so its signals are taken"
    );
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        let refused = builder().build().expect_err("a worker has its own signals");
        assert!(matches!(refused, ConfigError::AlreadyManaged), "{refused}");
        if counters.add(0) == 2 {
            assert_eq!(workers(board(&file)).len(), 2, "the file is the first one's");
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    drop(pm);
    builder().build().expect("the former one is gone");
}

fn settings() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(8)
        .min_spare_workers(2)
        .max_spare_workers(3)
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Usr1, Nothing)])
        .build()
        .expect("built");
    let manager = Pid::this();
    let mut seen = Vec::new();
    for wanted in [2, 4, 1] {
        pm.set_spare_workers(wanted, wanted).expect("set");
        pm.set_spawn_interval(Duration::from_millis(1)).expect("set");
        pm.set_err_respawn_interval(Duration::from_millis(500)).expect("set");
        counters.set(0, wanted);
        let driver = aside(|| {
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
        .expect("starts");
        ended_well(driver);
        // Those that have left may not be reaped yet.
        if wanted != 1 {
            seen.push(pm.num_workers());
        }
    }
    pm.set_signal_received(None);
    assert_eq!(pm.signal_received(), None);
    pm.signal_all_children(Signal::Term).expect("sent");
    pm.wait_all_children().expect("waits");
    assert_eq!((seen, counters.get(1), counters.get(2)), (vec![2, 4], 4, 4));
}

fn no_room() {
    let mut pm = Prefork::builder().max_workers(10).build().expect("built");
    pm.set_max_workers(20).expect("there is room");
    let error = pm.set_max_workers(21).expect_err("refused").to_string();
    assert_eq!(
        error,
        "max_workers is 21: the scoreboard was made with 20 slots, for twice the number at first"
    );
    assert_eq!(pm.max_workers(), 20);
}

fn not_in_a_worker() {
    let mut pm = Prefork::builder().max_workers(1).build().expect("built");
    while pm.signal_received() != Some(Signal::Term) {
        match pm.start_fork().expect("starts") {
            StartResult::Manager(_) => {}
            StartResult::Worker(worker) => {
                let error = pm.start(|_worker| ()).expect_err("refused").to_string();
                assert_eq!(error, "cannot start workers in a worker: only the manager may");
                let error = pm.wait_all_children().expect_err("refused").to_string();
                assert_eq!(error, "cannot wait for workers in a worker: only the manager may");
                let error = pm.signal_all_children(Signal::Kill).expect_err("refused").to_string();
                assert_eq!(error, "cannot signal workers in a worker: only the manager may");
                let error = pm.set_max_workers(3).expect_err("refused");
                assert!(matches!(error, ConfigError::InWorker(_)), "{error}");
                assert_eq!((pm.num_workers(), pm.manager_pid()), (0, worker.manager_pid()));
                send(worker.manager_pid(), Signal::Term);
                wait_for_stop(&worker);
                worker.finish(0);
            }
        }
    }
    pm.wait_all_children().expect("waits");
}

fn causes() {
    let reaped: Rc<RefCell<Vec<Reaped>>> = Rc::default();
    let mut pm = Prefork::builder()
        .max_workers(6)
        .on_child_reap({
            let reaped = Rc::clone(&reaped);
            move |overview, gone| {
                let mut reaped = reaped.borrow_mut();
                reaped.push(*gone);
                if reaped.len() == 5 {
                    send(overview.manager_pid, Signal::Term);
                }
            }
        })
        .logger(slog::Logger::root(slog::Discard, slog::o!()))
        .build()
        .expect("built");
    std::panic::set_hook(Box::new(|_quietly| {}));
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| -> Result<i32, &str> {
            match (worker.slot().get(), worker.generation()) {
                (0, 1) => Ok(7),
                (1, 1) => Err("no disk"),
                (2, 1) => panic!("bad luck"),
                (3, 1) => {
                    send(Pid::this(), Signal::Kill);
                    Ok(0)
                }
                (4, 1) => std::process::exit(3),
                _last => {
                    wait_for_stop(worker);
                    Ok(0)
                }
            }
        })
        .expect("starts");
    }
    pm.wait_all_children().expect("waits");
    let mut reaped = reaped.take();
    reaped.sort_by_key(|gone| gone.slot);
    let causes: Vec<ExitCause> = reaped.iter().map(|gone| gone.cause).collect();
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
    assert_eq!(reaped[0].exit, Some(Exit::Code(7)));
    assert!(reaped.iter().all(|gone| gone.generation == 1));
}

fn descriptors() {
    let counters = Counters::new();
    let open = || fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u32);
    let mut pm = Prefork::builder().max_workers(20).build().expect("built");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        counters.set(worker.slot().get() as usize, open());
        if counters.add(1000) == 20 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    let counts: BTreeSet<u32> = (0..20).map(|slot| counters.get(slot)).collect();
    assert_eq!(counts.len(), 1, "the last has as many as the first: {counts:?}");
}

fn hooks_are_the_manager_s() {
    struct DropCounter(Counters);
    impl Drop for DropCounter {
        fn drop(&mut self) {
            self.0.add(0);
        }
    }
    let memory = Counters::new();
    let tells = DropCounter(memory.clone());
    let mut pm = Prefork::builder()
        .max_workers(5)
        .before_fork(move |_| {
            tells.0.add(1);
        })
        .build()
        .expect("built");
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

fn strangers() {
    let mut stranger = Command::new("sh").args(["-c", "exit 3"]).spawn().expect("sh starts");
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
        .expect("built");
    until_term(&mut pm, |worker| {
        if counters.add(0) == 20 {
            send(worker.manager_pid(), Signal::Term);
        }
    });
    assert_eq!(counters.get(1), counters.get(2), "nobody else was told of");
    assert_eq!(stranger.wait().expect("it is ours to reap").code(), Some(3));
}

/// Run by the next scenario, which reads what it prints.
fn printing() {
    print!("before ");
    let mut pm = Prefork::builder().max_workers(1).build().expect("built");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        print!("within ");
        send(worker.manager_pid(), Signal::Term);
        wait_for_stop(worker);
    });
    print!("after");
}

fn printed_once() {
    let mut process =
        again("printing").stdout(std::process::Stdio::piped()).spawn().expect("it starts again");
    let mut printed = String::new();
    let mut output = process.stdout.take().expect("an output");
    output.read_to_string(&mut printed).expect("text");
    assert!(process.wait().expect("ours").success());
    assert_eq!(printed, "before within after");
}
