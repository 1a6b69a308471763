//! A reload: every child is replaced, and the pool does not dip.

use std::collections::HashSet;

use daemon_core::Status;
use daemon_sys::process::Signal;

use super::stage::Stage;
use crate::model::PreFork;
use crate::parent::household::Notice;

/// Reloads a pool of four of which so many are busy; answers how few served at the worst.
fn worst_service(max_children: u32, busy: usize) -> u32 {
    let mut stage = Stage::of(
        PreFork::start_children(4)
            .min_spare(1)
            .max_spare(4)
            .max_children(max_children),
    );
    stage.settle();
    let old = stage.all_ready();
    for child in old.iter().take(busy) {
        stage.does(*child, Status::Serving);
    }
    stage.told.clear();
    let reloading = stage.act(|house, hands, now| house.reload(hands, now));
    assert_eq!(reloading.unwrap().children, 4);
    let mut worst = 4;
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
    worst
}

#[test]
fn with_room_as_many_serve_all_the_while() {
    for busy in 0..=4 {
        assert_eq!(worst_service(8, busy), 4, "{busy} are busy");
    }
}

#[test]
fn without_room_one_is_away_at_a_time() {
    for busy in 0..=4 {
        assert_eq!(worst_service(4, busy), 3, "{busy} are busy");
    }
}
