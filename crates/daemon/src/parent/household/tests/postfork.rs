//! A child for each request: who is forked for, who waits, who goes back.

use daemon_core::{AcceptChange, Exit, ExitCause, Phase, Status};
use daemon_forkserver::ForkRefusal;

use super::stage::{AGAIN, Answer, Stage};
use crate::messages::{HandOverErrorReason, Resize};
use crate::model::PostFork;
use crate::parent::household::{Household, Notice};

pub(super) fn stage(max_children: u32, backlog: u32) -> Stage<u32> {
    let mut stage = Stage::of(PostFork::new(max_children).backlog(backlog));
    stage.settle();
    assert_eq!(stage.house.phase(), Phase::Running);
    stage.told.clear();
    stage
}

/// The requests that are on order, in order.
fn ordered(stage: &Stage<u32>) -> Vec<u32> {
    stage.hands.orders.iter().map(|(_, request)| *request).collect()
}

pub(super) fn swings(stage: &mut Stage<u32>) -> Vec<AcceptChange> {
    stage.told(|notice| match notice {
        Notice::AcceptChange(swing) => Some(*swing),
        _ => None,
    })
}

/// The request that came back, and why.
pub(super) fn back(answer: &mut Answer<u32>) -> (u32, HandOverErrorReason) {
    let back = answer
        .try_recv()
        .expect("somebody answers")
        .expect("it is answered")
        .expect_err("it came back");
    (back.request, back.why)
}

pub(super) fn is_answered(answer: &mut Answer<u32>) -> bool {
    answer.try_recv().expect("somebody answers").is_some()
}

#[test]
fn a_request_is_answered_when_its_child_is_born() {
    let mut stage = stage(2, 0);
    let mut answer = stage.hand_over(7);
    assert_eq!(ordered(&stage), [7]);
    assert!(!is_answered(&mut answer));
    let child = stage.born();
    let handed = answer.try_recv().unwrap().unwrap().unwrap();
    assert_eq!(handed.child, child);
    assert_eq!(handed.pid, stage.hands.alive[&child].0);
}

#[test]
fn requests_that_wait_are_served_first_come_first_served() {
    let mut stage = stage(2, 10);
    let _answers: Vec<_> = (0..5).map(|request| stage.hand_over(request)).collect();
    assert_eq!(ordered(&stage), [0, 1]);
    assert_eq!(stage.house.waiting(), 3);
    let first = stage.born();
    let second = stage.born();
    stage.leaves(second);
    assert_eq!(ordered(&stage), [2]);
    stage.leaves(first);
    assert_eq!(ordered(&stage), [2, 3]);
    let causes = stage.told(|notice| match notice {
        Notice::Exited(exited) => Some(exited.cause),
        _ => None,
    });
    assert_eq!(causes, [ExitCause::Done, ExitCause::Done]);
}

#[test]
fn a_request_past_the_backlog_comes_back_with_the_numbers() {
    let mut stage = stage(1, 2);
    let _kept: Vec<_> = (0..3).map(|request| stage.hand_over(request)).collect();
    let mut answer = stage.hand_over(3);
    let (request, why) = back(&mut answer);
    assert_eq!(request, 3);
    assert_eq!(
        why.to_string(),
        "all 1 children are busy (max_children), and 2 requests wait already (backlog)"
    );
}

#[test]
fn the_door_is_shut_with_the_last_child_and_opened_when_nobody_waits() {
    let mut stage = stage(2, 10);
    let _first = stage.hand_over(0);
    assert_eq!(swings(&mut stage), []);
    let _second = stage.hand_over(1);
    assert_eq!(swings(&mut stage), [AcceptChange::Pause]);
    let _third = stage.hand_over(2);
    let one = stage.born();
    let two = stage.born();
    stage.leaves(one);
    assert_eq!(swings(&mut stage), [], "the third takes the place");
    stage.leaves(two);
    assert_eq!(swings(&mut stage), [AcceptChange::Resume]);
    assert_eq!(stage.house.counters.pauses, 1);
}

#[test]
fn a_fork_that_fails_for_now_puts_its_request_first() {
    let mut stage = stage(2, 10);
    let mut answers: Vec<_> = (0..4).map(|request| stage.hand_over(request)).collect();
    stage.fork_fails(AGAIN);
    assert_eq!(ordered(&stage), [1]);
    stage.fork_fails(AGAIN);
    assert!(ordered(&stage).is_empty());
    assert_eq!(stage.house.waiting(), 4);
    assert!(answers.iter_mut().all(|answer| !is_answered(answer)));
    let mut served: Vec<u32> = Vec::new();
    while served.len() < 4 {
        if stage.hands.orders.is_empty() {
            stage.wake();
        }
        served.extend(ordered(&stage).first());
        let child = stage.born();
        stage.leaves(child);
    }
    served.sort_unstable();
    assert_eq!(served, [0, 1, 2, 3]);
}

#[test]
fn a_fork_that_fails_for_good_gives_the_request_back() {
    let mut stage = stage(2, 10);
    let mut answer = stage.hand_over(7);
    stage.fork_fails(ForkRefusal::OtherThreads("refusing to fork".into()));
    let (request, why) = back(&mut answer);
    assert_eq!((request, why.to_string().as_str()), (7, "refusing to fork"));
    assert_eq!(stage.house.waiting(), 0);
    let failed = stage.told(|notice| match notice {
        Notice::ForkFailed(why) => Some(why.clone()),
        _ => None,
    });
    assert_eq!(failed, ["refusing to fork"]);
}

#[test]
fn a_sender_that_has_gone_does_no_harm() {
    let mut stage = stage(1, 1);
    drop(stage.hand_over(0));
    drop(stage.hand_over(1));
    drop(stage.hand_over(2));
    let child = stage.born();
    stage.leaves(child);
    assert_eq!(ordered(&stage), [1]);
}

#[test]
fn a_child_that_crashes_makes_room_as_one_that_leaves() {
    let mut stage = stage(1, 4);
    let _first = stage.hand_over(0);
    let _second = stage.hand_over(1);
    let child = stage.born();
    stage.does(child, Status::Serving);
    stage.dies(child, Exit::Signal { number: 11, core: true });
    assert_eq!(ordered(&stage), [1]);
    assert_eq!(stage.house.counters.died, 1);
}

#[test]
fn a_smaller_maximum_is_come_to_as_children_leave() {
    let mut stage = stage(4, 10);
    let _answers: Vec<_> = (0..6).map(|request| stage.hand_over(request)).collect();
    let children: Vec<_> = (0..4).map(|_each| stage.born()).collect();
    stage.act(|house, hands, now| house.resize(Resize::To(2), hands, now)).unwrap();
    for child in &children[..2] {
        stage.leaves(*child);
        assert!(ordered(&stage).is_empty());
    }
    stage.leaves(children[2]);
    assert_eq!(ordered(&stage), [4]);
    stage.act(|house, hands, now| house.resize(Resize::To(3), hands, now)).unwrap();
    assert_eq!(ordered(&stage), [4, 5]);
}

#[test]
fn a_reload_is_refused_without_a_pool() {
    let mut stage = stage(1, 1);
    let refusal = stage.act(Household::reload);
    assert_eq!(
        refusal.unwrap_err().to_string(),
        "cannot reload: the daemon has no pool of standing children"
    );
}
