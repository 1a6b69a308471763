//! The end: in order, at once, and when the grace is over.

use std::time::Duration;

use daemon_core::{AcceptChange, Phase, StopMode};
use daemon_sys::process::Signal;

use super::postfork::{back, is_answered, stage, swings};
use super::stage::{AGAIN, GRACE, Stage};
use crate::messages::HandOverErrorReason;
use crate::model::PreFork;
use crate::parent::household::{Household, Notice};

fn pool() -> Stage<()> {
    let mut stage = Stage::of(PreFork::new(3));
    stage.settle();
    stage.all_ready();
    stage.told.clear();
    stage
}

impl<R: 'static> Stage<R> {
    pub(super) fn stop(&mut self, manner: StopMode) {
        self.act(|house, hands, now| house.stop(manner, hands, now));
    }

    pub(super) fn drained(&mut self) {
        self.act(Household::drained);
    }

    pub(super) fn all_gone(&mut self) -> usize {
        self.told(|notice| matches!(notice, Notice::AllGone).then_some(())).len()
    }

    pub(super) fn everybody_leaves(&mut self) {
        let children: Vec<_> = self.hands.alive.keys().copied().collect();
        for child in children {
            self.leaves(child);
        }
    }

    /// Moves on to what is due, if anything is.
    pub(super) fn wake_or_settle(&mut self) {
        match self.house.next_wake() {
            Some(_due) => self.wake(),
            None => self.settle(),
        }
    }
}

#[test]
fn in_order_children_get_term_and_the_last_to_go_ends_it() {
    let mut stage = pool();
    stage.stop(StopMode::Graceful);
    assert_eq!(stage.hands.to_all, [Signal::Term]);
    assert_eq!(stage.hands.release, 1, "the fork server lets go of its listener");
    assert_eq!(stage.hands.orders.len(), 0);
    stage.drained();
    assert_eq!(stage.all_gone(), 0);
    stage.everybody_leaves();
    assert_eq!(stage.hands.orders.len(), 0, "nobody is replaced");
    assert_eq!(stage.all_gone(), 1);
    assert_eq!(stage.house.phase(), Phase::Stopped);
    stage.settle();
    assert_eq!((stage.all_gone(), stage.hands.release), (0, 1));
    assert_eq!(stage.house.counters.left, 3);
}

#[test]
fn sessions_that_have_not_answered_keep_it_from_ending_until_the_grace_is_over() {
    let mut stage = pool();
    stage.stop(StopMode::Graceful);
    stage.everybody_leaves();
    assert_eq!(stage.all_gone(), 0);
    stage.later(GRACE);
    assert_eq!(stage.all_gone(), 1);
}

#[test]
fn children_that_outlive_the_grace_are_killed() {
    let mut stage = pool();
    stage.stop(StopMode::Graceful);
    stage.drained();
    stage.hands.to_all.clear();
    stage.later(GRACE - Duration::from_nanos(1));
    assert_eq!(stage.hands.to_all, []);
    stage.wake();
    assert_eq!(stage.hands.to_all, [Signal::Kill]);
    let overdue = stage.told(|notice| match notice {
        Notice::Overdue(children) => Some(*children),
        _ => None,
    });
    assert_eq!(overdue, [3]);
    let children: Vec<_> = stage.hands.alive.keys().copied().collect();
    for child in children {
        stage.is_killed(child);
    }
    assert_eq!(stage.all_gone(), 1);
}

#[test]
fn a_fork_server_that_does_not_kill_is_told_of_once() {
    let mut stage = pool();
    stage.stop(StopMode::Graceful);
    stage.wake();
    stage.wake();
    stage.settle();
    let silent = stage.told(|notice| matches!(notice, Notice::ForkServerSilent).then_some(()));
    assert_eq!(silent, [()]);
}

#[test]
fn at_once_children_get_quit_and_a_moment() {
    let mut stage = pool();
    stage.stop(StopMode::Graceful);
    stage.stop(StopMode::Immediate);
    assert_eq!(stage.hands.to_all, [Signal::Term, Signal::Quit]);
    let before = stage.now;
    stage.wake();
    assert_eq!(stage.now.saturating_since(before), Duration::from_millis(500));
    assert_eq!(stage.hands.to_all.last(), Some(&Signal::Kill));
}

#[test]
fn what_was_accepted_before_the_end_still_gets_a_child() {
    let mut stage = stage(1, 10);
    let mut first = stage.hand_over(0);
    let mut second = stage.hand_over(1);
    let child = stage.born();
    stage.told.clear();
    stage.stop(StopMode::Graceful);
    let mut late = stage.hand_over(2);
    assert_eq!(stage.hands.release, 0, "children are still needed");
    stage.drained();
    let mut too_late = stage.hand_over(3);
    assert!(matches!(back(&mut too_late), (3, HandOverErrorReason::Stopping)));
    stage.leaves(child);
    for _each in 0..2 {
        assert_eq!(stage.hands.orders.len(), 1);
        let child = stage.born();
        stage.leaves(child);
    }
    assert_eq!(stage.all_gone(), 1);
    assert_eq!(stage.hands.release, 1);
    for answer in [&mut first, &mut second, &mut late] {
        assert!(is_answered(answer));
    }
    assert_eq!(swings(&mut stage), [] as [AcceptChange; 0], "shutdown says more");
}

#[test]
fn at_once_what_waits_comes_back() {
    let mut stage = stage(1, 10);
    let _first = stage.hand_over(0);
    let mut second = stage.hand_over(1);
    stage.born();
    stage.stop(StopMode::Immediate);
    assert!(matches!(back(&mut second), (1, HandOverErrorReason::Stopping)));
    assert_eq!(stage.hands.release, 1);
    stage.everybody_leaves();
    assert_eq!(stage.all_gone(), 1);
}

#[test]
fn a_fork_that_fails_after_the_kill_is_not_tried_again() {
    let mut stage = stage(2, 10);
    let mut first = stage.hand_over(0);
    stage.stop(StopMode::Graceful);
    stage.drained();
    stage.later(GRACE);
    assert_eq!(stage.hands.to_all.last(), Some(&Signal::Kill));
    stage.fork_fails(AGAIN);
    stage.wake_or_settle();
    assert_eq!(stage.hands.orders.len(), 0);
    assert!(matches!(back(&mut first), (0, HandOverErrorReason::Stopping)));
    assert_eq!(stage.all_gone(), 1);
}

#[test]
fn the_fork_server_lets_go_only_when_no_fork_can_fail_any_more() {
    let mut stage = stage(2, 10);
    let mut answer = stage.hand_over(0);
    stage.stop(StopMode::Graceful);
    stage.drained();
    assert_eq!(stage.hands.release, 0, "the fork may have to be tried again");
    stage.fork_fails(AGAIN);
    stage.wake();
    assert_eq!(stage.hands.orders.len(), 1);
    stage.born();
    assert!(is_answered(&mut answer));
    assert_eq!(stage.hands.release, 1);
}

#[test]
fn a_lost_fork_server_gives_back_what_it_has_not_forked_for() {
    let mut stage = stage(1, 10);
    let mut first = stage.hand_over(0);
    let mut second = stage.hand_over(1);
    let unborn: Vec<_> = stage.hands.orders.drain(..).collect();
    stage.house.bereave(unborn, "the fork server is lost");
    let (request, why) = back(&mut first);
    assert_eq!(request, 0);
    assert_eq!(why.to_string(), "the fork server is lost");
    assert_eq!(back(&mut second).0, 1);
    assert_eq!(stage.house.next_wake(), None);
}
