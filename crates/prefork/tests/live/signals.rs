//! Scenarios of signals that arrive in large numbers, before `start` or during `wait_all_children`,
//! and of signals that were ignored or blocked before the manager started.

use std::time::Duration;

use daemon_prefork::SignalForward::{Nothing, ToAll};
use daemon_prefork::{ExitCause, Prefork, Signal, Worker};
use daemon_sys::process::{SignalOutcome, exists, parent_pid, signal_group, this_pid};
use daemon_sys::signals::{SignalBlockGuard, ignore, restore_default};

use super::support::{
    Counters, assert_success, discard_logs, killed_by, reaped_by, run_in_process, send,
    sleep_until_killed, until_term, wait_for_stop,
};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_signal_received_between_build_and_start_is_not_lost", before_the_start),
    ("term_is_handled_before_other_received_signals_and_no_signal_is_lost", term_first),
    ("a_signal_that_is_no_longer_trapped_has_its_default_action", no_longer_trapped),
    ("no_worker_fails_when_the_manager_receives_many_hups", many_hups),
    ("workers_stop_gracefully_when_the_manager_receives_many_terms", many_terms),
    ("a_worker_that_does_not_check_for_stop_signals_is_terminated_by_term", not_checked),
    ("a_signal_that_does_not_stop_workers_is_forwarded", another_signal),
    ("workers_finish_their_work_when_the_process_group_receives_int", interrupted),
    ("signals_received_during_wait_all_children_are_forwarded", two_during_the_wait),
    (
        "signal_received_still_returns_term_if_a_hup_follows_during_wait_all_children",
        term_and_hup_during_the_wait,
    ),
    ("a_manager_can_daemonize_between_build_and_start", daemonized),
    ("a_stop_signal_that_was_ignored_before_the_manager_started_stops_a_worker", ignored),
    ("a_stop_signal_that_was_blocked_before_the_manager_started_stops_a_worker", blocked),
    ("the_exit_of_a_worker_is_detected_without_chld", no_child_signal),
];

fn before_the_start() {
    let mut pm = Prefork::builder()
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Hup, ToAll(Signal::Term))])
        .build()
        .expect("valid settings");
    send(this_pid(), Signal::Hup);
    let never = |_: &Worker| -> i32 { unreachable!("no worker is forked") };
    assert_eq!(pm.start(never).expect("start succeeds"), Signal::Hup);
    assert_eq!((pm.signal_received(), pm.num_workers()), (Some(Signal::Hup), 0));
}

fn term_first() {
    let traps = [Signal::Hup, Signal::Usr1, Signal::Term].map(|signal| (signal, Nothing));
    let mut pm = Prefork::builder().trap_signals(traps).build().expect("valid settings");
    for signal in [Signal::Hup, Signal::Usr1, Signal::Term] {
        send(this_pid(), signal);
    }
    let never = |_: &Worker| -> i32 { unreachable!("no worker is forked") };
    let mut received = [0; 3].map(|_| pm.start(never).expect("start succeeds"));
    assert_eq!(received[0], Signal::Term);
    received.sort();
    let mut sent = [Signal::Hup, Signal::Usr1, Signal::Term];
    sent.sort();
    assert_eq!(received, sent);
}

fn no_longer_trapped() {
    let mut pm = Prefork::builder().build().expect("valid settings");
    pm.set_trap_signals([(Signal::Usr2, Nothing)]).expect("the signal can be trapped");
    let killed = run_in_process(|| {
        send(this_pid(), Signal::Term);
    });
    let exit = daemon_sys::reap::wait_for(killed).expect("a child of this process");
    assert_eq!(exit, killed_by(Signal::Term));
    send(this_pid(), Signal::Usr2);
    assert_eq!(pm.start(|_worker| ()).expect("start succeeds"), Signal::Usr2);
}

