//! A child for each request: who is forked for, who waits, who goes back.

use daemon_core::{AcceptChange, Exit, ExitCause, Phase, Status};
use daemon_forkserver::ForkRefusal;

use super::simulator::{AGAIN, Reply, Simulator};
use crate::messages::{HandOverErrorReason, Resize};
use crate::model::PostFork;
use crate::parent::supervisor::{Supervisor, SupervisorEvent};

pub(super) fn sim(max_children: u32, backlog: u32) -> Simulator<u32> {
    let mut sim = Simulator::of(PostFork::new(max_children).backlog(backlog));
    sim.reconcile();
    assert_eq!(sim.supervisor.phase(), Phase::Running);
    sim.events.clear();
    sim
}

/// The requests that are on order, in order.
fn ordered(sim: &Simulator<u32>) -> Vec<u32> {
    sim.processes.orders.iter().map(|(_, request)| *request).collect()
}

pub(super) fn accept_changes(sim: &mut Simulator<u32>) -> Vec<AcceptChange> {
    sim.take_events_of(|event| match event {
        SupervisorEvent::AcceptChange(change) => Some(*change),
        _ => None,
    })
}

/// The request that came back, and why.
pub(super) fn back(answer: &mut Reply<u32>) -> (u32, HandOverErrorReason) {
    let back = answer
        .try_recv()
        .expect("somebody answers")
        .expect("it is answered")
        .expect_err("it came back");
    (back.request, back.reason)
}

pub(super) fn is_answered(answer: &mut Reply<u32>) -> bool {
    answer.try_recv().expect("somebody answers").is_some()
}

#[test]
fn a_request_is_answered_when_its_child_is_born() {
    let mut sim = sim(2, 0);
    let mut answer = sim.hand_over(7);
    assert_eq!(ordered(&sim), [7]);
    assert!(!is_answered(&mut answer));
    let child = sim.fork_next();
    let handed = answer.try_recv().unwrap().unwrap().unwrap();
    assert_eq!(handed.child, child);
    assert_eq!(handed.pid, sim.processes.alive[&child].0);
}

#[test]
fn requests_that_wait_are_served_first_come_first_served() {
    let mut sim = sim(2, 10);
    let _answers: Vec<_> = (0..5).map(|request| sim.hand_over(request)).collect();
    assert_eq!(ordered(&sim), [0, 1]);
    assert_eq!(sim.supervisor.waiting(), 3);
    let first = sim.fork_next();
    let second = sim.fork_next();
    sim.leave(second);
    assert_eq!(ordered(&sim), [2]);
    sim.leave(first);
    assert_eq!(ordered(&sim), [2, 3]);
    let causes = sim.take_events_of(|event| match event {
        SupervisorEvent::ChildExited(exited) => Some(exited.cause),
        _ => None,
    });
    assert_eq!(causes, [ExitCause::Done, ExitCause::Done]);
}

#[test]
fn a_request_past_the_backlog_comes_back_with_the_numbers() {
    let mut sim = sim(1, 2);
    let _kept: Vec<_> = (0..3).map(|request| sim.hand_over(request)).collect();
    let mut answer = sim.hand_over(3);
    let (request, why) = back(&mut answer);
    assert_eq!(request, 3);
    assert_eq!(
        why.to_string(),
        "all 1 children are busy (max_children) and 2 requests wait already (backlog)"
    );
}

#[test]
fn the_door_is_shut_with_the_last_child_and_opened_when_nobody_waits() {
    let mut sim = sim(2, 10);
    let _first = sim.hand_over(0);
    assert_eq!(accept_changes(&mut sim), []);
    let _second = sim.hand_over(1);
    assert_eq!(accept_changes(&mut sim), [AcceptChange::Pause]);
    let _third = sim.hand_over(2);
    let one = sim.fork_next();
    let two = sim.fork_next();
    sim.leave(one);
    assert_eq!(accept_changes(&mut sim), [], "the third takes the place");
    sim.leave(two);
    assert_eq!(accept_changes(&mut sim), [AcceptChange::Resume]);
    assert_eq!(sim.supervisor.counters.pool_full, 1);
}

#[test]
fn a_fork_that_fails_for_now_puts_its_request_first() {
    let mut sim = sim(2, 10);
    let mut answers: Vec<_> = (0..4).map(|request| sim.hand_over(request)).collect();
    sim.fork_fails(AGAIN);
    assert_eq!(ordered(&sim), [1]);
    sim.fork_fails(AGAIN);
    assert!(ordered(&sim).is_empty());
    assert_eq!(sim.supervisor.waiting(), 4);
    assert!(answers.iter_mut().all(|answer| !is_answered(answer)));
    let mut served: Vec<u32> = Vec::new();
    while served.len() < 4 {
        if sim.processes.orders.is_empty() {
            sim.wake();
        }
        served.extend(ordered(&sim).first());
        let child = sim.fork_next();
        sim.leave(child);
    }
    served.sort_unstable();
    assert_eq!(served, [0, 1, 2, 3]);
}

#[test]
fn a_fork_that_fails_for_good_gives_the_request_back() {
    let mut sim = sim(2, 10);
    let mut answer = sim.hand_over(7);
    sim.fork_fails(ForkRefusal::OtherThreads("refusing to fork".into()));
    let (request, why) = back(&mut answer);
    assert_eq!((request, why.to_string().as_str()), (7, "refusing to fork"));
    assert_eq!(sim.supervisor.waiting(), 0);
    let failed = sim.take_events_of(|event| match event {
        SupervisorEvent::ForkFailed(why) => Some(why.clone()),
        _ => None,
    });
    assert_eq!(failed, ["refusing to fork"]);
}

#[test]
fn a_sender_that_has_gone_does_no_harm() {
    let mut sim = sim(1, 1);
    drop(sim.hand_over(0));
    drop(sim.hand_over(1));
    drop(sim.hand_over(2));
    let child = sim.fork_next();
    sim.leave(child);
    assert_eq!(ordered(&sim), [1]);
}

#[test]
fn a_child_that_crashes_makes_room_as_one_that_leaves() {
    let mut sim = sim(1, 4);
    let _first = sim.hand_over(0);
    let _second = sim.hand_over(1);
    let child = sim.fork_next();
    sim.report_status(child, Status::Serving);
    sim.die(child, Exit::Signal { number: 11, core: true });
    assert_eq!(ordered(&sim), [1]);
    assert_eq!(sim.supervisor.counters.failed_exits, 1);
}

#[test]
fn a_smaller_maximum_is_come_to_as_children_leave() {
    let mut sim = sim(4, 10);
    let _answers: Vec<_> = (0..6).map(|request| sim.hand_over(request)).collect();
    let children: Vec<_> = (0..4).map(|_each| sim.fork_next()).collect();
    sim.act(|supervisor, processes, now| supervisor.resize(Resize::To(2), processes, now)).unwrap();
    for child in &children[..2] {
        sim.leave(*child);
        assert!(ordered(&sim).is_empty());
    }
    sim.leave(children[2]);
    assert_eq!(ordered(&sim), [4]);
    sim.act(|supervisor, processes, now| supervisor.resize(Resize::To(3), processes, now)).unwrap();
    assert_eq!(ordered(&sim), [4, 5]);
}

#[test]
fn a_reload_is_refused_without_a_pool() {
    let mut sim = sim(1, 1);
    let refusal = sim.act(Supervisor::reload);
    assert_eq!(
        refusal.unwrap_err().to_string(),
        "cannot reload: the daemon has no pool of children"
    );
}
