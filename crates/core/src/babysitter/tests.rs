//! Tests the babysitter over time: samples, ladders, suspensions, and random sequences.

use proptest::prelude::*;

use super::*;
use crate::label::{Label, LabelText};
use crate::quota::Jitter;

const SECOND: Duration = Duration::from_secs(1);
const SLOTS: u32 = 4;

fn at(tenths: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_millis(1_000_000 + tenths * 100))
}

fn entry(status: Status, since: u64, requests: u64) -> SlotEntry {
    SlotEntry {
        slot: SlotNumber::new(0),
        status: Some(status),
        pid: 700,
        generation: Generation::new(1),
        started_at: at(0),
        since: at(since),
        requests,
        label: Label::Text(LabelText::EMPTY),
        heartbeat: None,
        deadline: None,
        fault: None,
    }
}

fn free() -> Limits {
    Limits { cpu: None, long_cpu: None, lifetime_jitter: Jitter::NONE, ..Limits::default() }
}

fn babysitter(limits: Limits) -> Babysitter {
    Babysitter::new(limits, Ladder::with_interval(SECOND), at(0))
}

fn scan(
    babysitter: &mut Babysitter,
    entry: SlotEntry,
    presence: Presence,
    now: u64,
) -> Vec<ActionKind> {
    let actions = babysitter.scan([ScanResult { entry, presence }], SLOTS, at(now));
    actions.into_iter().map(|action| action.kind).collect()
}

fn sample(tenths: u64, memory: u64) -> Presence {
    Presence::Seen(ProcessSample { cpu: Duration::from_millis(tenths * 100), memory: Some(memory) })
}