fn many_hups() {
    let manager = this_pid();
    let counters = Counters::new();
    let (builder, reaped) = reaped_by(
        Prefork::builder()
            .max_workers(20)
            .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Hup, ToAll(Signal::Term))])
            .logger(discard_logs()),
    );
    let mut pm = builder.build().expect("valid settings");
    let sender = run_in_process(|| {
        for _round in 0..10 {
            let generation = counters.get(1);
            for _hup in 0..30 {
                send(manager, Signal::Hup);
            }
            counters.until(1, generation + 1);
        }
        send(manager, Signal::Term);
    });
    while pm.signal_received() != Some(Signal::Term) {
        counters.add(1);
        pm.start(|worker| {
            counters.add(0);
            wait_for_stop(worker);
        })
        .expect("start succeeds");
    }
    assert_eq!(pm.wait_all_children().expect("the wait succeeds"), 0);
    assert_success(sender);
    assert!(counters.get(1) > 10);
    let reaped = reaped.take();
    assert!(!reaped.is_empty());
    for worker in reaped {
        assert!(worker.cause.is_expected(), "{worker:?}");
    }
}

fn many_terms() {
    let manager = this_pid();
    let counters = Counters::new();
    let (builder, reaped) = reaped_by(Prefork::builder().max_workers(20).logger(discard_logs()));
    let mut pm = builder.build().expect("valid settings");
    let sender = run_in_process(|| {
        counters.until(0, 20);
        while counters.get(1) == 0 {
            send(manager, Signal::Term);
        }
    });
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        counters.add(0);
        wait_for_stop(worker);
    });
    counters.add(1);
    assert_success(sender);
    let causes: Vec<ExitCause> = reaped.take().iter().map(|worker| worker.cause).collect();
    assert_eq!(causes, [ExitCause::Shutdown; 20]);
}

fn not_checked() {
    let (builder, reaped) = reaped_by(Prefork::builder().max_workers(3).logger(discard_logs()));
    let mut pm = builder.build().expect("valid settings");
    let counters = Counters::new();
    until_term(&mut pm, |worker| {
        if counters.add(0) == 3 {
            send(worker.manager_pid(), Signal::Term);
        }
        sleep_until_killed()
    });
    let reaped = reaped.take();
    assert_eq!(reaped.len(), 3);
    for worker in reaped {
        assert_eq!(worker.cause, ExitCause::Shutdown);
        assert_eq!(worker.exit, killed_by(Signal::Term));
        assert!(!exists(worker.pid));
    }
}

fn another_signal() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(3)
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Hup, ToAll(Signal::Usr2))])
        .build()
        .expect("valid settings");
    until_term(&mut pm, |worker| {
        let queue =
            daemon_sys::signals::SignalQueue::new(&[Signal::Usr2]).expect("the queue opens");
        assert!(!worker.should_stop());
        if counters.add(0) == 3 {
            send(worker.manager_pid(), Signal::Hup);
        }
        eventually("the signal is forwarded", || {
            queue.drain().expect("the signals are read") == [Signal::Usr2]
        });
        if counters.add(1) == 3 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    assert_eq!((counters.get(0), counters.get(1)), (3, 3), "a worker was replaced");
}

fn interrupted() {
    let counters = Counters::new();
    let manager = run_in_process(|| {
        nix::unistd::setsid().expect("a new session with its own process group");
        let mut pm = Prefork::builder()
            .max_workers(3)
            .trap_signals([Signal::Term, Signal::Int].map(|signal| (signal, ToAll(Signal::Term))))
            .logger(discard_logs())
            .build()
            .expect("valid settings");
        let signal = pm.start(|worker| {
            while !worker.should_stop() {
                counters.add(0);
                counters.until(1, 1);
                counters.add(2);
                wait_for_stop(worker);
            }
        });
        assert_eq!(signal.expect("start succeeds"), Signal::Int);
        counters.add(1);
        assert_eq!(pm.wait_all_children().expect("the wait succeeds"), 0);
    });
    counters.until(0, 3);
    assert_eq!(
        signal_group(manager, Signal::Int).expect("the signal is sent"),
        SignalOutcome::Delivered
    );
    assert_success(manager);
    assert_eq!(counters.get(2), 3, "work was started but not finished");
}

fn two_during_the_wait() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(2)
        .trap_signals([
            (Signal::Usr1, Nothing),
            (Signal::Int, ToAll(Signal::Int)),
            (Signal::Quit, ToAll(Signal::Quit)),
        ])
        .logger(discard_logs())
        .build()
        .expect("valid settings");
    let signal = pm.start(|worker| -> () {
        ignore(Signal::Int).expect("the signal is ignored");
        if counters.add(0) == 2 {
            send(worker.manager_pid(), Signal::Usr1);
        }
        sleep_until_killed()
    });
    assert_eq!(signal.expect("start succeeds"), Signal::Usr1);
    send(this_pid(), Signal::Int);
    send(this_pid(), Signal::Quit);
    assert_eq!(pm.wait_all_children().expect("the wait succeeds"), 0);
    assert_eq!(pm.signal_received(), Some(Signal::Int));
}

