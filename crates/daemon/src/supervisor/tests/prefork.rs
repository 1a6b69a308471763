//! Tests of a pool: how it starts, grows, shrinks and handles failures.

use std::time::Duration;

use daemon_core::{Exit, ExitCause, FailureReason, Phase, Status};
use daemon_sys::process::Signal;

use super::simulator::{AGAIN, BOOT_TIMEOUT, Simulator};
use crate::child::EXIT_CANNOT_ACCEPT;
use crate::events::DaemonEvent;
use crate::model::PreFork;
use crate::supervisor::{Effect, Lifecycle};
use daemon_core::Resize;

fn pool() -> PreFork {
    PreFork::new(3).min_spare(2).max_spare(4).max_children(6)
}

fn running() -> Simulator<()> {
    let mut sim = Simulator::of(pool());
    sim.reconcile();
    sim.all_ready();
    assert_eq!(sim.supervisor.phase(), Phase::Running);
    sim.effects.clear();
    sim
}

fn ready(event: &Effect) -> Option<()> {
    matches!(event, Effect::Entered(Lifecycle::Running)).then_some(())
}

fn start_failures(event: &Effect) -> Option<String> {
    match event {
        Effect::Failed(error) => Some(error.to_string()),
        _ => None,
    }
}

fn backoffs(event: &Effect) -> Option<(Duration, FailureReason)> {
    match event {
        Effect::ForkBackoff(state) => Some((state.delay, state.reason)),
        _ => None,
    }
}

#[test]
fn a_pool_is_ready_when_its_last_initial_child_is_ready() {
    let mut sim = Simulator::of(pool());
    sim.reconcile();
    assert_eq!(sim.processes.pending_forks.len(), 3);
    for _child in 0..2 {
        let child = sim.fork_next();
        sim.report_status(child, Status::Fresh);
    }
    assert_eq!(sim.supervisor.phase(), Phase::Starting);
    let last = sim.fork_next();
    assert_eq!(sim.take_effects_of(ready), []);
    sim.report_status(last, Status::Fresh);
    assert_eq!(sim.supervisor.phase(), Phase::Running);
    assert_eq!(sim.take_effects_of(ready), [()]);
    assert_eq!(sim.supervisor.next_wake(), None, "no timer is needed");
}

#[test]
fn a_pool_keeps_min_spare_and_grows_up_to_max_children() {
    let mut sim = running();
    let first = sim.processes.alive.keys().copied().collect::<Vec<_>>();
    sim.report_status(first[0], Status::Serving);
    assert_eq!(sim.processes.pending_forks.len(), 0, "two children are idle");
    sim.report_status(first[1], Status::Serving);
    assert_eq!(sim.processes.pending_forks.len(), 1);
    sim.report_status(first[2], Status::Serving);
    assert_eq!(sim.processes.pending_forks.len(), 2);
    for child in sim.all_ready() {
        sim.report_status(child, Status::Long);
    }
    for child in sim.all_ready() {
        sim.report_status(child, Status::Long);
    }
    assert_eq!(sim.processes.children(), 6);
    let caps = sim.take_effects_of(|event| match event {
        Effect::MaxChildrenReached { max_children, spare, min_spare } => {
            Some((*max_children, *spare, *min_spare))
        }
        _ => None,
    });
    assert_eq!(
        caps,
        [(6, 1, 2)],
        "the full pool is reported once, while one of six children is still spare"
    );
}

#[test]
fn a_killed_child_is_replaced_immediately_if_fewer_than_the_initial_children_are_left() {
    let mut sim = running();
    let children: Vec<_> = sim.processes.alive.keys().copied().collect();
    sim.kill(children[0]);
    assert_eq!(sim.processes.pending_forks.len(), 1, "two idle children are min_spare");
    sim.kill(children[1]);
    assert_eq!(sim.processes.pending_forks.len(), 2);
    let causes = sim.take_effects_of(|event| match event {
        Effect::Event(DaemonEvent::Exited(exited)) => Some(exited.cause),
        _ => None,
    });
    let killed = ExitCause::Killed { signal: 9, core: false };
    assert_eq!(causes, [killed, killed]);
}