#[test]
fn all_steps_of_the_ladder_are_taken_against_a_rogue() {
    let mut babysitter = babysitter(Limits { request_timeout: Some(SECOND), ..free() });
    let serving = entry(Status::Serving, 0, 1);
    let mut steps = Vec::new();
    for now in 0..100 {
        let kinds = scan(&mut babysitter, serving, Presence::NotChecked, now);
        steps.extend(kinds.into_iter().map(|kind| (now, kind)));
    }
    use Violation::Time;
    let expected = [
        (10, ActionKind::FirstStep(Time, LadderStep::Int)),
        (30, ActionKind::NextStep(Time, LadderStep::Term)),
        (50, ActionKind::NextStep(Time, LadderStep::Kill)),
        (70, ActionKind::NextStep(Time, LadderStep::GiveUp)),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn the_ladder_starts_again_after_a_child_has_recovered() {
    let mut babysitter = babysitter(Limits { request_timeout: Some(SECOND), ..free() });
    let scan = |babysitter: &mut _, entry, now| scan(babysitter, entry, Presence::NotChecked, now);
    let first = entry(Status::Serving, 0, 1);
    assert_eq!(
        scan(&mut babysitter, first, 10),
        [ActionKind::FirstStep(Violation::Time, LadderStep::Int)]
    );
    let waiting = entry(Status::Waiting, 12, 1);
    assert_eq!(scan(&mut babysitter, waiting, 15), [ActionKind::Recovered(Violation::Time)]);
    assert_eq!(scan(&mut babysitter, waiting, 40), []);
    let second = entry(Status::Serving, 40, 2);
    assert_eq!(
        scan(&mut babysitter, second, 50),
        [ActionKind::FirstStep(Violation::Time, LadderStep::Int)]
    );
}

#[test]
fn the_next_child_of_a_slot_does_not_continue_the_ladder_of_the_previous_child() {
    let mut babysitter = babysitter(Limits { request_timeout: Some(SECOND), ..free() });
    let serving = entry(Status::Serving, 0, 1);
    assert_eq!(scan(&mut babysitter, serving, Presence::NotChecked, 10).len(), 1);
    let next = SlotEntry { generation: Generation::new(2), ..entry(Status::Serving, 30, 1) };
    assert_eq!(scan(&mut babysitter, next, Presence::NotChecked, 39), []);
    let kinds = scan(&mut babysitter, next, Presence::NotChecked, 40);
    assert_eq!(kinds, [ActionKind::FirstStep(Violation::Time, LadderStep::Int)]);
}

#[test]
fn the_cpu_time_of_a_request_counts_from_the_first_sample_during_the_request() {
    let mut babysitter = babysitter(Limits { cpu: Some(SECOND), ..free() });
    let scan = |babysitter: &mut _, entry, presence, now| scan(babysitter, entry, presence, now);
    let (first, second) = (entry(Status::Serving, 0, 1), entry(Status::Serving, 30, 2));
    assert_eq!(scan(&mut babysitter, first, sample(500, 0), 1), []);
    assert_eq!(scan(&mut babysitter, first, sample(510, 0), 11), [], "one second is allowed");
    assert_eq!(
        scan(&mut babysitter, second, sample(519, 0), 31),
        [],
        "each request has its own CPU time"
    );
    assert_eq!(scan(&mut babysitter, second, sample(529, 0), 41), []);
    let rogue = [ActionKind::FirstStep(Violation::Cpu, LadderStep::Int)];
    assert_eq!(scan(&mut babysitter, second, sample(530, 0), 42), rogue);
    let idle = entry(Status::Waiting, 43, 2);
    let recovered = [ActionKind::Recovered(Violation::Cpu)];
    assert_eq!(scan(&mut babysitter, idle, Presence::NotChecked, 44), recovered);
}

#[test]
fn exceeding_the_soft_memory_limit_recycles_a_child_once_and_exceeding_the_hard_limit_kills_it() {
    let limits = Limits { soft_memory: Some(10), hard_memory: Some(20), ..free() };
    let mut babysitter = babysitter(limits);
    let waiting = entry(Status::Waiting, 0, 0);
    let recycle = [ActionKind::Recycle(RecycleReason::Memory)];
    assert_eq!(scan(&mut babysitter, waiting, sample(0, 11), 1), recycle);
    assert_eq!(scan(&mut babysitter, waiting, sample(0, 12), 2), []);
    let kill = [ActionKind::FirstStep(Violation::Memory, LadderStep::Kill)];
    assert_eq!(scan(&mut babysitter, waiting, sample(0, 21), 3), kill);
}

#[test]
fn a_slow_request_is_reported_once() {
    let mut babysitter = babysitter(Limits { slowlog_after: Some(SECOND), ..free() });
    let first = entry(Status::Serving, 0, 1);
    let reports: usize =
        (0..50).map(|now| scan(&mut babysitter, first, Presence::NotChecked, now).len()).sum();
    assert_eq!(reports, 1);
    let second = entry(Status::Serving, 50, 2);
    assert_eq!(scan(&mut babysitter, second, Presence::NotChecked, 60), [ActionKind::SlowRequest]);
}

#[test]
fn a_child_is_missing_after_two_samples_without_its_process_unless_the_process_is_hidden() {
    let mut babysitter = babysitter(free());
    let waiting = entry(Status::Waiting, 0, 0);
    let scans = [
        (Presence::Gone, 0),
        (sample(0, 0), 0),
        (Presence::Gone, 0),
        (Presence::Hidden, 0),
        (Presence::Gone, 0),
        (Presence::NotChecked, 0),
        (Presence::NotChecked, 0),
        (Presence::Gone, 1),
    ];
    for (now, (presence, actions)) in scans.into_iter().enumerate() {
        let kinds = scan(&mut babysitter, waiting, presence, now as u64);
        assert_eq!(kinds.len(), actions, "{presence:?} at {now}");
    }
}

#[test]
fn the_timeouts_start_again_after_the_babysitter_was_suspended() {
    let limits =
        Limits { heartbeat_timeout: Some(SECOND), request_timeout: Some(2 * SECOND), ..free() };
    let mut babysitter = babysitter(limits);
    let serving = SlotEntry { heartbeat: Some(at(0)), ..entry(Status::Serving, 0, 1) };
    let due = babysitter.next_scan([serving], SLOTS, at(300), at(5));
    assert_eq!(due, at(10));
    // The scan is five seconds late, because the system was suspended. For the same reason the
    // child has sent no heartbeat.
    assert_eq!(scan(&mut babysitter, serving, Presence::NotChecked, 60), []);
    let due = babysitter.next_scan([serving], SLOTS, at(300), at(60));
    assert_eq!(due, at(70), "the timeout starts again");
    assert_eq!(scan(&mut babysitter, serving, Presence::NotChecked, 70), []);
    assert_eq!(
        babysitter.next_scan([serving], SLOTS, at(300), at(70)),
        at(72),
        "the heartbeat is checked again"
    );
    let kinds = scan(&mut babysitter, serving, Presence::NotChecked, 72);
    assert_eq!(kinds, [ActionKind::FirstStep(Violation::Hung, LadderStep::Kill)]);
}

#[test]
fn the_next_scan_is_when_a_limit_or_step_is_due_or_when_a_new_request_could_time_out() {
    let mut idle = babysitter(free());
    let waiting = entry(Status::Waiting, 0, 0);
    assert_eq!(idle.next_scan([waiting], SLOTS, at(300), at(1)), at(300));
    let mut timed = babysitter(Limits { request_timeout: Some(2 * SECOND), ..free() });
    assert_eq!(timed.next_scan([waiting], SLOTS, at(300), at(1)), at(21));
    let serving = entry(Status::Serving, 0, 1);
    assert_eq!(timed.next_scan([serving], SLOTS, at(300), at(1)), at(20));
    scan(&mut timed, serving, Presence::NotChecked, 20);
    assert_eq!(timed.next_scan([serving], SLOTS, at(300), at(20)), at(40), "the next step is due");
}

#[test]
fn a_child_is_hung_only_if_its_heartbeat_is_missing_at_two_checks() {
    let mut babysitter = babysitter(Limits { heartbeat_timeout: Some(SECOND), ..free() });
    let beat = |now| SlotEntry { heartbeat: Some(at(now)), ..entry(Status::Waiting, 0, 0) };
    assert_eq!(scan(&mut babysitter, beat(0), Presence::NotChecked, 10), []);
    // This child was frozen together with the babysitter just before the scan was due, and sends a
    // heartbeat as soon as it resumes.
    assert_eq!(scan(&mut babysitter, beat(11), Presence::NotChecked, 12), []);
    assert_eq!(scan(&mut babysitter, beat(11), Presence::NotChecked, 21), []);
    assert_eq!(scan(&mut babysitter, beat(11), Presence::NotChecked, 22), []);
    let killed = [ActionKind::FirstStep(Violation::Hung, LadderStep::Kill)];
    assert_eq!(scan(&mut babysitter, beat(11), Presence::NotChecked, 23), killed);
}

#[test]
fn a_step_is_confirmed_only_if_the_violation_of_the_same_child_persists() {
    let mut babysitter = babysitter(Limits { request_timeout: Some(SECOND), ..free() });
    let late = entry(Status::Serving, 0, 1);
    let scanned = ScanResult { entry: late, presence: Presence::NotChecked };
    let actions = babysitter.scan([scanned], SLOTS, at(10));
    let action = actions[0];
    assert_eq!(babysitter.confirm(&action, &late, SLOTS, at(11)), Confirmation::StillValid);
    let others = [
        entry(Status::Waiting, 11, 1),
        entry(Status::Serving, 11, 2),
        SlotEntry { generation: Generation::new(2), ..late },
        entry(Status::Empty, 11, 0),
    ];
    for other in others {
        assert_eq!(
            babysitter.confirm(&action, &other, SLOTS, at(12)),
            Confirmation::Outdated,
            "{other:?}"
        );
        // The child's ladder is forgotten, so the next violation starts with the first step.
        let next = scan(&mut babysitter, late, Presence::NotChecked, 13);
        assert_eq!(next, [ActionKind::FirstStep(Violation::Time, LadderStep::Int)]);
    }
}

#[test]
fn slow_requests_are_also_reported_for_children_that_are_being_recycled() {
    let limits = Limits { slowlog_after: Some(3 * SECOND), max_lifetime: Some(SECOND), ..free() };
    let mut babysitter = babysitter(limits);
    let serving = entry(Status::Serving, 0, 1);
    let recycle = [ActionKind::Recycle(RecycleReason::Lifetime)];
    assert_eq!(scan(&mut babysitter, serving, Presence::NotChecked, 10), recycle);
    assert_eq!(scan(&mut babysitter, serving, Presence::NotChecked, 30), [ActionKind::SlowRequest]);
}

fn any_status() -> impl Strategy<Value = Status> {
    prop::sample::select(Status::ALL.to_vec())
}

proptest! {
    /// In any sequence of scans, a ladder starts only if none is in progress, its steps only go
    /// forward, no step is repeated without a recovery in between, and the next scan is in the
    /// future.
    #[test]
    fn ladder_steps_follow_each_other_until_the_child_recovers(
        scans in prop::collection::vec((any_status(), 0_u64..30, 0_u64..40), 1..80)
    ) {
        let limits = Limits {
            request_timeout: Some(SECOND),
            long_timeout: Some(3 * SECOND),
            heartbeat_timeout: Some(5 * SECOND),
            hard_memory: Some(30),
            ..free()
        };
        let mut babysitter = babysitter(limits);
        let mut now = 0;
        let mut last: Option<LadderStep> = None;
        for (status, pause, memory) in scans {
            now += pause;
            let beat = Some(at(now.saturating_sub(pause)));
            let entry = SlotEntry { heartbeat: beat, ..entry(status, now.saturating_sub(20), 1) };
            for kind in scan(&mut babysitter, entry, sample(0, memory), now) {
                match kind {
                    ActionKind::FirstStep(_, step) => {
                        prop_assert_eq!(last, None);
                        last = Some(step);
                    }
                    ActionKind::NextStep(_, step) => {
                        let rank = |step| match step {
                            LadderStep::Int => 0,
                            LadderStep::Term => 1,
                            LadderStep::Quit | LadderStep::Kill => 2,
                            LadderStep::GiveUp => 3,
                        };
                        prop_assert!(last.is_some_and(|last| rank(last) < rank(step)));
                        last = Some(step);
                    }
                    ActionKind::Recovered(_) => last = None,
                    ActionKind::Recycle(_) | ActionKind::SlowRequest | ActionKind::Missing => {}
                }
            }
            if matches!(status, Status::Empty | Status::Forking) {
                last = None;
            }
            let due = babysitter.next_scan([entry], SLOTS, at(now + 300), at(now));
            prop_assert!(due > at(now) && due <= at(now + 300));
        }
    }
}
