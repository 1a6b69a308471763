//! Scenarios of signals that go from one worker to the next.

use std::time::Duration;

use daemon_prefork::SignalForward::{OneByOne, ToAll};
use daemon_prefork::{ExitCause, Pid, Prefork, Signal};
use daemon_sys::signals::ignore;

use super::support::{
    Counters, aside, ended_well, quiet, reaped_by, send, until_term, wait_for_stop,
};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_signal_goes_on_from_one_to_the_next_while_others_start_and_others_come", goes_on),
    ("one_that_comes_again_and_again_reaches_every_worker", again_and_again),
    ("a_worker_that_is_told_late_has_its_grace_all_the_same", told_late),
];

const INTERVAL: Duration = Duration::from_millis(60);

fn goes_on() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(3)
        .trap_signals([
            (Signal::Term, ToAll(Signal::Term)),
            (Signal::Hup, OneByOne(Signal::Term, INTERVAL)),
            (Signal::Usr1, OneByOne(Signal::Usr2, INTERVAL)),
        ])
        .logger(quiet())
        .build()
        .expect("built");
    let manager = Pid::this();
    let driver = aside(|| {
        counters.until(0, 3);
        send(manager, Signal::Hup);
        counters.until(0, 4);
        send(manager, Signal::Usr1);
        // All of the first three are replaced, although another signal is on its way.
        counters.until(0, 6);
        send(manager, Signal::Term);
    });
    until_term(&mut pm, |worker| {
        ignore(Signal::Usr2).expect("ignored");
        assert!(!worker.should_stop());
        counters.add(0);
        wait_for_stop(worker);
    });
    ended_well(driver);
    assert_eq!(counters.get(0), 6, "nobody else is replaced");
}

fn again_and_again() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(3)
        .trap_signals([
            (Signal::Term, ToAll(Signal::Term)),
            (Signal::Hup, OneByOne(Signal::Term, INTERVAL)),
        ])
        .logger(quiet())
        .build()
        .expect("built");
    let manager = Pid::this();
    const ALL: usize = 10;
    let driver = aside(|| {
        counters.until(ALL, 3);
        eventually("each slot has another worker", || {
            let births = counters.get(ALL);
            send(manager, Signal::Hup);
            counters.until(ALL, births + 1);
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
    ended_well(driver);
}

fn told_late() {
    let counters = Counters::new();
    let (builder, reaped) = reaped_by(
        Prefork::builder()
            .max_workers(3)
            .grace(Duration::from_millis(1000))
            .trap_signals([(Signal::Term, OneByOne(Signal::Term, Duration::from_millis(700)))])
            .logger(quiet()),
    );
    let mut pm = builder.build().expect("built");
    until_term(&mut pm, |worker| {
        assert!(!worker.should_stop());
        if counters.add(0) == 3 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    let causes: Vec<ExitCause> = reaped.take().iter().map(|gone| gone.cause).collect();
    assert_eq!(causes.len(), 3);
    assert!(causes.iter().all(ExitCause::is_expected), "{causes:?}");
}
