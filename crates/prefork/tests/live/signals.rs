//! Scenarios of signals: one after another, many at once, before and between.

use std::time::Duration;

use daemon_prefork::SignalForward::{Nothing, ToAll};
use daemon_prefork::{ExitCause, Pid, Prefork, Signal, Worker};
use daemon_sys::process::{SignalOutcome, exists, signal_group};
use daemon_sys::signals::{SignalBlockGuard, ignore, restore_default};

use super::support::{
    Counters, aside, ended_well, quiet, reaped_by, send, sleep_until_killed, until_term,
    wait_for_stop,
};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_signal_that_comes_before_the_start_is_not_lost", before_the_start),
    ("of_two_signals_that_have_come_term_is_heard_first_and_the_other_next", term_first),
    ("a_signal_that_is_trapped_no_more_does_what_it_does_by_default", trapped_no_more),
    ("a_storm_of_hup_ends_no_worker_badly", hup_storm),
    ("a_storm_of_term_ends_in_order", term_storm),
    ("a_worker_that_does_not_ask_is_ended_by_the_signal", not_asked),
    ("a_signal_that_tells_nobody_to_leave_is_passed_on", another_signal),
    ("work_in_hand_is_finished_when_the_whole_group_is_interrupted", interrupted),
    ("every_signal_that_comes_while_workers_are_waited_for_is_passed_on", two_in_the_wait),
    ("a_term_in_the_wait_is_not_undone_by_a_hup", term_and_hup_in_the_wait),
    ("a_manager_may_detach_between_its_making_and_its_start", detached),
    ("a_worker_leaves_by_a_signal_that_whoever_started_the_manager_ignored", ignored),
    ("a_worker_leaves_by_a_signal_that_whoever_started_the_manager_blocked", blocked),
    ("an_end_is_noticed_even_if_its_signal_was_taken_away", no_child_signal),
];

fn before_the_start() {
    let mut pm = Prefork::builder()
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Hup, ToAll(Signal::Term))])
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

fn hup_storm() {
    let manager = Pid::this();
    let counters = Counters::new();
    let (builder, reaped) = reaped_by(
        Prefork::builder()
            .max_workers(20)
            .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Hup, ToAll(Signal::Term))])
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
        assert!(gone.cause.is_expected(), "{gone:?}");
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
    let causes: Vec<ExitCause> = reaped.take().iter().map(|gone| gone.cause).collect();
    assert_eq!(causes, [ExitCause::Shutdown; 20]);
}

fn not_asked() {
    let (builder, reaped) = reaped_by(Prefork::builder().max_workers(3).logger(quiet()));
    let mut pm = builder.build().expect("built");
    let counters = Counters::new();
    until_term(&mut pm, |worker| {
        if counters.add(0) == 3 {
            send(worker.manager_pid(), Signal::Term);
        }
        sleep_until_killed()
    });
    let reaped = reaped.take();
    assert_eq!(reaped.len(), 3);
    for gone in reaped {
        assert_eq!(gone.cause, ExitCause::Shutdown);
        assert!(gone.exit.is_some_and(|exit| exit == Signal::Term));
        assert!(!exists(gone.pid));
    }
}

