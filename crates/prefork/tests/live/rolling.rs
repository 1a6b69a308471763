//! Scenarios of rolling signals, which are sent to one worker after another.

use std::time::Duration;

use daemon_prefork::SignalForward::{OneByOne, ToAll};
use daemon_prefork::{ExitCause, Prefork, Signal};
use daemon_sys::process::this_pid;
use daemon_sys::signals::ignore;

use super::support::{
    Counters, assert_success, discard_logs, reaped_by, run_in_process, send, until_term,
    wait_for_stop,
};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "a_rolling_signal_continues_while_new_workers_start_and_another_rolling_signal_is_sent",
        continues,
    ),
    ("a_repeated_rolling_signal_reaches_every_worker", repeated),
    ("each_worker_has_the_full_grace_period_after_a_rolling_stop_signal_reaches_it", asked_late),
];

const INTERVAL: Duration = Duration::from_millis(60);

fn continues() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(3)
        .trap_signals([
            (Signal::Term, ToAll(Signal::Term)),
            (Signal::Hup, OneByOne(Signal::Term, INTERVAL)),
            (Signal::Usr1, OneByOne(Signal::Usr2, INTERVAL)),
        ])
        .logger(discard_logs())
        .build()
        .expect("valid settings");
    let manager = this_pid();
    let driver = run_in_process(|| {
        counters.until(0, 3);
        send(manager, Signal::Hup);
        counters.until(0, 4);
        send(manager, Signal::Usr1);
        // All of the first three workers are replaced, although another rolling signal is active.
        counters.until(0, 6);
        send(manager, Signal::Term);
    });
    until_term(&mut pm, |worker| {
        ignore(Signal::Usr2).expect("the signal is ignored");
        assert!(!worker.should_stop());
        counters.add(0);
        wait_for_stop(worker);
    });
    assert_success(driver);
    assert_eq!(counters.get(0), 6, "more than the first three workers were replaced");
}

fn repeated() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(3)
        .trap_signals([
            (Signal::Term, ToAll(Signal::Term)),
            (Signal::Hup, OneByOne(Signal::Term, INTERVAL)),
        ])
        .logger(discard_logs())
        .build()
        .expect("valid settings");
    let manager = this_pid();
    const ALL: usize = 10;
    let driver = run_in_process(|| {
        counters.until(ALL, 3);
        eventually("each slot has a new worker", || {
            let forks = counters.get(ALL);
            send(manager, Signal::Hup);
            counters.until(ALL, forks + 1);
            (0..3).all(|slot| counters.get(slot) > 1)
        });
        send(manager, Signal::Term);
    });
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        counters.add(worker.slot().index());
        counters.add(ALL);
        wait_for_stop(worker);
    });
    assert_success(driver);
}

fn asked_late() {
    let counters = Counters::new();
    let (builder, reaped) = reaped_by(
        Prefork::builder()
            .max_workers(3)
            .grace(Duration::from_millis(1000))
            .trap_signals([(Signal::Term, OneByOne(Signal::Term, Duration::from_millis(700)))])
            .logger(discard_logs()),
    );
    let mut pm = builder.build().expect("valid settings");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        if counters.add(0) == 3 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    let causes: Vec<ExitCause> = reaped.take().iter().map(|worker| worker.cause).collect();
    assert_eq!(causes.len(), 3);
    assert!(causes.iter().all(ExitCause::is_expected), "{causes:?}");
}
