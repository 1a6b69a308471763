//! Tests of a post-forking daemon: which requests get a child, wait, or are returned.

use daemon_core::{AcceptState, Exit, ExitCause, Phase, Status};
use daemon_forkserver::ForkRefusal;

use super::simulator::{AGAIN, Reply, Simulator};
use crate::events::DaemonEvent;
use crate::messages::{HandOverErrorReason, Resize};
use crate::model::PostFork;
use crate::supervisor::{Effect, Supervisor};

pub(super) fn sim(max_children: u32, backlog: u32) -> Simulator<u32> {
    let mut sim = Simulator::of(PostFork::new(max_children).backlog(backlog));
    sim.reconcile();
    assert_eq!(sim.supervisor.phase(), Phase::Running);
    sim.effects.clear();
    sim
}

/// Returns the requests whose forks are pending, oldest first.
fn forking(sim: &Simulator<u32>) -> Vec<u32> {
    sim.processes.pending_forks.iter().map(|(_, request)| *request).collect()
}

pub(super) fn accept_changes(sim: &mut Simulator<u32>) -> Vec<AcceptState> {
    sim.take_effects_of(|event| match event {
        Effect::Event(DaemonEvent::Accepting { state }) => Some(*state),
        _ => None,
    })
}

/// Returns the request that the daemon returned to its sender, and the reason.
pub(super) fn back(answer: &mut Reply<u32>) -> (u32, HandOverErrorReason) {
    let back = answer
        .try_recv()
        .expect("the channel for the answer is open")
        .expect("the request was answered")
        .expect_err("the request was returned");
    (back.request, back.reason)
}

pub(super) fn is_answered(answer: &mut Reply<u32>) -> bool {
    answer.try_recv().expect("the channel for the answer is open").is_some()
}

#[test]
fn a_request_is_answered_when_its_child_is_forked() {
    let mut sim = sim(2, 0);
    let mut answer = sim.hand_over(7);
    assert_eq!(forking(&sim), [7]);
    assert!(!is_answered(&mut answer));
    let child = sim.fork_next();
    let handed = answer.try_recv().unwrap().unwrap().unwrap();
    assert_eq!(handed.child, child);
    assert_eq!(handed.pid, sim.processes.alive[&child].0);
}

#[test]
fn waiting_requests_are_served_in_order_of_arrival() {
    let mut sim = sim(2, 10);
    let _answers: Vec<_> = (0..5).map(|request| sim.hand_over(request)).collect();
    assert_eq!(forking(&sim), [0, 1]);
    assert_eq!(sim.supervisor.waiting(), 3);
    let first = sim.fork_next();
    let second = sim.fork_next();
    sim.leave(second);
    assert_eq!(forking(&sim), [2]);
    sim.leave(first);
    assert_eq!(forking(&sim), [2, 3]);
    let causes = sim.take_effects_of(|event| match event {
        Effect::Event(DaemonEvent::Exited(exited)) => Some(exited.cause),
        _ => None,
    });
    assert_eq!(causes, [ExitCause::Done, ExitCause::Done]);
}

#[test]
fn a_request_beyond_the_backlog_is_returned_with_an_error_that_contains_both_limits() {
    let mut sim = sim(1, 2);
    let _kept: Vec<_> = (0..3).map(|request| sim.hand_over(request)).collect();
    let mut answer = sim.hand_over(3);
    let (request, reason) = back(&mut answer);
    assert_eq!(request, 3);
    assert_eq!(
        reason.to_string(),
        "all 1 children are busy (max_children) and 2 requests wait already (backlog)"
    );
}

#[test]
fn accepting_pauses_at_max_children_and_resumes_when_no_request_waits() {
    let mut sim = sim(2, 10);
    let _first = sim.hand_over(0);
    assert_eq!(accept_changes(&mut sim), []);
    let _second = sim.hand_over(1);
    assert_eq!(accept_changes(&mut sim), [AcceptState::Paused]);
    let _third = sim.hand_over(2);
    let one = sim.fork_next();
    let two = sim.fork_next();
    sim.leave(one);
    assert_eq!(accept_changes(&mut sim), [], "the third request takes the free slot");
    sim.leave(two);
    assert_eq!(accept_changes(&mut sim), [AcceptState::Accepting]);
    assert_eq!(sim.supervisor.counters.pool_full, 1);
}

#[test]
fn requests_whose_forks_fail_temporarily_are_all_served_later() {
    let mut sim = sim(2, 10);
    let mut answers: Vec<_> = (0..4).map(|request| sim.hand_over(request)).collect();
    sim.fork_fails(AGAIN);
    assert_eq!(forking(&sim), [1]);
    sim.fork_fails(AGAIN);
    assert!(forking(&sim).is_empty());
    assert_eq!(sim.supervisor.waiting(), 4);
    assert!(answers.iter_mut().all(|answer| !is_answered(answer)));
    let mut served: Vec<u32> = Vec::new();
    while served.len() < 4 {
        if sim.processes.pending_forks.is_empty() {
            sim.wake();
        }
        served.extend(forking(&sim).first());
        let child = sim.fork_next();
        sim.leave(child);
    }
    served.sort_unstable();
    assert_eq!(served, [0, 1, 2, 3]);
}

#[test]
fn a_permanent_fork_failure_returns_the_request() {
    let mut sim = sim(2, 10);
    let mut answer = sim.hand_over(7);
    sim.fork_fails(ForkRefusal::OtherThreads("refusing to fork".into()));
    let (request, reason) = back(&mut answer);
    assert_eq!((request, reason.to_string().as_str()), (7, "refusing to fork"));
    assert_eq!(sim.supervisor.waiting(), 0);
    let failed = sim.take_effects_of(|event| match event {
        Effect::ForkFailed(reason) => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(failed, ["refusing to fork"]);
}

#[test]
fn a_request_is_served_even_if_its_sender_no_longer_waits() {
    let mut sim = sim(1, 1);
    drop(sim.hand_over(0));
    drop(sim.hand_over(1));
    drop(sim.hand_over(2));
    let child = sim.fork_next();
    sim.leave(child);
    assert_eq!(forking(&sim), [1]);
}

#[test]
fn a_crashed_child_frees_its_slot() {
    let mut sim = sim(1, 4);
    let _first = sim.hand_over(0);
    let _second = sim.hand_over(1);
    let child = sim.fork_next();
    sim.report_status(child, Status::Serving);
    sim.die(child, Exit::Signal { number: 11, core: true });
    assert_eq!(forking(&sim), [1]);
    assert_eq!(sim.supervisor.counters.failed_exits, 1);
}

#[test]
fn requests_wait_after_a_resize_to_fewer_children_until_enough_children_have_exited() {
    let mut sim = sim(4, 10);
    let _answers: Vec<_> = (0..6).map(|request| sim.hand_over(request)).collect();
    let children: Vec<_> = (0..4).map(|_each| sim.fork_next()).collect();
    sim.act(|supervisor, processes, now| supervisor.resize(Resize::To(2), processes, now)).unwrap();
    for child in &children[..2] {
        sim.leave(*child);
        assert!(forking(&sim).is_empty());
    }
    sim.leave(children[2]);
    assert_eq!(forking(&sim), [4]);
    sim.act(|supervisor, processes, now| supervisor.resize(Resize::To(3), processes, now)).unwrap();
    assert_eq!(forking(&sim), [4, 5]);
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