#[test]
fn the_longest_idle_children_are_retired_after_the_retire_delay() {
    let mut sim = Simulator::of(pool().retire_delay(Duration::from_secs(2)));
    sim.reconcile();
    let mut all = sim.all_ready();
    for child in all.clone() {
        sim.report_status(child, Status::Serving);
    }
    all.extend(sim.all_ready());
    for child in &all[3..] {
        sim.report_status(*child, Status::Serving);
    }
    all.extend(sim.all_ready());
    assert_eq!(all.len(), 6);
    for child in &all {
        sim.now = sim.now + Duration::from_millis(1);
        sim.report_status(*child, Status::Serving);
        sim.report_status(*child, Status::Waiting);
    }
    assert_eq!(sim.signalled(Signal::Term), []);
    sim.wake();
    assert_eq!(sim.signalled(Signal::Term), all[..1], "five children were idle");
    sim.wake();
    assert_eq!(sim.signalled(Signal::Term), all[1..2]);
    sim.wake_or_reconcile();
    assert_eq!(sim.signalled(Signal::Term), []);
    for child in &all[..2] {
        sim.leave(*child);
    }
    assert_eq!(sim.processes.children(), 4);
    assert_eq!(sim.supervisor.counters.clean_exits, 2);
}

#[test]
fn after_failed_forks_one_child_is_forked_before_the_others() {
    let mut sim = Simulator::of(pool());
    sim.reconcile();
    sim.fork_fails(AGAIN);
    sim.fork_fails(AGAIN);
    sim.fork_fails(AGAIN);
    assert_eq!(sim.processes.pending_forks.len(), 0);
    sim.wake();
    assert_eq!(sim.processes.pending_forks.len(), 1, "one child tests whether forks succeed");
    sim.reconcile();
    assert_eq!(sim.processes.pending_forks.len(), 1);
    sim.all_ready();
    assert_eq!(sim.processes.children(), 3);
    assert_eq!(sim.take_effects_of(ready), [()]);
}

#[test]
fn the_start_succeeds_after_one_failed_fork() {
    let mut sim = Simulator::of(pool());
    sim.reconcile();
    sim.fork_fails(AGAIN);
    sim.all_ready();
    if sim.supervisor.phase() == Phase::Starting {
        sim.wake();
        sim.all_ready();
    }
    assert_eq!(sim.supervisor.phase(), Phase::Running);
    assert_eq!(sim.processes.children(), 3);
}

#[test]
fn the_start_succeeds_although_one_child_died_before_it_was_ready() {
    let mut sim = Simulator::of(pool());
    sim.reconcile();
    let child = sim.fork_next();
    sim.die(child, Exit::Code(1));
    sim.all_ready();
    assert_eq!(sim.supervisor.phase(), Phase::Running);
    assert_eq!(sim.processes.children(), 3);
}

#[test]
fn a_backoff_is_reported_once() {
    let mut sim = Simulator::of(pool());
    sim.reconcile();
    sim.fork_fails(AGAIN);
    for _each in 0..10 {
        sim.reconcile();
    }
    assert_eq!(
        sim.take_effects_of(backoffs),
        [(Duration::from_millis(100), FailureReason::Errno(11))]
    );
    sim.processes.pending_forks.clear();
}

#[test]
fn the_start_fails_after_five_children_died_before_they_were_ready() {
    let mut sim = Simulator::of(PreFork::new(1).max_children(2));
    sim.reconcile();
    for death in 1..=5 {
        let child = sim.fork_next();
        sim.die(child, Exit::Code(7));
        assert_eq!(sim.take_effects_of(start_failures).len(), usize::from(death == 5));
    }
}

#[test]
fn children_that_cannot_accept_delay_the_next_fork_however_long_they_lived() {
    let mut sim = Simulator::of(PreFork::new(1).max_children(1));
    sim.reconcile();
    for death in 1..=6 {
        let child = sim.all_ready()[0];
        sim.advance(Duration::from_secs(5));
        sim.die(child, Exit::Code(EXIT_CANNOT_ACCEPT));
        sim.reconcile();
        let reason = FailureReason::Exit(ExitCause::Exited(EXIT_CANNOT_ACCEPT));
        let expected = (death == 6).then_some((Duration::from_millis(100), reason));
        assert_eq!(sim.take_effects_of(backoffs), Vec::from_iter(expected), "{death}");
    }
    assert!(sim.processes.pending_forks.is_empty());
}

