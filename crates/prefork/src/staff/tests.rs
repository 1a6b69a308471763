use std::time::Duration;

use daemon_core::{Generation, MonotonicTime, SlotNumber, Status, StopReason};
use daemon_sys::{Pid, Signal};
use proptest::prelude::*;

use super::{End, Staff, Step, Told};
use crate::settings::{Paces, Size};

const FIXED: Size = Size::Fixed { max_workers: 3 };
const SPARE: Size = Size::Spare { min_spare_workers: 3, max_spare_workers: 5, max_workers: 10 };

const RETIRED: Told = Told { why: StopReason::Retired, by: Signal::Term };

fn at(milliseconds: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_millis(1_000_000 + milliseconds))
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn slot(number: u32) -> SlotNumber {
    SlotNumber::new(number)
}

fn staff(size: Size) -> Staff {
    Staff::new(size, Paces::default(), size.slots())
}

/// A worker in its slot, which idles.
fn seat(staff: &mut Staff, slot: SlotNumber, now: MonotonicTime) {
    staff.ordered(slot, Generation::new(1), 1, now);
    staff.forked(slot, Pid::from_raw(1000 + slot.get() as i32).expect("positive"));
    staff.seen(slot, Status::Fresh);
}

/// Forks what is wanted, and tells the first step that is no fork.
fn fill(staff: &mut Staff, now: MonotonicTime) -> Step {
    loop {
        match staff.next(now) {
            Step::Fork(slot) => seat(staff, slot, now),
            step @ (Step::Retire(_) | Step::Rest(_)) => return step,
        }
    }
}

#[test]
fn a_fixed_number_is_forked_at_once_into_the_first_slots() {
    let mut staff = staff(FIXED);
    assert_eq!(staff.next(at(0)), Step::Fork(slot(0)));
    assert_eq!(fill(&mut staff, at(0)), Step::Rest(None));
    assert_eq!(staff.workers(), 3);
    assert!(staff.living().map(|(slot, ..)| slot.get()).eq(0..3));
}

#[test]
fn spare_workers_are_forked_as_they_become_active_up_to_the_most() {
    let mut staff = staff(SPARE);
    assert_eq!(fill(&mut staff, at(0)), Step::Rest(None));
    assert_eq!(staff.workers(), 3);
    for number in 0..10 {
        staff.seen(slot(number), Status::Serving);
        fill(&mut staff, at(0));
    }
    assert_eq!((staff.workers(), staff.census.busy()), (10, 10));
    assert_eq!(staff.next(at(0)), Step::Rest(None));
}

#[test]
fn idle_workers_that_are_too_many_for_a_heartbeat_are_retired_the_last_first() {
    let mut staff = staff(SPARE);
    fill(&mut staff, at(0));
    for number in 0..10 {
        staff.seen(slot(number), Status::Serving);
        fill(&mut staff, at(0));
    }
    (0..10).for_each(|number| staff.seen(slot(number), Status::Waiting));
    assert_eq!(staff.next(at(0)), Step::Rest(Some(at(250))));
    let last = [9, 8, 7, 6, 5].map(slot).to_vec();
    assert_eq!(staff.next(at(250)), Step::Retire(last.clone()));
    last.iter().for_each(|slot| staff.dismissed(*slot, RETIRED));
    assert_eq!(staff.next(at(250)), Step::Rest(None));
    last.iter().for_each(|slot| staff.gone(*slot, End::Good, at(260)));
    assert_eq!((staff.next(at(9000)), staff.workers()), (Step::Rest(None), 5));
}

#[test]
fn a_worker_that_ends_well_is_replaced_at_once_however_young() {
    let mut staff = staff(FIXED);
    fill(&mut staff, at(0));
    staff.gone(slot(1), End::Good, at(1));
    assert_eq!(staff.next(at(1)), Step::Fork(slot(1)));
}