fn term_and_hup_during_the_wait() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(2)
        .trap_signals([
            (Signal::Usr1, Nothing),
            (Signal::Term, ToAll(Signal::Term)),
            (Signal::Hup, ToAll(Signal::Term)),
        ])
        .logger(discard_logs())
        .build()
        .expect("valid settings");
    let signal = pm.start(|worker| {
        assert!(!worker.should_stop());
        if counters.add(0) == 2 {
            send(worker.manager_pid(), Signal::Usr1);
        }
        wait_for_stop(worker);
    });
    assert_eq!(signal.expect("start succeeds"), Signal::Usr1);
    send(this_pid(), Signal::Term);
    send(this_pid(), Signal::Hup);
    assert_eq!(pm.wait_all_children().expect("the wait succeeds"), 0);
    assert_eq!(pm.signal_received(), Some(Signal::Term));
}

fn daemonized() {
    let counters = Counters::new();
    let mut pm =
        Prefork::builder().max_workers(1).logger(discard_logs()).build().expect("valid settings");
    let daemonized = run_in_process(|| {
        until_term(&mut pm, |worker| {
            assert!(!worker.should_stop());
            assert_eq!(parent_pid(), Some(worker.manager_pid()));
            counters.add(0);
            send(worker.manager_pid(), Signal::Term);
            wait_for_stop(worker);
        });
        assert_eq!(pm.manager_pid(), this_pid());
    });
    assert_success(daemonized);
    assert_eq!(counters.get(0), 1);
}

/// Forwards HUP as QUIT, and asserts that QUIT stops the only worker.
fn stops_by_quit(work: impl FnOnce(&Worker)) {
    let stop = ToAll(Signal::Quit);
    let (builder, reaped) = reaped_by(
        Prefork::builder()
            .max_workers(1)
            .trap_signals([(Signal::Term, stop), (Signal::Hup, stop)])
            .logger(discard_logs()),
    );
    let mut pm = builder.build().expect("valid settings");
    let signal = pm.start(work);
    assert_eq!(signal.expect("start succeeds"), Signal::Hup);
    let left = pm.wait_all_children_for(Duration::from_secs(10)).expect("the wait succeeds");
    pm.signal_all_children(Signal::Kill).expect("the signal is sent");
    pm.wait_all_children().expect("the wait succeeds");
    assert_eq!(left, 0, "QUIT has not stopped the worker");
    assert_eq!(reaped.take()[0].cause, ExitCause::Shutdown);
}

fn ignored() {
    // A shell also ignores QUIT in processes that it starts in the background.
    ignore(Signal::Quit).expect("the signal is ignored");
    stops_by_quit(|worker| {
        send(worker.manager_pid(), Signal::Hup);
        sleep_until_killed()
    });
}

fn blocked() {
    SignalBlockGuard::block(&[Signal::Quit]).expect("the signal is blocked").leave_blocked();
    stops_by_quit(|worker| {
        assert!(!worker.should_stop());
        send(worker.manager_pid(), Signal::Hup);
        wait_for_stop(worker);
    });
}

fn no_child_signal() {
    if cfg!(any(not(target_os = "linux"), fallback)) {
        println!("skipped: only Linux reports exits by other means than a signal");
        return;
    }
    let counters = Counters::new();
    let mut pm =
        Prefork::builder().max_workers(1).logger(discard_logs()).build().expect("valid settings");
    restore_default(Signal::Child).expect("the default is restored");
    until_term(&mut pm, |worker| {
        if counters.add(0) == 2 {
            send(worker.manager_pid(), Signal::Term);
            sleep_until_killed();
        }
    });
    assert_eq!(counters.get(0), 2, "the number of forked workers is not 2");
}
