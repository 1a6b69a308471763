//! A pool: how it starts, grows, shrinks and bears failures.

use std::time::Duration;

use daemon_core::{Exit, ExitCause, Phase, Status};
use daemon_sys::process::Signal;

use super::stage::{AGAIN, BOOT_TIMEOUT, Stage};
use crate::messages::Resize;
use crate::model::PreFork;
use crate::parent::household::Notice;

fn pool() -> PreFork {
    PreFork::new(3).min_spare(2).max_spare(4).max_children(6)
}

fn running() -> Stage<()> {
    let mut stage = Stage::of(pool());
    stage.settle();
    stage.all_ready();
    assert_eq!(stage.house.phase(), Phase::Running);
    stage.told.clear();
    stage
}

fn up(notice: &Notice) -> Option<()> {
    matches!(notice, Notice::Up).then_some(())
}

fn not_ready(notice: &Notice) -> Option<String> {
    match notice {
        Notice::NotReady(why) => Some(why.clone()),
        _ => None,
    }
}

fn delays(notice: &Notice) -> Option<Duration> {
    match notice {
        Notice::Delayed(delay) => Some(*delay),
        _ => None,
    }
}

#[test]
fn it_is_up_when_the_last_of_its_first_children_is_ready() {
    let mut stage = Stage::of(pool());
    stage.settle();
    assert_eq!(stage.hands.orders.len(), 3);
    for _child in 0..2 {
        let child = stage.born();
        stage.does(child, Status::Fresh);
    }
    assert_eq!(stage.house.phase(), Phase::Starting);
    let last = stage.born();
    assert_eq!(stage.told(up), []);
    stage.does(last, Status::Fresh);
    assert_eq!(stage.house.phase(), Phase::Running);
    assert_eq!(stage.told(up), [()]);
    assert_eq!(stage.house.next_wake(), None, "nothing is due");
}

#[test]
fn it_keeps_min_spare_and_grows_no_further_than_max_children() {
    let mut stage = running();
    let first = stage.hands.alive.keys().copied().collect::<Vec<_>>();
    stage.does(first[0], Status::Serving);
    assert_eq!(stage.hands.orders.len(), 0, "two are idle");
    stage.does(first[1], Status::Serving);
    assert_eq!(stage.hands.orders.len(), 1);
    stage.does(first[2], Status::Serving);
    assert_eq!(stage.hands.orders.len(), 2);
    for child in stage.all_ready() {
        stage.does(child, Status::Long);
    }
    for child in stage.all_ready() {
        stage.does(child, Status::Long);
    }
    assert_eq!(stage.hands.children(), 6);
    let caps = stage.told(|notice| match notice {
        Notice::AtTheCap { most, spare, min_spare } => Some((*most, *spare, *min_spare)),
        _ => None,
    });
    assert_eq!(caps, [(6, 1, 2)], "it is told once, as one of six is still to spare");
}

#[test]
fn a_killed_child_is_replaced_at_once() {
    let mut stage = running();
    let children: Vec<_> = stage.hands.alive.keys().copied().collect();
    stage.is_killed(children[0]);
    assert_eq!(stage.hands.orders.len(), 0, "two are enough");
    stage.is_killed(children[1]);
    assert_eq!(stage.hands.orders.len(), 1);
    let causes = stage.told(|notice| match notice {
        Notice::Exited(exited) => Some(exited.cause),
        _ => None,
    });
    let killed = ExitCause::Killed { signal: 9, core: false };
    assert_eq!(causes, [killed, killed]);
}

#[test]
fn the_longest_idle_are_retired_once_they_were_too_many_for_a_while() {
    let mut stage = Stage::of(pool().linger(Duration::from_secs(2)));
    stage.settle();
    let mut all = stage.all_ready();
    for child in all.clone() {
        stage.does(child, Status::Serving);
    }
    all.extend(stage.all_ready());
    for child in &all[3..] {
        stage.does(*child, Status::Serving);
    }
    all.extend(stage.all_ready());
    assert_eq!(all.len(), 6);
    for child in &all {
        stage.now = stage.now + Duration::from_millis(1);
        stage.does(*child, Status::Serving);
        stage.does(*child, Status::Waiting);
    }
    assert_eq!(stage.signalled(Signal::Term), []);
    stage.wake();
    assert_eq!(stage.signalled(Signal::Term), all[..1], "five were idle");
    stage.wake();
    assert_eq!(stage.signalled(Signal::Term), all[1..2]);
    stage.wake_or_settle();
    assert_eq!(stage.signalled(Signal::Term), []);
    for child in &all[..2] {
        stage.leaves(*child);
    }
    assert_eq!(stage.hands.children(), 4);
    assert_eq!(stage.house.counters.left, 2);
}