#[test]
fn a_failure_makes_its_slot_wait_and_no_other() {
    let mut staff = staff(FIXED);
    fill(&mut staff, at(0));
    staff.gone(slot(0), End::Bad, at(200));
    assert_eq!(staff.next(at(200)), Step::Rest(Some(at(1000))));
    staff.gone(slot(2), End::Good, at(300));
    assert_eq!(staff.next(at(300)), Step::Fork(slot(2)));
    seat(&mut staff, slot(2), at(300));
    assert_eq!(staff.next(at(999)), Step::Rest(Some(at(1000))));
    assert_eq!(staff.next(at(1000)), Step::Fork(slot(0)));
}

#[test]
fn a_failure_of_a_worker_that_had_lived_is_replaced_at_once() {
    let mut staff = staff(FIXED);
    fill(&mut staff, at(0));
    (0..3).for_each(|number| staff.gone(slot(number), End::Bad, at(5000)));
    fill(&mut staff, at(5000));
    assert_eq!(staff.workers(), 3);
}

#[test]
fn forks_are_an_interval_apart() {
    let paces = Paces { spawn_interval: ms(400), ..Paces::default() };
    let mut staff = Staff::new(FIXED, paces, 16);
    for number in 0..3 {
        let now = at(400 * u64::from(number));
        assert_eq!(fill(&mut staff, now), Step::Rest((number < 2).then(|| now + ms(400))));
        assert_eq!(staff.workers(), number + 1);
    }
}

#[test]
fn a_fork_that_is_refused_is_tried_again_and_never_in_a_hot_loop() {
    for (interval, until) in [(1000, 1000), (0, 100)] {
        let paces = Paces { err_respawn_interval: ms(interval), ..Paces::default() };
        let mut staff = Staff::new(FIXED, paces, 16);
        staff.ordered(slot(0), Generation::new(1), 1, at(0));
        staff.refused(slot(0), at(0));
        assert_eq!(staff.workers(), 0);
        assert_eq!(staff.next(at(0)), Step::Rest(Some(at(until))));
        assert_eq!(staff.next(at(until)), Step::Fork(slot(0)));
    }
}

#[test]
fn fewer_workers_are_wanted_and_idle_ones_go_first() {
    let mut staff = staff(FIXED);
    fill(&mut staff, at(0));
    staff.seen(slot(2), Status::Serving);
    staff.set(Size::Fixed { max_workers: 1 }, Paces::default());
    assert_eq!(staff.next(at(0)), Step::Retire(vec![slot(1), slot(0)]));
    staff.dismissed(slot(1), RETIRED);
    staff.dismissed(slot(0), RETIRED);
    assert_eq!(staff.next(at(0)), Step::Rest(None));
    staff.gone(slot(0), End::Good, at(1));
    staff.gone(slot(1), End::Good, at(1));
    assert_eq!(staff.next(at(1)), Step::Rest(None));
    staff.gone(slot(2), End::Good, at(2));
    assert_eq!(staff.next(at(2)), Step::Fork(slot(0)));
}

#[test]
fn fewer_spare_workers_are_wanted_and_those_past_the_most_go_busy_or_not() {
    let mut staff = staff(SPARE);
    fill(&mut staff, at(0));
    for number in 0..7 {
        staff.seen(slot(number), Status::Serving);
        fill(&mut staff, at(0));
    }
    assert_eq!(staff.workers(), 10);
    let size = Size::Spare { min_spare_workers: 3, max_spare_workers: 5, max_workers: 6 };
    staff.set(size, Paces::default());
    assert_eq!(staff.next(at(0)), Step::Retire([9, 8, 7, 6].map(slot).to_vec()));
}

#[test]
fn a_pool_that_has_all_it_wants_forks_nobody_when_numbers_are_set_again() {
    let mut staff = staff(SPARE);
    fill(&mut staff, at(0));
    staff.set(SPARE, Paces { spawn_interval: ms(5), ..Paces::default() });
    assert_eq!(staff.next(at(0)), Step::Rest(None));
}

#[test]
fn more_workers_are_wanted_and_the_ones_that_are_told_to_go_still_count() {
    let mut staff = staff(FIXED);
    fill(&mut staff, at(0));
    (0..3).for_each(|number| staff.dismissed(slot(number), RETIRED));
    assert_eq!(staff.next(at(0)), Step::Rest(None));
    staff.set(Size::Fixed { max_workers: 4 }, Paces::default());
    assert_eq!(staff.next(at(0)), Step::Fork(slot(3)));
    fill(&mut staff, at(0));
    assert_eq!(staff.workers(), 4);
}

