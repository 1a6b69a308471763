//! Tests of a reload: every child is replaced, and few children are unavailable at a time.

use std::collections::HashSet;

use daemon_core::Status;
use daemon_sys::process::Signal;

use super::simulator::Simulator;
use crate::events::DaemonEvent;
use crate::messages::DaemonReload;
use crate::model::PreFork;
use crate::supervisor::{Effect, Supervisor};

/// Reloads a pool with `busy` busy children. Returns the difference between the number of children
/// before the reload and the smallest number of idle and busy children during it.
fn largest_drop(max_children: u32, busy: usize) -> u32 {
    let mut sim =
        Simulator::of(PreFork::new(4).min_spare(1).max_spare(4).max_children(max_children));
    sim.reconcile();
    let mut old = sim.all_ready();
    for child in old.iter().take(busy) {
        sim.report_status(*child, Status::Serving);
    }
    old.extend(sim.all_ready());
    let before = sim.processes.children();
    sim.effects.clear();
    let reloading = sim.act(Supervisor::reload);
    assert_eq!(reloading.unwrap().children, before);
    let mut worst = before;
    let mut left: HashSet<_> = old.into_iter().collect();
    for _turn in 0..100 {
        let counts = sim.supervisor.registry().counts();
        worst = worst.min(counts.idle() + counts.busy());
        for child in sim.signalled(Signal::Term) {
            assert!(left.remove(&child), "a new child was retired");
            sim.leave(child);
        }
        sim.all_ready();
        if left.is_empty() {
            break;
        }
    }
    assert!(left.is_empty(), "the children {left:?} were not replaced");
    let done = sim.take_effects_of(|event| {
        matches!(event, Effect::Event(DaemonEvent::Reload { state: DaemonReload::Done }))
            .then_some(())
    });
    assert_eq!(done, [()], "the end of the reload is reported once");
    before - worst
}

#[test]
fn with_free_slots_no_child_is_unavailable_during_a_reload() {
    for busy in 0..=4 {
        assert_eq!(largest_drop(8, busy), 0, "{busy} children are busy");
    }
}

#[test]
fn without_free_slots_one_child_at_a_time_is_unavailable_during_a_reload() {
    for busy in 0..=4 {
        assert_eq!(largest_drop(4, busy), 1, "{busy} children are busy");
    }
}