#[test]
fn a_fork_that_fails_is_tried_again_alone_and_later() {
    let mut stage = Stage::of(pool());
    stage.settle();
    stage.fork_fails(AGAIN);
    stage.fork_fails(AGAIN);
    stage.fork_fails(AGAIN);
    assert_eq!(stage.hands.orders.len(), 0);
    stage.wake();
    assert_eq!(stage.hands.orders.len(), 1, "one tries it out");
    stage.settle();
    assert_eq!(stage.hands.orders.len(), 1);
    stage.all_ready();
    assert_eq!(stage.hands.children(), 3);
    assert_eq!(stage.told(up), [()]);
}

#[test]
fn the_start_bears_one_fork_that_fails() {
    let mut stage = Stage::of(pool());
    stage.settle();
    stage.fork_fails(AGAIN);
    stage.all_ready();
    if stage.house.phase() == Phase::Starting {
        stage.wake();
        stage.all_ready();
    }
    assert_eq!(stage.house.phase(), Phase::Running);
    assert_eq!(stage.hands.children(), 3);
}

#[test]
fn the_start_bears_one_child_that_dies_before_it_is_ready() {
    let mut stage = Stage::of(pool());
    stage.settle();
    let child = stage.born();
    stage.dies(child, Exit::Code(1));
    stage.all_ready();
    assert_eq!(stage.house.phase(), Phase::Running);
    assert_eq!(stage.hands.children(), 3);
}

#[test]
fn a_delay_is_told_once() {
    let mut stage = Stage::of(pool());
    stage.settle();
    stage.fork_fails(AGAIN);
    for _each in 0..10 {
        stage.settle();
    }
    assert_eq!(stage.told(delays), [Duration::from_millis(100)]);
    stage.hands.orders.clear();
}

#[test]
fn five_children_in_a_row_that_die_before_they_are_ready_are_too_many() {
    let mut stage = Stage::of(PreFork::new(1).max_children(2));
    stage.settle();
    for death in 1..=5 {
        let child = stage.born();
        stage.dies(child, Exit::Code(7));
        assert_eq!(stage.told(not_ready).len(), usize::from(death == 5));
    }
}

#[test]
fn deaths_after_the_fifth_are_spaced_further_and_further() {
    let mut stage = Stage::of(PreFork::new(1).max_children(1));
    stage.settle();
    let mut pauses = Vec::new();
    for _death in 0..9 {
        if stage.hands.orders.is_empty() {
            let before = stage.now;
            stage.wake();
            pauses.push(stage.now.saturating_since(before).as_millis());
        }
        let child = stage.born();
        stage.dies(child, Exit::Code(7));
    }
    assert_eq!(pauses, [100, 200, 400]);
}

#[test]
fn children_that_are_not_up_in_time_are_told_of_once() {
    let mut stage = Stage::of(pool());
    stage.settle();
    let child = stage.born();
    stage.does(child, Status::Fresh);
    stage.later(BOOT_TIMEOUT);
    stage.settle();
    assert_eq!(
        stage.told(not_ready),
        ["the initial children are not up in time: 1 of 3 are ready"]
    );
}

#[test]
fn another_size_is_followed_at_once() {
    let mut stage = running();
    let resized = stage.act(|house, hands, now| house.resize(Resize::To(5), hands, now));
    assert_eq!(resized.unwrap().min_spare, 5);
    assert_eq!(stage.hands.orders.len(), 2);
    stage.all_ready();
    let refused = stage.act(|house, hands, now| house.resize(Resize::To(7), hands, now));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "cannot resize to 7: there may be 6 children at most, by max_children"
    );
}