#[test]
fn a_slot_that_waits_after_a_failure_waits_on_when_numbers_change() {
    let mut staff = staff(FIXED);
    fill(&mut staff, at(0));
    staff.gone(slot(0), End::Bad, at(10));
    staff.set(FIXED, Paces::default());
    assert_eq!(staff.next(at(10)), Step::Rest(Some(at(1000))));
}

#[test]
fn a_new_generation_waits_for_no_slot_but_for_a_system_that_has_refused() {
    let mut staff = staff(FIXED);
    fill(&mut staff, at(0));
    staff.gone(slot(0), End::Bad, at(10));
    staff.begin();
    assert_eq!(staff.next(at(10)), Step::Fork(slot(0)));
    staff.ordered(slot(0), Generation::new(1), 2, at(10));
    staff.refused(slot(0), at(10));
    staff.begin();
    assert_eq!(staff.next(at(10)), Step::Rest(Some(at(1010))));
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Happens {
    Report(u32, Status),
    Ends(u32, End),
    Refusal,
    Time(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    let status = prop_oneof![Just(Status::Waiting), Just(Status::Serving), Just(Status::Leaving)];
    prop_oneof![
        4 => (0..10_u32, status).prop_map(|(slot, status)| Happens::Report(slot, status)),
        2 => (0..10_u32, prop_oneof![Just(End::Good), Just(End::Bad)])
            .prop_map(|(slot, end)| Happens::Ends(slot, end)),
        1 => Just(Happens::Refusal),
        2 => (1..2000_u64).prop_map(Happens::Time),
    ]
}

proptest! {
    #[test]
    fn there_are_never_too_many_and_in_the_end_enough(
        size in prop_oneof![Just(FIXED), Just(SPARE)],
        story in prop::collection::vec(happens(), 0..200),
    ) {
        let mut staff = staff(size);
        let mut now = at(0);
        let mut refuses = false;
        for event in story {
            match event {
                Happens::Report(number, status) => staff.seen(slot(number), status),
                Happens::Ends(number, end) => staff.gone(slot(number), end, now),
                Happens::Refusal => refuses = true,
                Happens::Time(passed) => now = now + ms(passed),
            }
            loop {
                match staff.next(now) {
                    Step::Fork(free) => {
                        prop_assert!(staff.desk(free).is_none(), "a slot that is taken");
                        if std::mem::take(&mut refuses) {
                            staff.ordered(free, Generation::new(1), 1, now);
                            staff.refused(free, now);
                        } else {
                            seat(&mut staff, free, now);
                        }
                    }
                    Step::Retire(slots) => {
                        prop_assert!(!slots.is_empty());
                        slots.iter().for_each(|slot| staff.dismissed(*slot, RETIRED));
                    }
                    Step::Rest(until) => {
                        prop_assert!(until.is_none_or(|until| now < until), "a rest that is over");
                        break;
                    }
                }
                prop_assert!(staff.workers() <= staff.max_workers());
            }
        }
        // Everyone that is told to go goes, and the rest becomes idle: it settles.
        for _round in 0..10 {
            now = now + ms(2000);
            for number in 0..10 {
                if staff.desk(slot(number)).is_some_and(|desk| {
                    desk.dismissed.is_some() || desk.counted == Status::Leaving
                }) {
                    staff.gone(slot(number), End::Good, now);
                }
                staff.seen(slot(number), Status::Waiting);
            }
            if let Step::Retire(slots) = fill(&mut staff, now) {
                slots.iter().for_each(|slot| staff.dismissed(*slot, RETIRED));
            }
        }
        match size {
            Size::Fixed { max_workers } => prop_assert_eq!(staff.workers(), max_workers),
            Size::Spare { min_spare_workers, max_spare_workers, .. } => {
                let there = staff.workers();
                prop_assert!((min_spare_workers..=max_spare_workers).contains(&there), "{there}");
            }
        }
    }
}
