//! What the operator orders: a child retired or killed, the daemon held.

use daemon_core::{AcceptChange, Exit, ExitCause, KillReason, OperatorPause, Phase, StopMode};
use daemon_sys::process::{Pid, Signal};

use super::stage::Stage;
use crate::messages::{PauseOutcome, Refusal};
use crate::model::{PostFork, PreFork};
use crate::parent::household::Notice;

fn pool() -> Stage<()> {
    let model = PreFork::new(2).min_spare(2).max_spare(4).max_children(4);
    let mut stage = Stage::of(model);
    stage.settle();
    stage.all_ready();
    stage.told.clear();
    stage
}

fn pid_of<R>(stage: &Stage<R>, child: daemon_forkserver::ChildId) -> Pid {
    stage.hands.alive[&child].0
}

fn swings<R: 'static>(stage: &mut Stage<R>) -> Vec<AcceptChange> {
    stage.told(|notice| match notice {
        Notice::AcceptChange(swing) => Some(*swing),
        _ => None,
    })
}

fn causes<R: 'static>(stage: &mut Stage<R>) -> Vec<ExitCause> {
    stage.told(|notice| match notice {
        Notice::Exited(exited) => Some(exited.cause),
        _ => None,
    })
}

fn any_child<R>(stage: &Stage<R>) -> daemon_forkserver::ChildId {
    *stage.hands.alive.keys().next().unwrap()
}

#[test]
fn a_child_that_is_retired_is_told_to_go_and_replaced() {
    let mut stage = pool();
    let child = any_child(&stage);
    let pid = pid_of(&stage, child);
    let retired = stage.act(|house, hands, now| house.retire_one(pid, hands, now));
    assert_eq!(retired, Ok(child));
    assert_eq!(stage.signalled(Signal::Term), [child]);
    assert_eq!(stage.all_ready().len(), 1);
    stage.leaves(child);
    assert_eq!(causes(&mut stage), [ExitCause::Retired]);
}

#[test]
fn a_child_that_is_killed_is_killed_by_the_operator_whatever_it_was_told_before() {
    let mut stage = pool();
    let child = any_child(&stage);
    let pid = pid_of(&stage, child);
    stage.act(|house, hands, now| house.retire_one(pid, hands, now)).unwrap();
    assert_eq!(stage.signalled(Signal::Term), [child]);
    assert_eq!(stage.act(|house, hands, now| house.kill_one(pid, hands, now)), Ok(child));
    assert_eq!(stage.signalled(Signal::Kill), [child]);
    stage.dies(child, Exit::Signal { number: 9, core: false });
    assert_eq!(causes(&mut stage), [ExitCause::KilledByUs(KillReason::Requested)]);
}

#[test]
fn who_is_no_child_is_neither_retired_nor_killed() {
    let mut stage = pool();
    let pid = Pid::from_raw(i32::MAX).unwrap();
    let refused = Err(Refusal::NoSuchChild { pid });
    assert_eq!(stage.act(|house, hands, now| house.retire_one(pid, hands, now)), refused);
    assert_eq!(stage.act(|house, hands, now| house.kill_one(pid, hands, now)), refused);
    assert!(stage.hands.signals.is_empty());
}

#[test]
fn a_daemon_that_stops_is_not_held_and_still_kills_who_is_in_its_way() {
    let mut stage = pool();
    let child = any_child(&stage);
    let pid = pid_of(&stage, child);
    stage.act(|house, hands, now| house.stop(StopMode::Graceful, hands, now));
    let refused = stage.act(|house, hands, now| house.hold(OperatorPause::On, hands, now));
    assert_eq!(refused, Err(Refusal::Phase(Phase::Stopping)));
    let refused = stage.act(|house, hands, now| house.retire_one(pid, hands, now));
    assert_eq!(refused, Err(Refusal::Phase(Phase::Stopping)));
    assert_eq!(stage.act(|house, hands, now| house.kill_one(pid, hands, now)), Ok(child));
}

#[test]
fn a_pool_that_is_held_tells_its_children_to_look() {
    let mut stage = pool();
    let hold = |stage: &mut Stage<()>, word| {
        stage.act(|house, hands, now| house.hold(word, hands, now)).unwrap()
    };
    assert_eq!(hold(&mut stage, OperatorPause::Off), PauseOutcome::Already);
    assert!(stage.hands.to_all.is_empty());
    assert_eq!(hold(&mut stage, OperatorPause::On), PauseOutcome::Now);
    assert_eq!(stage.house.door(), daemon_core::AcceptState::Paused);
    assert_eq!(hold(&mut stage, OperatorPause::On), PauseOutcome::Already);
    assert_eq!(hold(&mut stage, OperatorPause::Off), PauseOutcome::Now);
    assert_eq!(stage.hands.to_all, [Signal::Cont, Signal::Cont]);
    assert_eq!(swings(&mut stage), [AcceptChange::Pause, AcceptChange::Resume]);
}

#[test]
fn a_forking_daemon_that_is_held_shuts_its_door_and_serves_who_comes_in_all_the_same() {
    let mut stage: Stage<u32> = Stage::of(PostFork::new(2).backlog(4));
    stage.settle();
    stage.act(|house, hands, now| house.hold(OperatorPause::On, hands, now)).unwrap();
    assert_eq!(swings(&mut stage), [AcceptChange::Pause]);
    let _answer = stage.hand_over(7);
    let child = stage.born();
    stage.leaves(child);
    assert_eq!(swings(&mut stage), []);
    stage.act(|house, hands, now| house.hold(OperatorPause::Off, hands, now)).unwrap();
    assert_eq!(swings(&mut stage), [AcceptChange::Resume]);
}

#[test]
fn requests_that_go_back_are_counted() {
    let mut stage: Stage<u32> = Stage::of(PostFork::new(1).backlog(1));
    stage.settle();
    let _answers: Vec<_> = (0..4).map(|request| stage.hand_over(request)).collect();
    assert_eq!(stage.house.counters().handed_back, 2);
    stage.act(|house, hands, now| house.stop(StopMode::Immediate, hands, now));
    assert_eq!(stage.house.counters().handed_back, 3);
}
