//! Tests of the operator's commands: retiring and killing a child, and pausing the daemon. Also
//! tests the counters of pauses and of returned requests.

use daemon_core::{
    AcceptState, Exit, ExitCause, KillReason, OperatorPause, Phase, StopMode, StopReason,
};
use daemon_sys::process::{Pid, Signal};

use super::simulator::Simulator;
use crate::events::DaemonEvent;
use crate::messages::{CommandError, PauseOutcome};
use crate::model::{PostFork, PreFork};
use crate::supervisor::{Effect, Origin};

fn pool() -> Simulator<()> {
    let model = PreFork::new(2).min_spare(2).max_spare(4).max_children(4);
    let mut sim = Simulator::of(model);
    sim.reconcile();
    sim.all_ready();
    sim.effects.clear();
    sim
}

fn pid_of<R>(sim: &Simulator<R>, child: daemon_forkserver::ChildId) -> Pid {
    sim.processes.alive[&child].0
}

fn accept_changes<R: 'static>(sim: &mut Simulator<R>) -> Vec<AcceptState> {
    sim.take_effects_of(|event| match event {
        Effect::Event(DaemonEvent::Accepting { state }) => Some(*state),
        _ => None,
    })
}

fn causes<R: 'static>(sim: &mut Simulator<R>) -> Vec<ExitCause> {
    sim.take_effects_of(|event| match event {
        Effect::Event(DaemonEvent::Exited(exited)) => Some(exited.cause),
        _ => None,
    })
}

fn any_child<R>(sim: &Simulator<R>) -> daemon_forkserver::ChildId {
    *sim.processes.alive.keys().next().unwrap()
}

#[test]
fn a_retired_child_is_asked_to_exit_and_replaced() {
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
fn a_retired_child_that_is_killed_is_reported_as_killed() {
    let mut sim = pool();
    let child = any_child(&sim);
    let pid = pid_of(&sim, child);
    sim.act(|supervisor, processes, now| supervisor.retire_child(pid, processes, now)).unwrap();
    assert_eq!(sim.signalled(Signal::Term), [child]);
    assert_eq!(
        sim.act(|supervisor, processes, now| supervisor.kill_child(
            pid,
            StopReason::Killed,
            processes,
            now
        )),
        Ok(child)
    );
    assert_eq!(sim.signalled(Signal::Kill), [child]);
    sim.die(child, Exit::Signal { number: 9, core: false });
    assert_eq!(causes(&mut sim), [ExitCause::KilledByDaemon(KillReason::Requested)]);
}

#[test]
fn an_unknown_pid_is_neither_retired_nor_killed() {
    let mut sim = pool();
    let pid = Pid::from_raw(i32::MAX).unwrap();
    let refused = Err(CommandError::NoSuchChild { pid });
    assert_eq!(
        sim.act(|supervisor, processes, now| supervisor.retire_child(pid, processes, now)),
        refused
    );
    assert_eq!(
        sim.act(|supervisor, processes, now| supervisor.kill_child(
            pid,
            StopReason::Killed,
            processes,
            now
        )),
        refused
    );
    assert!(sim.processes.signals.is_empty());
}

#[test]
fn a_stopping_daemon_refuses_pause_and_retire_but_still_kills_a_child() {
    let mut sim = pool();
    let child = any_child(&sim);
    let pid = pid_of(&sim, child);
    sim.act(|supervisor, processes, now| {
        supervisor.stop(StopMode::Graceful, Origin::Message, processes, now);
    });
    let refused = sim
        .act(|supervisor, processes, now| supervisor.set_pause(OperatorPause::On, processes, now));
    assert_eq!(refused, Err(CommandError::Phase(Phase::Stopping)));
    let refused =
        sim.act(|supervisor, processes, now| supervisor.retire_child(pid, processes, now));
    assert_eq!(refused, Err(CommandError::Phase(Phase::Stopping)));
    assert_eq!(
        sim.act(|supervisor, processes, now| supervisor.kill_child(
            pid,
            StopReason::Killed,
            processes,
            now
        )),
        Ok(child)
    );
}

#[test]
fn pausing_and_resuming_a_pool_signals_its_children() {
    let mut sim = pool();
    let pause = |sim: &mut Simulator<()>, word| {
        sim.act(|supervisor, processes, now| supervisor.set_pause(word, processes, now)).unwrap()
    };
    assert_eq!(pause(&mut sim, OperatorPause::Off), PauseOutcome::Already);
    assert!(sim.processes.to_all.is_empty());
    assert_eq!(sim.processes.published.1, OperatorPause::Off);
    assert_eq!(pause(&mut sim, OperatorPause::On), PauseOutcome::Now);
    assert_eq!(sim.processes.published.1, OperatorPause::On);
    assert_eq!(sim.supervisor.accept_state(), AcceptState::Paused);
    assert_eq!(pause(&mut sim, OperatorPause::On), PauseOutcome::Already);
    assert_eq!(pause(&mut sim, OperatorPause::Off), PauseOutcome::Now);
    assert_eq!(sim.processes.to_all, [Signal::Cont, Signal::Cont]);
    assert_eq!(accept_changes(&mut sim), [AcceptState::Paused, AcceptState::Accepting]);
}

#[test]
fn a_paused_post_forking_daemon_still_serves_requests_that_are_handed_over() {
    let mut sim: Simulator<u32> = Simulator::of(PostFork::new(2).backlog(4));
    sim.reconcile();
    sim.act(|supervisor, processes, now| supervisor.set_pause(OperatorPause::On, processes, now))
        .unwrap();
    assert_eq!(accept_changes(&mut sim), [AcceptState::Paused]);
    let _answer = sim.hand_over(7);
    let child = sim.fork_next();
    sim.leave(child);
    assert_eq!(accept_changes(&mut sim), []);
    sim.act(|supervisor, processes, now| supervisor.set_pause(OperatorPause::Off, processes, now))
        .unwrap();
    assert_eq!(accept_changes(&mut sim), [AcceptState::Accepting]);
}

#[test]
fn requests_returned_by_a_full_backlog_or_an_immediate_stop_are_counted() {
    let mut sim: Simulator<u32> = Simulator::of(PostFork::new(1).backlog(1));
    sim.reconcile();
    let _answers: Vec<_> = (0..4).map(|request| sim.hand_over(request)).collect();
    assert_eq!(sim.supervisor.counters().returned, 2);
    sim.act(|supervisor, processes, now| {
        supervisor.stop(StopMode::Immediate, Origin::Message, processes, now);
    });
    assert_eq!(sim.supervisor.counters().returned, 3);
}

#[test]
fn pauses_by_the_operator_and_by_a_full_pool_are_counted_separately() {
    let mut sim: Simulator<u32> = Simulator::of(PostFork::new(1).backlog(4));
    sim.reconcile();
    let counted = |sim: &Simulator<u32>| {
        let counters = sim.supervisor.counters();
        (counters.operator_pauses, counters.pool_full)
    };
    let _answer = sim.hand_over(7);
    assert_eq!(counted(&sim), (0, 1));
    for pause in [OperatorPause::On, OperatorPause::Off, OperatorPause::On] {
        sim.act(|supervisor, processes, now| supervisor.set_pause(pause, processes, now)).unwrap();
    }
    assert_eq!(counted(&sim), (2, 1));
}
