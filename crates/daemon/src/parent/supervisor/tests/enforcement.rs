//! What verdicts lead to: signals, the places of those who are told to go, and causes.

use daemon_core::{Exit, ExitCause, KillReason, LadderStep, RecycleReason, Status, Violation};
use daemon_sys::process::Signal;

use super::simulator::Simulator;
use crate::model::PreFork;
use crate::parent::process_control::OomKills;
use crate::parent::supervisor::SupervisorEvent;

/// Two children that are all there may be idle, and room for two more.
fn running() -> Simulator<()> {
    let model = PreFork::new(2).min_spare(2).max_spare(2).max_children(4);
    let mut sim = Simulator::of(model);
    sim.reconcile();
    sim.all_ready();
    sim.events.clear();
    sim
}

fn cause(event: &SupervisorEvent) -> Option<ExitCause> {
    match event {
        SupervisorEvent::ChildExited(exited) => Some(exited.cause),
        _ => None,
    }
}

#[test]
fn each_measure_is_its_signal_and_giving_up_is_none() {
    let table = [
        (LadderStep::Int, Some(Signal::Int)),
        (LadderStep::Term, Some(Signal::Term)),
        (LadderStep::Quit, Some(Signal::Quit)),
        (LadderStep::Kill, Some(Signal::Kill)),
        (LadderStep::GiveUp, None),
    ];
    for (step, signal) in table {
        let mut sim = running();
        let child = *sim.processes.alive.keys().next().expect("two are there");
        sim.act(|supervisor, processes, now| {
            supervisor.enforce(child, Violation::Hung, step, processes, now);
        });
        let sent: Vec<_> = signal.into_iter().map(|signal| (child, signal)).collect();
        assert_eq!(sim.processes.signals, sent, "{step}");
        assert_eq!(sim.processes.orders.len(), 1, "another takes its place");
    }
}

#[test]
fn a_full_pool_has_a_place_for_another_only_when_a_rogue_is_given_up() {
    let model = PreFork::new(1).min_spare(1).max_spare(1).max_children(1);
    let mut sim = Simulator::of(model);
    sim.reconcile();
    let stuck = sim.all_ready()[0];
    sim.events.clear();
    let step = |sim: &mut Simulator<()>, step| {
        sim.act(|supervisor, processes, now| {
            supervisor.enforce(stuck, Violation::Hung, step, processes, now);
        });
    };
    step(&mut sim, LadderStep::Kill);
    assert_eq!(sim.processes.orders.len(), 0, "it is still there");
    step(&mut sim, LadderStep::GiveUp);
    assert_eq!(sim.processes.orders.len(), 1);
    let next = sim.all_ready()[0];
    // It goes after all.
    sim.kill(stuck);
    assert_eq!(
        sim.take_events_of(cause),
        [ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Hung))]
    );
    assert!(sim.processes.alive.contains_key(&next));
    assert_eq!(sim.processes.orders.len(), 0);
}

#[test]
fn children_that_hang_before_they_are_ready_are_not_forked_without_end() {
    let mut sim = running();
    let forks = (0..30)
        .filter(|_| {
            let Some(_) = sim.processes.orders.front() else {
                for child in sim.processes.alive.keys().copied().collect::<Vec<_>>() {
                    sim.kill(child);
                }
                return false;
            };
            let child = sim.fork_next();
            sim.act(|supervisor, processes, now| {
                supervisor.enforce(child, Violation::Hung, LadderStep::Kill, processes, now);
            });
            sim.kill(child);
            true
        })
        .count();
    assert!(forks <= 12, "{forks} forks in no time");
}

#[test]
fn a_rogue_is_remembered_as_one_even_if_it_was_retired_before() {
    let mut sim = running();
    let child = *sim.processes.alive.keys().next().expect("two are there");
    sim.act(|supervisor, processes, now| {
        supervisor.recycle(child, RecycleReason::Memory, processes, now)
    });
    sim.act(|supervisor, processes, now| {
        supervisor.enforce(child, Violation::Hung, LadderStep::Kill, processes, now);
    });
    sim.kill(child);
    let expected = ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Hung));
    assert_eq!(sim.take_events_of(cause), [expected]);
    assert_eq!(sim.supervisor.counters.failed_exits, 1);
}

#[test]
fn a_recycled_child_is_told_to_go_and_its_going_is_regular() {
    let mut sim = running();
    let child = *sim.processes.alive.keys().next().expect("two are there");
    sim.act(|supervisor, processes, now| {
        supervisor.recycle(child, RecycleReason::Lifetime, processes, now)
    });
    assert_eq!(sim.processes.signals, [(child, Signal::Term)]);
    sim.leave(child);
    assert_eq!(sim.take_events_of(cause), [ExitCause::Recycled(RecycleReason::Lifetime)]);
    assert_eq!((sim.supervisor.counters.clean_exits, sim.supervisor.counters.failed_exits), (1, 0));
}

#[test]
fn a_kill_that_is_nobody_s_of_us_is_the_kernel_s_if_its_counter_has_gone_up() {
    for (memory, told_to_go, expected) in [
        (OomKills::Unchanged, false, ExitCause::Killed { signal: 9, core: false }),
        (OomKills::New, false, ExitCause::OutOfMemory),
        (OomKills::New, true, ExitCause::OutOfMemory),
        (OomKills::Unchanged, true, ExitCause::Killed { signal: 9, core: false }),
    ] {
        let mut sim = running();
        let child = *sim.processes.alive.keys().next().expect("two are there");
        sim.processes.oom_kills = memory;
        if told_to_go {
            sim.act(|supervisor, processes, now| {
                supervisor.recycle(child, RecycleReason::Memory, processes, now)
            });
        }
        sim.kill(child);
        assert_eq!(sim.take_events_of(cause), [expected]);
    }
}

#[test]
fn memory_that_runs_out_before_a_child_is_ready_is_told_too() {
    let mut sim = running();
    let child = *sim.processes.alive.keys().next().expect("two are there");
    sim.report_status(child, Status::Serving);
    let newborn = sim.fork_next();
    sim.processes.oom_kills = OomKills::New;
    sim.kill(newborn);
    assert_eq!(sim.take_events_of(cause), [ExitCause::OutOfMemory]);
}

#[test]
fn an_end_that_nobody_knows_is_told_as_missing_and_the_place_is_taken() {
    let mut sim = running();
    let child = *sim.processes.alive.keys().next().expect("two are there");
    sim.die(child, Exit::Unknown);
    assert_eq!(sim.take_events_of(cause), [ExitCause::Missing]);
    assert_eq!(sim.supervisor.counters.exits.get("missing"), Some(&1));
    assert_eq!(sim.processes.orders.len(), 1);
}