fn another_signal() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(3)
        .trap_signals([(Signal::Term, ToAll(Signal::Term)), (Signal::Hup, ToAll(Signal::Usr2))])
        .build()
        .expect("built");
    until_term(&mut pm, |worker| {
        let queue = daemon_sys::signals::SignalQueue::new(&[Signal::Usr2]).expect("opens");
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

fn interrupted() {
    let counters = Counters::new();
    let manager = aside(|| {
        nix::unistd::setsid().expect("a session, and so a group");
        let mut pm = Prefork::builder()
            .max_workers(3)
            .trap_signals([Signal::Term, Signal::Int].map(|signal| (signal, ToAll(Signal::Term))))
            .logger(quiet())
            .build()
            .expect("built");
        let signal = pm.start(|worker| {
            while !worker.should_stop() {
                counters.add(0);
                counters.until(1, 1);
                counters.add(2);
                wait_for_stop(worker);
            }
        });
        assert_eq!(signal.expect("starts"), Signal::Int);
        counters.add(1);
        assert_eq!(pm.wait_all_children().expect("waits"), 0);
    });
    counters.until(0, 3);
    assert_eq!(signal_group(manager, Signal::Int).expect("sent"), SignalOutcome::Delivered);
    ended_well(manager);
    assert_eq!(counters.get(2), 3, "each that was begun was ended");
}

fn two_in_the_wait() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(2)
        .trap_signals([
            (Signal::Usr1, Nothing),
            (Signal::Int, ToAll(Signal::Int)),
            (Signal::Quit, ToAll(Signal::Quit)),
        ])
        .logger(quiet())
        .build()
        .expect("built");
    let signal = pm.start(|worker| -> () {
        ignore(Signal::Int).expect("ignored");
        if counters.add(0) == 2 {
            send(worker.manager_pid(), Signal::Usr1);
        }
        sleep_until_killed()
    });
    assert_eq!(signal.expect("starts"), Signal::Usr1);
    send(Pid::this(), Signal::Int);
    send(Pid::this(), Signal::Quit);
    assert_eq!(pm.wait_all_children().expect("waits"), 0);
    assert_eq!(pm.signal_received(), Some(Signal::Int));
}

fn term_and_hup_in_the_wait() {
    let counters = Counters::new();
    let mut pm = Prefork::builder()
        .max_workers(2)
        .trap_signals([
            (Signal::Usr1, Nothing),
            (Signal::Term, ToAll(Signal::Term)),
            (Signal::Hup, ToAll(Signal::Term)),
        ])
        .logger(quiet())
        .build()
        .expect("built");
    let signal = pm.start(|worker| {
        assert!(!worker.should_stop());
        if counters.add(0) == 2 {
            send(worker.manager_pid(), Signal::Usr1);
        }
        wait_for_stop(worker);
    });
    assert_eq!(signal.expect("starts"), Signal::Usr1);
    send(Pid::this(), Signal::Term);
    send(Pid::this(), Signal::Hup);
    assert_eq!(pm.wait_all_children().expect("waits"), 0);
    assert_eq!(pm.signal_received(), Some(Signal::Term));
}

fn detached() {
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(1).logger(quiet()).build().expect("built");
    let detached = aside(|| {
        until_term(&mut pm, |worker| {
            assert!(!worker.should_stop());
            assert_eq!(Pid::parent(), Some(worker.manager_pid()));
            counters.add(0);
            send(worker.manager_pid(), Signal::Term);
            wait_for_stop(worker);
        });
        assert_eq!(pm.manager_pid(), Pid::this());
    });
    ended_well(detached);
    assert_eq!(counters.get(0), 1);
}

/// Has HUP forwarded as QUIT, and waits until the one worker has left by that.
fn left_by_quit(work: impl FnOnce(&Worker)) {
    let leave = ToAll(Signal::Quit);
    let (builder, reaped) = reaped_by(
        Prefork::builder()
            .max_workers(1)
            .trap_signals([(Signal::Term, leave), (Signal::Hup, leave)])
            .logger(quiet()),
    );
    let mut pm = builder.build().expect("built");
    let signal = pm.start(work);
    assert_eq!(signal.expect("starts"), Signal::Hup);
    let left = pm.wait_all_children_for(Duration::from_secs(10)).expect("waits");
    pm.signal_all_children(Signal::Kill).expect("sent");
    pm.wait_all_children().expect("waits");
    assert_eq!(left, 0, "it has not left by itself");
    assert_eq!(reaped.take()[0].cause, ExitCause::Shutdown);
}

fn ignored() {
    // As the shell does it for what it starts in the background.
    ignore(Signal::Quit).expect("ignored");
    left_by_quit(|worker| {
        send(worker.manager_pid(), Signal::Hup);
        sleep_until_killed()
    });
}

fn blocked() {
    SignalBlockGuard::block(&[Signal::Quit]).expect("blocked").leave_blocked();
    left_by_quit(|worker| {
        assert!(!worker.should_stop());
        send(worker.manager_pid(), Signal::Hup);
        wait_for_stop(worker);
    });
}

fn no_child_signal() {
    if cfg!(any(not(target_os = "linux"), fallback)) {
        println!("skipped: only on Linux an end is told by more than a signal");
        return;
    }
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(1).logger(quiet()).build().expect("built");
    restore_default(Signal::Child).expect("restored");
    until_term(&mut pm, |worker| {
        if counters.add(0) == 2 {
            send(worker.manager_pid(), Signal::Term);
            sleep_until_killed();
        }
    });
    assert_eq!(counters.get(0), 2, "the first was replaced");
}
