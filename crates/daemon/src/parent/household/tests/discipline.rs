//! What verdicts lead to: signals, the places of those who are told to go, and causes.

use daemon_core::{Exit, ExitCause, KillReason, LadderStep, RecycleReason, Status, Violation};
use daemon_sys::process::Signal;

use super::stage::Stage;
use crate::model::PreFork;
use crate::parent::hands::Memory;
use crate::parent::household::Notice;

/// Two children that are all there may be idle, and room for two more.
fn running() -> Stage<()> {
    let model = PreFork::new(2).min_spare(2).max_spare(2).max_children(4);
    let mut stage = Stage::of(model);
    stage.settle();
    stage.all_ready();
    stage.told.clear();
    stage
}

fn cause(notice: &Notice) -> Option<ExitCause> {
    match notice {
        Notice::Exited(exited) => Some(exited.cause),
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
    for (measure, signal) in table {
        let mut stage = running();
        let child = *stage.hands.alive.keys().next().expect("two are there");
        stage.act(|house, hands, now| {
            house.discipline(child, Violation::Hung, measure, hands, now);
        });
        let sent: Vec<_> = signal.into_iter().map(|signal| (child, signal)).collect();
        assert_eq!(stage.hands.signals, sent, "{measure}");
        assert_eq!(stage.hands.orders.len(), 1, "another takes its place");
    }
}

#[test]
fn a_full_pool_has_a_place_for_another_only_when_a_rogue_is_given_up() {
    let model = PreFork::new(1).min_spare(1).max_spare(1).max_children(1);
    let mut stage = Stage::of(model);
    stage.settle();
    let stuck = stage.all_ready()[0];
    stage.told.clear();
    let step = |stage: &mut Stage<()>, measure| {
        stage.act(|house, hands, now| {
            house.discipline(stuck, Violation::Hung, measure, hands, now);
        });
    };
    step(&mut stage, LadderStep::Kill);
    assert_eq!(stage.hands.orders.len(), 0, "it is still there");
    step(&mut stage, LadderStep::GiveUp);
    assert_eq!(stage.hands.orders.len(), 1);
    let next = stage.all_ready()[0];
    // It goes after all.
    stage.is_killed(stuck);
    assert_eq!(stage.told(cause), [ExitCause::KilledByUs(KillReason::Rogue(Violation::Hung))]);
    assert!(stage.hands.alive.contains_key(&next));
    assert_eq!(stage.hands.orders.len(), 0);
}

#[test]
fn children_that_hang_before_they_are_ready_are_not_forked_without_end() {
    let mut stage = running();
    let forks = (0..30)
        .filter(|_| {
            let Some(_) = stage.hands.orders.front() else {
                for child in stage.hands.alive.keys().copied().collect::<Vec<_>>() {
                    stage.is_killed(child);
                }
                return false;
            };
            let child = stage.born();
            stage.act(|house, hands, now| {
                house.discipline(child, Violation::Hung, LadderStep::Kill, hands, now);
            });
            stage.is_killed(child);
            true
        })
        .count();
    assert!(forks <= 12, "{forks} forks in no time");
}

#[test]
fn a_rogue_is_remembered_as_one_even_if_it_was_retired_before() {
    let mut stage = running();
    let child = *stage.hands.alive.keys().next().expect("two are there");
    stage.act(|house, hands, now| house.recycle(child, RecycleReason::Memory, hands, now));
    stage.act(|house, hands, now| {
        house.discipline(child, Violation::Hung, LadderStep::Kill, hands, now);
    });
    stage.is_killed(child);
    let expected = ExitCause::KilledByUs(KillReason::Rogue(Violation::Hung));
    assert_eq!(stage.told(cause), [expected]);
    assert_eq!(stage.house.counters.died, 1);
}

#[test]
fn a_recycled_child_is_told_to_go_and_its_going_is_regular() {
    let mut stage = running();
    let child = *stage.hands.alive.keys().next().expect("two are there");
    stage.act(|house, hands, now| house.recycle(child, RecycleReason::Lifetime, hands, now));
    assert_eq!(stage.hands.signals, [(child, Signal::Term)]);
    stage.leaves(child);
    assert_eq!(stage.told(cause), [ExitCause::Recycled(RecycleReason::Lifetime)]);
    assert_eq!((stage.house.counters.left, stage.house.counters.died), (1, 0));
}

#[test]
fn a_kill_that_is_nobody_s_of_us_is_the_kernel_s_if_its_counter_has_gone_up() {
    for (memory, told_to_go, expected) in [
        (Memory::Lasts, false, ExitCause::Killed { signal: 9, core: false }),
        (Memory::HasRunOut, false, ExitCause::OutOfMemory),
        (Memory::HasRunOut, true, ExitCause::OutOfMemory),
        (Memory::Lasts, true, ExitCause::Killed { signal: 9, core: false }),
    ] {
        let mut stage = running();
        let child = *stage.hands.alive.keys().next().expect("two are there");
        stage.hands.memory = memory;
        if told_to_go {
            stage.act(|house, hands, now| house.recycle(child, RecycleReason::Memory, hands, now));
        }
        stage.is_killed(child);
        assert_eq!(stage.told(cause), [expected]);
    }
}

#[test]
fn memory_that_runs_out_before_a_child_is_ready_is_told_too() {
    let mut stage = running();
    let child = *stage.hands.alive.keys().next().expect("two are there");
    stage.does(child, Status::Serving);
    let newborn = stage.born();
    stage.hands.memory = Memory::HasRunOut;
    stage.is_killed(newborn);
    assert_eq!(stage.told(cause), [ExitCause::OutOfMemory]);
}

#[test]
fn an_end_that_nobody_knows_is_told_as_missing_and_the_place_is_taken() {
    let mut stage = running();
    let child = *stage.hands.alive.keys().next().expect("two are there");
    stage.dies(child, Exit::Unknown);
    assert_eq!(stage.told(cause), [ExitCause::Missing]);
    assert_eq!(stage.house.counters.exits.get("missing"), Some(&1));
    assert_eq!(stage.hands.orders.len(), 1);
}
