//! What the operator orders: a child retired or killed, the daemon held.

use daemon_core::{AcceptChange, Exit, ExitCause, KillReason, OperatorPause, Phase, StopMode};
use daemon_sys::process::{Pid, Signal};

use super::simulator::Simulator;
use crate::messages::{CommandError, PauseOutcome};
use crate::model::{PostFork, PreFork};
use crate::parent::supervisor::SupervisorEvent;

fn pool() -> Simulator<()> {
    let model = PreFork::new(2).min_spare(2).max_spare(4).max_children(4);
    let mut sim = Simulator::of(model);
    sim.reconcile();
    sim.all_ready();
    sim.events.clear();
    sim
}

fn pid_of<R>(sim: &Simulator<R>, child: daemon_forkserver::ChildId) -> Pid {
    sim.processes.alive[&child].0
}

fn accept_changes<R: 'static>(sim: &mut Simulator<R>) -> Vec<AcceptChange> {
    sim.take_events_of(|event| match event {
        SupervisorEvent::AcceptChange(change) => Some(*change),
        _ => None,
    })
}

fn causes<R: 'static>(sim: &mut Simulator<R>) -> Vec<ExitCause> {
    sim.take_events_of(|event| match event {
        SupervisorEvent::ChildExited(exited) => Some(exited.cause),
        _ => None,
    })
}

fn any_child<R>(sim: &Simulator<R>) -> daemon_forkserver::ChildId {
    *sim.processes.alive.keys().next().unwrap()
}

#[test]
fn a_child_that_is_retired_is_told_to_go_and_replaced() {
    let mut sim = pool();
    let child = any_child(&sim);
    let pid = pid_of(&sim, child);
    let retired =
        sim.act(|supervisor, processes, now| supervisor.retire_child(pid, processes, now));
    assert_eq!(retired, Ok(child));
    assert_eq!(sim.signalled(Signal::Term), [child]);
    assert_eq!(sim.all_ready().len(), 1);
    sim.leave(child);
    assert_eq!(causes(&mut sim), [ExitCause::Retired]);
}

#[test]
fn a_child_that_is_killed_is_killed_by_the_operator_whatever_it_was_told_before() {
    let mut sim = pool();
    let child = any_child(&sim);
    let pid = pid_of(&sim, child);
    sim.act(|supervisor, processes, now| supervisor.retire_child(pid, processes, now)).unwrap();
    assert_eq!(sim.signalled(Signal::Term), [child]);
    assert_eq!(
        sim.act(|supervisor, processes, now| supervisor.kill_child(pid, processes, now)),
        Ok(child)
    );
    assert_eq!(sim.signalled(Signal::Kill), [child]);
    sim.die(child, Exit::Signal { number: 9, core: false });
    assert_eq!(causes(&mut sim), [ExitCause::KilledByDaemon(KillReason::Requested)]);
}

#[test]
fn who_is_no_child_is_neither_retired_nor_killed() {
    let mut sim = pool();
    let pid = Pid::from_raw(i32::MAX).unwrap();
    let refused = Err(CommandError::NoSuchChild { pid });
    assert_eq!(
        sim.act(|supervisor, processes, now| supervisor.retire_child(pid, processes, now)),
        refused
    );
    assert_eq!(
        sim.act(|supervisor, processes, now| supervisor.kill_child(pid, processes, now)),
        refused
    );
    assert!(sim.processes.signals.is_empty());
}

#[test]
fn a_daemon_that_stops_is_not_held_and_still_kills_who_is_in_its_way() {
    let mut sim = pool();
    let child = any_child(&sim);
    let pid = pid_of(&sim, child);
    sim.act(|supervisor, processes, now| supervisor.stop(StopMode::Graceful, processes, now));
    let refused = sim.act(|supervisor, processes, now| {
        supervisor.set_operator_pause(OperatorPause::On, processes, now)
    });
    assert_eq!(refused, Err(CommandError::Phase(Phase::Stopping)));
    let refused =
        sim.act(|supervisor, processes, now| supervisor.retire_child(pid, processes, now));
    assert_eq!(refused, Err(CommandError::Phase(Phase::Stopping)));
    assert_eq!(
        sim.act(|supervisor, processes, now| supervisor.kill_child(pid, processes, now)),
        Ok(child)
    );
}

#[test]
fn a_pool_that_is_held_tells_its_children_to_look() {
    let mut sim = pool();
    let pause = |sim: &mut Simulator<()>, word| {
        sim.act(|supervisor, processes, now| supervisor.set_operator_pause(word, processes, now))
            .unwrap()
    };
    assert_eq!(pause(&mut sim, OperatorPause::Off), PauseOutcome::Already);
    assert!(sim.processes.to_all.is_empty());
    assert_eq!(pause(&mut sim, OperatorPause::On), PauseOutcome::Now);
    assert_eq!(sim.supervisor.accept_state(), daemon_core::AcceptState::Paused);
    assert_eq!(pause(&mut sim, OperatorPause::On), PauseOutcome::Already);
    assert_eq!(pause(&mut sim, OperatorPause::Off), PauseOutcome::Now);
    assert_eq!(sim.processes.to_all, [Signal::Cont, Signal::Cont]);
    assert_eq!(accept_changes(&mut sim), [AcceptChange::Pause, AcceptChange::Resume]);
}

#[test]
fn a_forking_daemon_that_is_held_shuts_its_door_and_serves_who_comes_in_all_the_same() {
    let mut sim: Simulator<u32> = Simulator::of(PostFork::new(2).backlog(4));
    sim.reconcile();
    sim.act(|supervisor, processes, now| {
        supervisor.set_operator_pause(OperatorPause::On, processes, now)
    })
    .unwrap();
    assert_eq!(accept_changes(&mut sim), [AcceptChange::Pause]);
    let _answer = sim.hand_over(7);
    let child = sim.fork_next();
    sim.leave(child);
    assert_eq!(accept_changes(&mut sim), []);
    sim.act(|supervisor, processes, now| {
        supervisor.set_operator_pause(OperatorPause::Off, processes, now)
    })
    .unwrap();
    assert_eq!(accept_changes(&mut sim), [AcceptChange::Resume]);
}

#[test]
fn requests_that_go_back_are_counted() {
    let mut sim: Simulator<u32> = Simulator::of(PostFork::new(1).backlog(1));
    sim.reconcile();
    let _answers: Vec<_> = (0..4).map(|request| sim.hand_over(request)).collect();
    assert_eq!(sim.supervisor.counters().returned, 2);
    sim.act(|supervisor, processes, now| supervisor.stop(StopMode::Immediate, processes, now));
    assert_eq!(sim.supervisor.counters().returned, 3);
}
