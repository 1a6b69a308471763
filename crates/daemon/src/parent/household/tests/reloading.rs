//! A reload: every child is replaced, and the pool does not dip.

use std::collections::HashSet;

use daemon_core::Status;
use daemon_sys::process::Signal;

use super::stage::Stage;
use crate::model::PreFork;
use crate::parent::household::{Household, Notice};

/// Reloads a pool of which so many are busy; answers how many fewer served at the worst.
fn dip(max_children: u32, busy: usize) -> u32 {
    let mut stage = Stage::of(PreFork::new(4).min_spare(1).max_spare(4).max_children(max_children));
    stage.settle();
    let mut old = stage.all_ready();
    for child in old.iter().take(busy) {
        stage.does(*child, Status::Serving);
    }
    old.extend(stage.all_ready());
    let before = stage.hands.children();
    stage.told.clear();
    let reloading = stage.act(Household::reload);
    assert_eq!(reloading.unwrap().children, before);
    let mut worst = before;
    let mut left: HashSet<_> = old.into_iter().collect();
    for _turn in 0..100 {
        let census = stage.house.registry().census();
        worst = worst.min(census.idle() + census.busy());
        for child in stage.signalled(Signal::Term) {
            assert!(left.remove(&child), "a new child is retired");
            stage.leaves(child);
        }
        stage.all_ready();
        if left.is_empty() {
            break;
        }
    }
    assert!(left.is_empty(), "{left:?} were not replaced");
    let done = stage.told(|notice| matches!(notice, Notice::Reloaded).then_some(()));
    assert_eq!(done, [()], "it is told once");
    before - worst
}

#[test]
fn with_room_as_many_serve_all_the_while() {
    for busy in 0..=4 {
        assert_eq!(dip(8, busy), 0, "{busy} are busy");
    }
}

#[test]
fn without_room_one_is_away_at_a_time() {
    for busy in 0..=4 {
        assert_eq!(dip(4, busy), 1, "{busy} are busy");
    }
}
