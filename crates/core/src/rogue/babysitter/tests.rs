//! The babysitter over time: samples, ladders, sleeps, and random histories.

use proptest::prelude::*;

use super::*;
use crate::label::{Label, LabelText};
use crate::quota::Jitter;

const SECOND: Duration = Duration::from_secs(1);
const SLOTS: u32 = 4;

fn at(tenths: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_millis(1_000_000 + tenths * 100))
}

fn entry(status: Status, since: u64, requests: u64) -> Entry {
    Entry {
        slot: SlotNumber::new(0),
        status: Some(status),
        pid: 700,
        generation: Generation::new(1),
        born: at(0),
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
    Babysitter::new(limits, Ladder::of_interval(SECOND), at(0))
}

fn look(babysitter: &mut Babysitter, entry: Entry, presence: Presence, now: u64) -> Vec<Why> {
    let errands = babysitter.look([ScanResult { entry, presence }], SLOTS, at(now));
    errands.into_iter().map(|errand| errand.why).collect()
}

fn sample(tenths: u64, memory: u64) -> Presence {
    Presence::Seen(Sample { cpu: Duration::from_millis(tenths * 100), memory: Some(memory) })
}

#[test]
fn a_rogue_climbs_the_ladder_until_it_is_given_up() {
    let mut babysitter = babysitter(Limits { request_timeout: Some(SECOND), ..free() });
    let serving = entry(Status::Serving, 0, 1);
    let mut steps = Vec::new();
    for now in 0..100 {
        let whys = look(&mut babysitter, serving, Presence::NotChecked, now);
        steps.extend(whys.into_iter().map(|why| (now, why)));
    }
    use Violation::Time;
    let expected = [
        (10, Why::First(Time, LadderStep::Int)),
        (30, Why::Next(Time, LadderStep::Term)),
        (50, Why::Next(Time, LadderStep::Kill)),
        (70, Why::Next(Time, LadderStep::GiveUp)),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn a_child_that_comes_back_to_normal_climbs_down_and_begins_below_again() {
    let mut babysitter = babysitter(Limits { request_timeout: Some(SECOND), ..free() });
    let look = |babysitter: &mut _, entry, now| look(babysitter, entry, Presence::NotChecked, now);
    let first = entry(Status::Serving, 0, 1);
    assert_eq!(look(&mut babysitter, first, 10), [Why::First(Violation::Time, LadderStep::Int)]);
    let waiting = entry(Status::Waiting, 12, 1);
    assert_eq!(look(&mut babysitter, waiting, 15), [Why::Recovered(Violation::Time)]);
    assert_eq!(look(&mut babysitter, waiting, 40), []);
    let second = entry(Status::Serving, 40, 2);
    assert_eq!(look(&mut babysitter, second, 50), [Why::First(Violation::Time, LadderStep::Int)]);
}

#[test]
fn a_slot_s_next_owner_does_not_inherit_the_ladder() {
    let mut babysitter = babysitter(Limits { request_timeout: Some(SECOND), ..free() });
    let serving = entry(Status::Serving, 0, 1);
    assert_eq!(look(&mut babysitter, serving, Presence::NotChecked, 10).len(), 1);
    let next = Entry { generation: Generation::new(2), ..entry(Status::Serving, 30, 1) };
    assert_eq!(look(&mut babysitter, next, Presence::NotChecked, 39), []);
    let whys = look(&mut babysitter, next, Presence::NotChecked, 40);
    assert_eq!(whys, [Why::First(Violation::Time, LadderStep::Int)]);
}

#[test]
fn processor_time_counts_from_the_first_sample_in_the_request() {
    let mut babysitter = babysitter(Limits { cpu: Some(SECOND), ..free() });
    let look = |babysitter: &mut _, entry, presence, now| look(babysitter, entry, presence, now);
    let (first, second) = (entry(Status::Serving, 0, 1), entry(Status::Serving, 30, 2));
    assert_eq!(look(&mut babysitter, first, sample(500, 0), 1), []);
    assert_eq!(look(&mut babysitter, first, sample(510, 0), 11), [], "a second is allowed");
    assert_eq!(look(&mut babysitter, second, sample(519, 0), 31), [], "another request");
    assert_eq!(look(&mut babysitter, second, sample(529, 0), 41), []);
    let rogue = [Why::First(Violation::Cpu, LadderStep::Int)];
    assert_eq!(look(&mut babysitter, second, sample(530, 0), 42), rogue);
    let idle = entry(Status::Waiting, 43, 2);
    let recovered = [Why::Recovered(Violation::Cpu)];
    assert_eq!(look(&mut babysitter, idle, Presence::NotChecked, 44), recovered);
}

#[test]
fn memory_recycles_once_and_kills_at_the_hard_limit() {
    let limits = Limits { soft_memory: Some(10), hard_memory: Some(20), ..free() };
    let mut babysitter = babysitter(limits);
    let waiting = entry(Status::Waiting, 0, 0);
    let recycle = [Why::Recycle(RecycleReason::Memory)];
    assert_eq!(look(&mut babysitter, waiting, sample(0, 11), 1), recycle);
    assert_eq!(look(&mut babysitter, waiting, sample(0, 12), 2), []);
    let kill = [Why::First(Violation::Memory, LadderStep::Kill)];
    assert_eq!(look(&mut babysitter, waiting, sample(0, 21), 3), kill);
}

#[test]
fn a_slow_request_is_told_once() {
    let mut babysitter = babysitter(Limits { slowlog_after: Some(SECOND), ..free() });
    let first = entry(Status::Serving, 0, 1);
    let told: usize =
        (0..50).map(|now| look(&mut babysitter, first, Presence::NotChecked, now).len()).sum();
    assert_eq!(told, 1);
    let second = entry(Status::Serving, 50, 2);
    assert_eq!(look(&mut babysitter, second, Presence::NotChecked, 60), [Why::Slow]);
}

#[test]
fn a_child_is_missing_when_two_samples_in_a_row_do_not_find_it_and_never_when_it_is_hidden() {
    let mut babysitter = babysitter(free());
    let waiting = entry(Status::Waiting, 0, 0);
    let looks = [
        (Presence::Gone, 0),
        (sample(0, 0), 0),
        (Presence::Gone, 0),
        (Presence::Hidden, 0),
        (Presence::Gone, 0),
        (Presence::NotChecked, 0),
        (Presence::NotChecked, 0),
        (Presence::Gone, 1),
    ];
    for (now, (presence, errands)) in looks.into_iter().enumerate() {
        let whys = look(&mut babysitter, waiting, presence, now as u64);
        assert_eq!(whys.len(), errands, "{presence:?} at {now}");
    }
}

#[test]
fn after_a_sleep_of_its_own_the_babysitter_kills_nobody_who_goes_on() {
    let limits =
        Limits { heartbeat_timeout: Some(SECOND), request_timeout: Some(2 * SECOND), ..free() };
    let mut babysitter = babysitter(limits);
    let serving = Entry { heartbeat: Some(at(0)), ..entry(Status::Serving, 0, 1) };
    let due = babysitter.next_look([serving], SLOTS, at(300), at(5));
    assert_eq!(due, at(10));
    // Five seconds late: the machine was suspended, and nobody's heart has beaten.
    assert_eq!(look(&mut babysitter, serving, Presence::NotChecked, 60), []);
    let due = babysitter.next_look([serving], SLOTS, at(300), at(60));
    assert_eq!(due, at(70), "it has its whole time again");
    assert_eq!(look(&mut babysitter, serving, Presence::NotChecked, 70), []);
    assert_eq!(babysitter.next_look([serving], SLOTS, at(300), at(70)), at(72), "a second look");
    let whys = look(&mut babysitter, serving, Presence::NotChecked, 72);
    assert_eq!(whys, [Why::First(Violation::Hung, LadderStep::Kill)]);
}

#[test]
fn the_next_look_is_when_something_is_due_or_could_be_by_then() {
    let mut idle = babysitter(free());
    let waiting = entry(Status::Waiting, 0, 0);
    assert_eq!(idle.next_look([waiting], SLOTS, at(300), at(1)), at(300));
    let mut timed = babysitter(Limits { request_timeout: Some(2 * SECOND), ..free() });
    assert_eq!(timed.next_look([waiting], SLOTS, at(300), at(1)), at(21));
    let serving = entry(Status::Serving, 0, 1);
    assert_eq!(timed.next_look([serving], SLOTS, at(300), at(1)), at(20));
    look(&mut timed, serving, Presence::NotChecked, 20);
    assert_eq!(timed.next_look([serving], SLOTS, at(300), at(20)), at(40), "the next rung");
}

#[test]
fn a_heart_is_missed_twice_before_anything_is_done() {
    let mut babysitter = babysitter(Limits { heartbeat_timeout: Some(SECOND), ..free() });
    let beat = |now| Entry { heartbeat: Some(at(now)), ..entry(Status::Waiting, 0, 0) };
    assert_eq!(look(&mut babysitter, beat(0), Presence::NotChecked, 10), []);
    // A machine that was frozen just before the look was due: its children beat as they wake.
    assert_eq!(look(&mut babysitter, beat(11), Presence::NotChecked, 12), []);
    assert_eq!(look(&mut babysitter, beat(11), Presence::NotChecked, 21), []);
    assert_eq!(look(&mut babysitter, beat(11), Presence::NotChecked, 22), []);
    let killed = [Why::First(Violation::Hung, LadderStep::Kill)];
    assert_eq!(look(&mut babysitter, beat(11), Presence::NotChecked, 23), killed);
}

#[test]
fn a_step_is_confirmed_only_if_the_same_child_still_does_the_same() {
    let mut babysitter = babysitter(Limits { request_timeout: Some(SECOND), ..free() });
    let late = entry(Status::Serving, 0, 1);
    let looked = ScanResult { entry: late, presence: Presence::NotChecked };
    let errands = babysitter.look([looked], SLOTS, at(10));
    let errand = errands[0];
    assert_eq!(babysitter.confirm(&errand, &late, SLOTS, at(11)), Confirmed::Yes);
    let others = [
        entry(Status::Waiting, 11, 1),
        entry(Status::Serving, 11, 2),
        Entry { generation: Generation::new(2), ..late },
        entry(Status::Empty, 11, 0),
    ];
    for other in others {
        assert_eq!(babysitter.confirm(&errand, &other, SLOTS, at(12)), Confirmed::No, "{other:?}");
        // Forgotten: what it does next begins below again.
        let next = look(&mut babysitter, late, Presence::NotChecked, 13);
        assert_eq!(next, [Why::First(Violation::Time, LadderStep::Int)]);
    }
}

#[test]
fn a_request_is_slow_also_in_a_child_that_was_told_to_go() {
    let limits = Limits { slowlog_after: Some(3 * SECOND), max_lifetime: Some(SECOND), ..free() };
    let mut babysitter = babysitter(limits);
    let serving = entry(Status::Serving, 0, 1);
    let recycle = [Why::Recycle(RecycleReason::Lifetime)];
    assert_eq!(look(&mut babysitter, serving, Presence::NotChecked, 10), recycle);
    assert_eq!(look(&mut babysitter, serving, Presence::NotChecked, 30), [Why::Slow]);
}

fn any_status() -> impl Strategy<Value = Status> {
    prop::sample::select(Status::ALL.to_vec())
}

proptest! {
    /// Whatever happens: no step without an offence before it, steps only upwards, none twice
    /// without a recovery in between, and the next look is never in the past.
    #[test]
    fn steps_go_up_one_by_one_and_down_only_by_recovery(
        looks in prop::collection::vec((any_status(), 0_u64..30, 0_u64..40), 1..80)
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
        for (status, pause, memory) in looks {
            now += pause;
            let beat = Some(at(now.saturating_sub(pause)));
            let entry = Entry { heartbeat: beat, ..entry(status, now.saturating_sub(20), 1) };
            for why in look(&mut babysitter, entry, sample(0, memory), now) {
                match why {
                    Why::First(_, measure) => {
                        prop_assert_eq!(last, None);
                        last = Some(measure);
                    }
                    Why::Next(_, measure) => {
                        let rank = |measure| match measure {
                            LadderStep::Int => 0,
                            LadderStep::Term => 1,
                            LadderStep::Quit | LadderStep::Kill => 2,
                            LadderStep::GiveUp => 3,
                        };
                        prop_assert!(last.is_some_and(|last| rank(last) < rank(measure)));
                        last = Some(measure);
                    }
                    Why::Recovered(_) => last = None,
                    Why::Recycle(_) | Why::Slow | Why::Missing => {}
                }
            }
            if matches!(status, Status::Empty | Status::Forking) {
                last = None;
            }
            let due = babysitter.next_look([entry], SLOTS, at(now + 300), at(now));
            prop_assert!(due > at(now) && due <= at(now + 300));
        }
    }
}