#[test]
fn each_death_after_the_sixth_doubles_the_delay_before_the_next_fork() {
    let mut sim = Simulator::of(PreFork::new(1).max_children(1));
    sim.reconcile();
    // A start would fail earlier.
    let child = sim.all_ready()[0];
    sim.die(child, Exit::Code(7));
    let mut pauses = Vec::new();
    for _death in 0..9 {
        if sim.processes.pending_forks.is_empty() {
            let before = sim.now;
            sim.wake();
            pauses.push(sim.now.saturating_since(before).as_millis());
        }
        let child = sim.fork_next();
        sim.die(child, Exit::Code(7));
    }
    assert_eq!(pauses, [100, 200, 400]);
}

#[test]
fn the_start_fails_if_the_initial_children_are_not_ready_in_time() {
    let mut sim = Simulator::of(pool());
    sim.reconcile();
    let child = sim.fork_next();
    sim.report_status(child, Status::Fresh);
    sim.advance(BOOT_TIMEOUT);
    sim.reconcile();
    assert_eq!(
        sim.take_effects_of(start_failures),
        ["the initial children did not become ready in time: 1 of 3 are ready"]
    );
}

/// Returns how often the pool was reported as full.
fn full(sim: &mut Simulator<()>) -> usize {
    let full = |event: &Effect| match event {
        Effect::MaxChildrenReached { .. } => Some(()),
        _ => None,
    };
    sim.take_effects_of(full).len()
}

#[test]
fn a_fixed_pool_stays_at_its_size_and_is_not_reported_as_full() {
    for model in [PreFork::fixed(3), PreFork::new(3).max_children(3)] {
        let mut sim = Simulator::of(model);
        sim.reconcile();
        let children = sim.all_ready();
        assert_eq!((children.len(), sim.supervisor.next_wake()), (3, None), "no timer");
        for child in &children {
            sim.report_status(*child, Status::Serving);
        }
        assert_eq!((sim.processes.pending_forks.len(), full(&mut sim)), (0, 0));
        sim.die(children[0], Exit::Code(7));
        assert_eq!(sim.processes.pending_forks.len(), 1);
        sim.all_ready();
        let resize = |sim: &mut Simulator<()>, to| {
            sim.act(|supervisor, processes, now| supervisor.resize(Resize::To(to), processes, now))
        };
        assert_eq!(resize(&mut sim, 5).unwrap().max_children, 5);
        assert_eq!(sim.all_ready().len(), 2);
        assert_eq!(
            resize(&mut sim, 17).unwrap_err().to_string(),
            "cannot resize to 17: the scoreboard has 16 slots"
        );
    }
}

#[test]
fn a_pool_without_limits_for_spare_children_keeps_its_initial_children_while_it_is_idle() {
    for model in [
        PreFork::new(4),
        PreFork::new(4).max_children(5),
        PreFork::new(4).max_children(32),
        PreFork::new(9).max_children(10),
        PreFork::new(1).max_children(1),
    ] {
        let mut sim = Simulator::of(model.clone());
        sim.reconcile();
        sim.all_ready();
        let idle = (sim.processes.pending_forks.len(), sim.supervisor.next_wake(), full(&mut sim));
        assert_eq!(idle, (0, None, 0), "{model:?}");
    }
}

#[test]
fn a_resize_takes_effect_immediately() {
    let mut sim = running();
    let resized =
        sim.act(|supervisor, processes, now| supervisor.resize(Resize::To(5), processes, now));
    assert_eq!(resized.unwrap().min_spare, 5);
    assert_eq!(sim.processes.pending_forks.len(), 2);
    sim.all_ready();
    let refused =
        sim.act(|supervisor, processes, now| supervisor.resize(Resize::To(7), processes, now));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "cannot resize to 7: max_children limits the pool to 6 children"
    );
}
