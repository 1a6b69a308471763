//! Scenarios of signals: one after another, many at once, before and between.

use std::cell::RefCell;
use std::rc::Rc;

use daemon_prefork::Forward::{Nothing, To};
use daemon_prefork::{Cause, Pid, Prefork, Reaped, Signal, Worker};
use daemon_sys::process::exists;

use super::asks::{Counters, aside, ended_well, send, until_term, wait_for_stop};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_signal_that_comes_before_the_start_is_not_lost", before_the_start),
    ("of_two_signals_that_have_come_term_is_heard_first_and_the_other_next", term_first),
    ("a_signal_that_is_trapped_no_more_does_what_it_does_by_default", trapped_no_more),
    ("a_storm_of_hup_ends_no_worker_badly", hup_storm),
    ("a_storm_of_term_ends_in_order", term_storm),
    ("a_worker_that_does_not_ask_is_ended_by_the_signal", not_asked),
    ("a_signal_that_tells_nobody_to_leave_is_passed_on", another_signal),
];

fn before_the_start() {
    let mut pm = Prefork::builder()
        .trap_signals([(Signal::Term, To(Signal::Term)), (Signal::Hup, To(Signal::Term))])
        .build()
        .expect("built");
    send(Pid::this(), Signal::Hup);
    let never = |_: &Worker| -> i32 { unreachable!("nobody is forked") };
    assert_eq!(pm.start(never).expect("starts"), Signal::Hup);
    assert_eq!((pm.signal_received(), pm.num_workers()), (Some(Signal::Hup), 0));
}

fn term_first() {
    let traps = [Signal::Hup, Signal::Usr1, Signal::Term].map(|signal| (signal, Nothing));
    let mut pm = Prefork::builder().trap_signals(traps).build().expect("built");
    for signal in [Signal::Hup, Signal::Usr1, Signal::Term] {
        send(Pid::this(), signal);
    }
    let never = |_: &Worker| -> i32 { unreachable!("nobody is forked") };
    let mut heard = [0; 3].map(|_| pm.start(never).expect("starts"));
    assert_eq!(heard[0], Signal::Term);
    heard.sort();
    let mut sent = [Signal::Hup, Signal::Usr1, Signal::Term];
    sent.sort();
    assert_eq!(heard, sent);
}

fn trapped_no_more() {
    let mut pm = Prefork::builder().build().expect("built");
    pm.set_trap_signals([(Signal::Usr2, Nothing)]).expect("trapped");
    let killed = aside(|| {
        send(Pid::this(), Signal::Term);
    });
    let exit = daemon_sys::reap::wait_for(killed).expect("ours");
    assert_eq!(exit, Signal::Term);
    send(Pid::this(), Signal::Usr2);
    assert_eq!(pm.start(|_worker| ()).expect("starts"), Signal::Usr2);
}

fn reaped_by(pm: daemon_prefork::Builder) -> (daemon_prefork::Builder, Rc<RefCell<Vec<Reaped>>>) {
    let reaped: Rc<RefCell<Vec<Reaped>>> = Rc::default();
    let pm = pm.on_child_reap({
        let reaped = Rc::clone(&reaped);
        move |_, gone| reaped.borrow_mut().push(*gone)
    });
    (pm, reaped)
}

fn quiet() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

fn hup_storm() {
    let manager = Pid::this();
    let counters = Counters::new();
    let (builder, reaped) = reaped_by(
        Prefork::builder()
            .max_workers(20)
            .trap_signals([(Signal::Term, To(Signal::Term)), (Signal::Hup, To(Signal::Term))])
            .logger(quiet()),
    );
    let mut pm = builder.build().expect("built");
    let storm = aside(|| {
        for _squall in 0..10 {
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
        .expect("starts");
    }
    assert_eq!(pm.wait_all_children().expect("waits"), 0);
    ended_well(storm);
    assert!(counters.get(1) > 10);
    let reaped = reaped.take();
    assert!(!reaped.is_empty());
    for gone in reaped {
        assert!(gone.cause.is_regular(), "{gone:?}");
    }
}

fn term_storm() {
    let manager = Pid::this();
    let counters = Counters::new();
    let (builder, reaped) = reaped_by(Prefork::builder().max_workers(20).logger(quiet()));
    let mut pm = builder.build().expect("built");
    let storm = aside(|| {
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
    ended_well(storm);
    let causes: Vec<Cause> = reaped.take().iter().map(|gone| gone.cause).collect();
    assert_eq!(causes, [Cause::Shutdown; 20]);
}

fn not_asked() {
    let (builder, reaped) = reaped_by(Prefork::builder().max_workers(3).logger(quiet()));
    let mut pm = builder.build().expect("built");
    let counters = Counters::new();
    until_term(&mut pm, |worker| {
        if counters.add(0) == 3 {
            send(worker.manager_pid(), Signal::Term);
        }
        super::asks::sleep_until_killed()
    });
    let reaped = reaped.take();
    assert_eq!(reaped.len(), 3);
    for gone in reaped {
        assert_eq!(gone.cause, Cause::Shutdown);
        assert!(gone.exit.is_some_and(|exit| exit == Signal::Term));
        assert!(!exists(gone.pid));
    }
}

fn another_signal() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(3)
        .trap_signals([(Signal::Term, To(Signal::Term)), (Signal::Hup, To(Signal::Usr2))])
        .build()
        .expect("built");
    until_term(&mut pm, |worker| {
        let queue = daemon_sys::signals::SignalQueue::of(&[Signal::Usr2]).expect("opens");
        assert!(!worker.should_stop());
        if counters.add(0) == 3 {
            send(worker.manager_pid(), Signal::Hup);
        }
        eventually("it is passed on", || queue.drain().expect("read") == [Signal::Usr2]);
        if counters.add(1) == 3 {
            send(worker.manager_pid(), Signal::Term);
        }
        wait_for_stop(worker);
    });
    assert_eq!((counters.get(0), counters.get(1)), (3, 3), "nobody was replaced");
}
