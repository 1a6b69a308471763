//! Tests of the steps against rogues, of recycling, and of the causes of exits.

use daemon_core::{Exit, ExitCause, KillReason, LadderStep, RecycleReason, Status, Violation};
use daemon_sys::process::Signal;

use super::simulator::Simulator;
use crate::events::DaemonEvent;
use crate::model::PreFork;
use crate::supervisor::Effect;

/// Returns a pool with two idle children, as many as `max_spare`, and room for two more children.
fn running() -> Simulator<()> {
    let model = PreFork::new(2).min_spare(2).max_spare(2).max_children(4);
    let mut sim = Simulator::of(model);
    sim.reconcile();
    sim.all_ready();
    sim.effects.clear();
    sim
}

fn cause(event: &Effect) -> Option<ExitCause> {
    match event {
        Effect::Event(DaemonEvent::Exited(exited)) => Some(exited.cause),
        _ => None,
    }
}

#[test]
fn each_step_of_the_ladder_except_give_up_sends_its_signal() {
    let table = [
        (LadderStep::Int, Some(Signal::Int)),
        (LadderStep::Term, Some(Signal::Term)),
        (LadderStep::Quit, Some(Signal::Quit)),
        (LadderStep::Kill, Some(Signal::Kill)),
        (LadderStep::GiveUp, None),
    ];
    for (step, signal) in table {
        let mut sim = running();
        let child = *sim.processes.alive.keys().next().expect("two children are alive");
        sim.act(|supervisor, processes, now| {
            supervisor.enforce(child, Violation::Hung, step, processes, now);
        });
        let sent: Vec<_> = signal.into_iter().map(|signal| (child, signal)).collect();
        assert_eq!(sim.processes.signals, sent, "{step}");
        assert_eq!(sim.processes.pending_forks.len(), 1, "the rogue is replaced");
    }
}

#[test]
fn a_full_pool_replaces_a_rogue_only_after_giving_up_on_it() {
    let model = PreFork::new(1).min_spare(1).max_spare(1).max_children(1);
    let mut sim = Simulator::of(model);
    sim.reconcile();
    let stuck = sim.all_ready()[0];
    sim.effects.clear();
    let step = |sim: &mut Simulator<()>, step| {
        sim.act(|supervisor, processes, now| {
            supervisor.enforce(stuck, Violation::Hung, step, processes, now);
        });
    };
    step(&mut sim, LadderStep::Kill);
    assert_eq!(sim.processes.pending_forks.len(), 0, "the rogue still exists");
    step(&mut sim, LadderStep::GiveUp);
    assert_eq!(sim.processes.pending_forks.len(), 1);
    let next = sim.all_ready()[0];
    // The rogue exits after all.
    sim.kill(stuck);
    assert_eq!(
        sim.take_effects_of(cause),
        [ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Hung))]
    );
    assert!(sim.processes.alive.contains_key(&next));
    assert_eq!(sim.processes.pending_forks.len(), 0);
}

#[test]
fn forks_are_limited_while_children_hang_before_they_are_ready() {
    let mut sim = running();
    let forks = (0..30)
        .filter(|_| {
            let Some(_) = sim.processes.pending_forks.front() else {
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
    assert!(forks <= 12, "{forks} forks without a delay");
}

#[test]
fn a_recycled_child_that_becomes_a_rogue_is_reported_with_its_violation() {
    let mut sim = running();
    let child = *sim.processes.alive.keys().next().expect("two children are alive");
    sim.act(|supervisor, processes, now| {
        supervisor.recycle(child, RecycleReason::Memory, processes, now);
    });
    sim.act(|supervisor, processes, now| {
        supervisor.enforce(child, Violation::Hung, LadderStep::Kill, processes, now);
    });
    sim.kill(child);
    let expected = ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Hung));
    assert_eq!(sim.take_effects_of(cause), [expected]);
    assert_eq!(sim.supervisor.counters.failed_exits, 1);
}

#[test]
fn a_recycled_child_is_asked_to_exit_and_its_exit_is_counted_as_clean() {
    let mut sim = running();
    let child = *sim.processes.alive.keys().next().expect("two children are alive");
    sim.act(|supervisor, processes, now| {
        supervisor.recycle(child, RecycleReason::Lifetime, processes, now);
    });
    assert_eq!(sim.processes.signals, [(child, Signal::Term)]);
    sim.leave(child);
    assert_eq!(sim.take_effects_of(cause), [ExitCause::Recycled(RecycleReason::Lifetime)]);
    assert_eq!((sim.supervisor.counters.clean_exits, sim.supervisor.counters.failed_exits), (1, 0));
}

#[test]
fn a_kill_not_sent_by_the_daemon_is_reported_as_out_of_memory_if_the_kernel_counted_an_oom_kill() {
    for (memory, asked_to_stop, expected) in [
        (0, false, ExitCause::Killed { signal: 9, core: false }),
        (1, false, ExitCause::OutOfMemory),
        (1, true, ExitCause::OutOfMemory),
        (0, true, ExitCause::Killed { signal: 9, core: false }),
    ] {
        let mut sim = running();
        let child = *sim.processes.alive.keys().next().expect("two children are alive");
        sim.processes.oom_kills = memory;
        if asked_to_stop {
            sim.act(|supervisor, processes, now| {
                supervisor.recycle(child, RecycleReason::Memory, processes, now);
            });
        }
        sim.kill(child);
        assert_eq!(sim.take_effects_of(cause), [expected]);
    }
}

#[test]
fn an_out_of_memory_kill_of_a_starting_child_is_reported() {
    let mut sim = running();
    let child = *sim.processes.alive.keys().next().expect("two children are alive");
    sim.report_status(child, Status::Serving);
    let starting = sim.fork_next();
    sim.processes.oom_kills = 1;
    sim.kill(starting);
    assert_eq!(sim.take_effects_of(cause), [ExitCause::OutOfMemory]);
}

#[test]
fn a_child_with_an_unknown_exit_status_is_reported_as_missing_and_replaced() {
    let mut sim = running();
    let child = *sim.processes.alive.keys().next().expect("two children are alive");
    sim.die(child, Exit::Unknown);
    assert_eq!(sim.take_effects_of(cause), [ExitCause::Missing]);
    assert_eq!(sim.supervisor.counters.exits.get("missing"), Some(&1));
    assert_eq!(sim.processes.pending_forks.len(), 1);
}
