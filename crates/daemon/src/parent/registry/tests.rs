//! What is known of a child from its order to its end, and how early it is said to have died.

use daemon_core::{
    Generation, Scoreboard, ScoreboardLine, Seat, SlotNumber, WakeParent, lines_for,
};

use super::*;

struct Silent;

impl WakeParent for Silent {
    fn wake(&self) {}
}

fn at(millis: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_millis(1_000_000 + millis))
}

/// A child that was ordered at 0, on a scoreboard of its own.
fn ordered() -> (Scoreboard, Registry, ChildId) {
    let lines = lines_for(1).unwrap();
    let lines =
        Box::leak((0..lines).map(|_line| ScoreboardLine::new()).collect::<Box<[ScoreboardLine]>>());
    let scoreboard = Scoreboard::format(lines, 1, at(0)).unwrap();
    let slot = SlotNumber::new(0);
    let generation = scoreboard.open_slot(slot, at(0)).unwrap();
    let child = ChildId { slot, generation };
    let mut registry = Registry::new(1, ChildKind::Pool);
    registry.ordered(child, 0, at(0));
    (scoreboard, registry, child)
}

/// A child that was ordered at 0, did this on its line, was dismissed if so, and ended at 300.
fn ends(does: &[Status], told: Option<StopReason>, exit: Exit) -> (ChildExited, Age) {
    let (scoreboard, mut registry, child) = ordered();
    let ChildId { slot, generation } = child;
    let pid = Pid::from_raw(7).unwrap();
    registry.born(child, pid);
    let seat = Seat::take(scoreboard.reader(), slot, generation, 7, at(1), Silent).unwrap();
    for status in does {
        seat.report(*status, at(2)).unwrap();
        registry.update_status(&scoreboard.read(slot));
    }
    if let Some(why) = told {
        registry.mark_stopping(child, why);
        assert_eq!(registry.counts().leaving(), 1);
    }
    let last = scoreboard.close_slot(slot, at(300));
    let end = registry.gone(child, pid, exit, &last, at(300)).unwrap();
    assert_eq!(registry.counts().children(), 0);
    assert!(registry.gone(child, pid, exit, &last, at(300)).is_none());
    end
}

const CRASH: Exit = Exit::Signal { number: 11, core: false };

#[test]
fn how_early_a_child_died_is_said_by_what_it_had_done() {
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
    for (does, told, exit, age) in table {
        assert_eq!(ends(does, told, exit).1, age, "{does:?} {told:?} {exit:?}");
    }
}

#[test]
fn an_end_is_told_with_its_cause_its_requests_and_its_length() {
    use Status::{Fresh, Serving, Waiting};
    let (exited, _age) = ends(&[Fresh, Serving, Waiting, Serving], None, CRASH);
    assert_eq!((exited.requests, exited.lifetime), (2, Duration::from_millis(300)));
    let killed = ExitCause::Killed { signal: 11, core: false };
    assert_eq!(exited.cause, killed);
    let (exited, _age) = ends(&[Fresh], Some(StopReason::Retired), Exit::Code(0));
    assert_eq!(exited.cause, ExitCause::Retired);
}

#[test]
fn a_stronger_word_to_all_replaces_an_earlier_one_to_one() {
    let mut registry = Registry::new(2, ChildKind::Pool);
    let child = |slot: u32| ChildId { slot: SlotNumber::new(slot), generation: Generation::new(1) };
    registry.ordered(child(0), 0, at(0));
    registry.ordered(child(1), 0, at(0));
    registry.mark_stopping(child(0), StopReason::Retired);
    registry.mark_stopping(child(0), StopReason::Recycled(daemon_core::RecycleReason::Memory));
    let told = |registry: &Registry| -> Vec<_> {
        registry.records().map(|record| record.stop_reason).collect()
    };
    assert_eq!(told(&registry), [Some(StopReason::Retired), None]);
    registry.mark_all_stopping(StopReason::StoppedNow);
    assert_eq!(told(&registry), [Some(StopReason::StoppedNow); 2]);
    assert_eq!(registry.counts().leaving(), 2);
    registry.remove_failed(child(1));
    assert_eq!(registry.counts().children(), 1);
}

#[test]
fn word_of_another_owner_of_the_slot_changes_nothing() {
    let mut registry = Registry::new(1, ChildKind::Pool);
    let child = |generation: u32| ChildId {
        slot: SlotNumber::new(0),
        generation: Generation::new(generation),
    };
    registry.ordered(child(2), 0, at(0));
    registry.mark_stopping(child(1), StopReason::Retired);
    registry.born(child(1), Pid::from_raw(7).unwrap());
    registry.remove_failed(child(1));
    let record = registry.records().next().unwrap();
    assert_eq!((record.child, record.pid), (child(2), None));
    assert_eq!(record.stop_reason, None);
    assert_eq!(registry.counts().starting(), 1);
}

#[test]
fn a_child_that_is_ready_is_known_by_its_pid_before_the_fork_server_has_told_of_its_birth() {
    let (scoreboard, mut registry, child) = ordered();
    let ChildId { slot, generation } = child;
    let seat = Seat::take(scoreboard.reader(), slot, generation, 7, at(1), Silent).unwrap();
    let pid = Pid::from_raw(7).unwrap();
    registry.update_status(&scoreboard.read(slot));
    assert_eq!(registry.find_by_pid(pid), None);
    seat.report(Status::Fresh, at(2)).unwrap();
    assert_eq!(registry.update_status(&scoreboard.read(slot)), StatusChange::BecameReady);
    assert_eq!(registry.find_by_pid(pid), Some(child));
}
