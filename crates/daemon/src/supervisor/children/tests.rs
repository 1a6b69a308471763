//! Tests the record of a child from its fork request to its exit, and the child's `Age` at the
//! exit.

use daemon_core::{
    Generation, Scoreboard, ScoreboardLine, Seat, SlotNumber, WakeParent, lines_for,
};

use super::*;

struct Unwatched;

impl WakeParent for Unwatched {
    fn wake(&self) {}
}

fn at(millis: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_millis(1_000_000 + millis))
}

/// Returns a scoreboard, a registry with one child whose fork was requested at 0 ms, and that
/// child.
fn one_child() -> (Scoreboard, Registry, ChildId) {
    let lines = lines_for(1).unwrap();
    let lines =
        Box::leak((0..lines).map(|_line| ScoreboardLine::new()).collect::<Box<[ScoreboardLine]>>());
    let scoreboard = Scoreboard::format(lines, 1, at(0)).unwrap();
    let slot = SlotNumber::new(0);
    let generation = scoreboard.open_slot(slot, at(0)).unwrap();
    let child = ChildId { slot, generation };
    let mut registry = Registry::new(1, ChildKind::Pool);
    registry.add(child, 0, at(0));
    (scoreboard, registry, child)
}

/// Requests the fork of a child at 0 ms, reports these statuses for it, marks the child as stopping
/// if there is a `reason`, and removes the child with this exit at 300 ms. Returns the
/// child's exit event and age.
fn run_child(statuses: &[Status], reason: Option<StopReason>, exit: Exit) -> (ChildExited, Age) {
    let (scoreboard, mut registry, child) = one_child();
    let ChildId { slot, generation } = child;
    let pid = Pid::from_raw(7).unwrap();
    registry.set_forked(child, pid, at(30_000));
    let seat = Seat::take(scoreboard.reader(), slot, generation, 7, at(1), Unwatched).unwrap();
    for status in statuses {
        seat.report(*status, at(2)).unwrap();
        registry.update_status(&scoreboard.read(slot));
    }
    if let Some(reason) = reason {
        registry.mark_stopping(child, reason);
        assert_eq!(registry.counts().leaving(), 1);
    }
    let last = scoreboard.close_slot(slot, at(300));
    let removed = registry.remove_exited(child, pid, exit, &last, at(300)).unwrap();
    assert_eq!(registry.counts().children(), 0);
    assert!(registry.remove_exited(child, pid, exit, &last, at(300)).is_none());
    removed
}

const CRASH: Exit = Exit::Signal { number: 11, core: false };

#[test]
fn the_age_of_an_exited_child_depends_on_readiness_requests_and_stop_reason() {
    use Status::{Fresh, Leaving, Serving, Waiting};
    let unused = Age::Unused(Duration::from_millis(300));
    let table: [(&[Status], Option<StopReason>, Exit, Age); 8] = [
        (&[], None, CRASH, Age::BeforeReady),
        (&[], None, Exit::Code(0), Age::BeforeReady),
        (&[Fresh], None, CRASH, unused),
        (&[Fresh, Serving], None, CRASH, Age::Served),
        (&[Fresh, Serving, Waiting], None, CRASH, Age::Served),
        (&[Fresh, Serving, Leaving], None, Exit::Code(0), Age::Served),
        (&[Fresh], Some(StopReason::Retired), Exit::Code(0), Age::Served),
        (&[], Some(StopReason::Stopping), Exit::Code(0), Age::Served),
    ];
    for (statuses, reason, exit, age) in table {
        assert_eq!(run_child(statuses, reason, exit).1, age, "{statuses:?} {reason:?} {exit:?}");
    }
}

#[test]
fn an_exit_event_contains_the_cause_the_requests_and_the_lifetime() {
    use Status::{Fresh, Serving, Waiting};
    let (exited, _age) = run_child(&[Fresh, Serving, Waiting, Serving], None, CRASH);
    assert_eq!((exited.requests, exited.lifetime), (2, Duration::from_millis(300)));
    let killed = ExitCause::Killed { signal: 11, core: false };
    assert_eq!(exited.cause, killed);
    let (exited, _age) = run_child(&[Fresh], Some(StopReason::Retired), Exit::Code(0));
    assert_eq!(exited.cause, ExitCause::Retired);
}

#[test]
fn stopping_all_children_replaces_the_earlier_stop_reason_of_a_child() {
    let mut registry = Registry::new(2, ChildKind::Pool);
    let child = |slot: u32| ChildId { slot: SlotNumber::new(slot), generation: Generation::new(1) };
    registry.add(child(0), 0, at(0));
    registry.add(child(1), 0, at(0));
    registry.mark_stopping(child(0), StopReason::Retired);
    registry.mark_stopping(child(0), StopReason::Recycled(daemon_core::RecycleReason::Memory));
    let reasons = |registry: &Registry| -> Vec<_> {
        registry.records().map(|record| record.stop_reason).collect()
    };
    assert_eq!(reasons(&registry), [Some(StopReason::Retired), None]);
    registry.mark_all_stopping(StopReason::StoppedNow);
    assert_eq!(reasons(&registry), [Some(StopReason::StoppedNow); 2]);
    assert_eq!(registry.counts().leaving(), 2);
    registry.remove_failed(child(1));
    assert_eq!(registry.counts().children(), 1);
}

#[test]
fn reports_about_another_generation_of_the_slot_are_ignored() {
    let mut registry = Registry::new(1, ChildKind::Pool);
    let child = |generation: u32| ChildId {
        slot: SlotNumber::new(0),
        generation: Generation::new(generation),
    };
    registry.add(child(2), 0, at(0));
    registry.mark_stopping(child(1), StopReason::Retired);
    registry.set_forked(child(1), Pid::from_raw(7).unwrap(), at(30_000));
    registry.remove_failed(child(1));
    let record = registry.records().next().unwrap();
    assert_eq!((record.child, record.pid), (child(2), None));
    assert_eq!(record.stop_reason, None);
    assert_eq!(registry.counts().starting(), 1);
}

#[test]
fn a_ready_child_is_found_by_its_pid_before_the_fork_server_reports_the_fork() {
    let (scoreboard, mut registry, child) = one_child();
    let ChildId { slot, generation } = child;
    let seat = Seat::take(scoreboard.reader(), slot, generation, 7, at(1), Unwatched).unwrap();
    let pid = Pid::from_raw(7).unwrap();
    registry.update_status(&scoreboard.read(slot));
    assert_eq!(registry.find_by_pid(pid), None);
    seat.report(Status::Fresh, at(2)).unwrap();
    assert_eq!(registry.update_status(&scoreboard.read(slot)), StatusChange::BecameReady);
    assert_eq!(registry.find_by_pid(pid), Some(child));
}
