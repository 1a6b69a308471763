use std::time::Duration;

use daemon_core::{Generation, MonotonicTime, SlotNumber, Status, StopReason};
use daemon_sys::{Pid, Signal};
use proptest::prelude::*;

use super::{ExitKind, PoolAction, StopRequest, WorkerPool};
use crate::settings::{Intervals, Size};

const FIXED: Size = Size::Fixed { max_workers: 3 };
const SPARE: Size = Size::Spare { min_spare_workers: 3, max_spare_workers: 5, max_workers: 10 };

const RETIRED: StopRequest = StopRequest { reason: StopReason::Retired, by: Signal::Term };

fn at(milliseconds: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_millis(1_000_000 + milliseconds))
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn slot(number: u32) -> SlotNumber {
    SlotNumber::new(number)
}

fn pool(size: Size) -> WorkerPool {
    WorkerPool::new(size, Intervals::default(), size.slots())
}

/// A worker in its slot, which idles.
fn seat(pool: &mut WorkerPool, slot: SlotNumber, now: MonotonicTime) {
    pool.set_forking(slot, Generation::new(1), 1, now);
    pool.set_forked(slot, Pid::from_raw(1000 + slot.get() as i32).expect("positive"));
    pool.set_status(slot, Status::Fresh);
}

/// Forks what is wanted, and tells the first step that is no fork.
fn fill(pool: &mut WorkerPool, now: MonotonicTime) -> PoolAction {
    loop {
        match pool.next(now) {
            PoolAction::Fork(slot) => seat(pool, slot, now),
            step @ (PoolAction::Stop(_) | PoolAction::Wait(_)) => return step,
        }
    }
}

#[test]
fn a_fixed_number_is_forked_at_once_into_the_first_slots() {
    let mut pool = pool(FIXED);
    assert_eq!(pool.next(at(0)), PoolAction::Fork(slot(0)));
    assert_eq!(fill(&mut pool, at(0)), PoolAction::Wait(None));
    assert_eq!(pool.workers(), 3);
    assert!(pool.living().map(|(slot, ..)| slot.get()).eq(0..3));
}

#[test]
fn spare_workers_are_forked_as_they_become_active_up_to_the_most() {
    let mut pool = pool(SPARE);
    assert_eq!(fill(&mut pool, at(0)), PoolAction::Wait(None));
    assert_eq!(pool.workers(), 3);
    for number in 0..10 {
        pool.set_status(slot(number), Status::Serving);
        fill(&mut pool, at(0));
    }
    assert_eq!((pool.workers(), pool.counts.busy()), (10, 10));
    assert_eq!(pool.next(at(0)), PoolAction::Wait(None));
}

#[test]
fn idle_workers_that_are_too_many_for_a_heartbeat_are_retired_the_last_first() {
    let mut pool = pool(SPARE);
    fill(&mut pool, at(0));
    for number in 0..10 {
        pool.set_status(slot(number), Status::Serving);
        fill(&mut pool, at(0));
    }
    (0..10).for_each(|number| pool.set_status(slot(number), Status::Waiting));
    assert_eq!(pool.next(at(0)), PoolAction::Wait(Some(at(250))));
    let last = [9, 8, 7, 6, 5].map(slot).to_vec();
    assert_eq!(pool.next(at(250)), PoolAction::Stop(last.clone()));
    last.iter().for_each(|slot| pool.stop_request(*slot, RETIRED));
    assert_eq!(pool.next(at(250)), PoolAction::Wait(None));
    last.iter().for_each(|slot| pool.set_exited(*slot, ExitKind::Regular, at(260)));
    assert_eq!((pool.next(at(9000)), pool.workers()), (PoolAction::Wait(None), 5));
}

#[test]
fn a_worker_that_ends_well_is_replaced_at_once_however_young() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    pool.set_exited(slot(1), ExitKind::Regular, at(1));
    assert_eq!(pool.next(at(1)), PoolAction::Fork(slot(1)));
}

#[test]
fn a_failure_makes_its_slot_wait_and_no_other() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    pool.set_exited(slot(0), ExitKind::Failure, at(200));
    assert_eq!(pool.next(at(200)), PoolAction::Wait(Some(at(1000))));
    pool.set_exited(slot(2), ExitKind::Regular, at(300));
    assert_eq!(pool.next(at(300)), PoolAction::Fork(slot(2)));
    seat(&mut pool, slot(2), at(300));
    assert_eq!(pool.next(at(999)), PoolAction::Wait(Some(at(1000))));
    assert_eq!(pool.next(at(1000)), PoolAction::Fork(slot(0)));
}

#[test]
fn a_failure_of_a_worker_that_had_lived_is_replaced_at_once() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    (0..3).for_each(|number| pool.set_exited(slot(number), ExitKind::Failure, at(5000)));
    fill(&mut pool, at(5000));
    assert_eq!(pool.workers(), 3);
}

#[test]
fn forks_are_an_interval_apart() {
    let intervals = Intervals { spawn_interval: ms(400), ..Intervals::default() };
    let mut pool = WorkerPool::new(FIXED, intervals, 16);
    for number in 0..3 {
        let now = at(400 * u64::from(number));
        assert_eq!(fill(&mut pool, now), PoolAction::Wait((number < 2).then(|| now + ms(400))));
        assert_eq!(pool.workers(), number + 1);
    }
}

#[test]
fn a_fork_that_is_refused_is_tried_again_and_never_in_a_hot_loop() {
    for (interval, until) in [(1000, 1000), (0, 100)] {
        let intervals = Intervals { err_respawn_interval: ms(interval), ..Intervals::default() };
        let mut pool = WorkerPool::new(FIXED, intervals, 16);
        pool.set_forking(slot(0), Generation::new(1), 1, at(0));
        pool.set_fork_failed(slot(0), at(0));
        assert_eq!(pool.workers(), 0);
        assert_eq!(pool.next(at(0)), PoolAction::Wait(Some(at(until))));
        assert_eq!(pool.next(at(until)), PoolAction::Fork(slot(0)));
    }
}

#[test]
fn fewer_workers_are_wanted_and_idle_ones_go_first() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    pool.set_status(slot(2), Status::Serving);
    pool.set(Size::Fixed { max_workers: 1 }, Intervals::default());
    assert_eq!(pool.next(at(0)), PoolAction::Stop(vec![slot(1), slot(0)]));
    pool.stop_request(slot(1), RETIRED);
    pool.stop_request(slot(0), RETIRED);
    assert_eq!(pool.next(at(0)), PoolAction::Wait(None));
    pool.set_exited(slot(0), ExitKind::Regular, at(1));
    pool.set_exited(slot(1), ExitKind::Regular, at(1));
    assert_eq!(pool.next(at(1)), PoolAction::Wait(None));
    pool.set_exited(slot(2), ExitKind::Regular, at(2));
    assert_eq!(pool.next(at(2)), PoolAction::Fork(slot(0)));
}

#[test]
fn fewer_spare_workers_are_wanted_and_those_past_the_most_go_busy_or_not() {
    let mut pool = pool(SPARE);
    fill(&mut pool, at(0));
    for number in 0..7 {
        pool.set_status(slot(number), Status::Serving);
        fill(&mut pool, at(0));
    }
    assert_eq!(pool.workers(), 10);
    let size = Size::Spare { min_spare_workers: 3, max_spare_workers: 5, max_workers: 6 };
    pool.set(size, Intervals::default());
    assert_eq!(pool.next(at(0)), PoolAction::Stop([9, 8, 7, 6].map(slot).to_vec()));
}

#[test]
fn a_pool_that_has_all_it_wants_forks_nobody_when_numbers_are_set_again() {
    let mut pool = pool(SPARE);
    fill(&mut pool, at(0));
    pool.set(SPARE, Intervals { spawn_interval: ms(5), ..Intervals::default() });
    assert_eq!(pool.next(at(0)), PoolAction::Wait(None));
}

#[test]
fn more_workers_are_wanted_and_the_ones_that_are_told_to_go_still_count() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    (0..3).for_each(|number| pool.stop_request(slot(number), RETIRED));
    assert_eq!(pool.next(at(0)), PoolAction::Wait(None));
    pool.set(Size::Fixed { max_workers: 4 }, Intervals::default());
    assert_eq!(pool.next(at(0)), PoolAction::Fork(slot(3)));
    fill(&mut pool, at(0));
    assert_eq!(pool.workers(), 4);
}

#[test]
fn a_slot_that_waits_after_a_failure_waits_on_when_numbers_change() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    pool.set_exited(slot(0), ExitKind::Failure, at(10));
    pool.set(FIXED, Intervals::default());
    assert_eq!(pool.next(at(10)), PoolAction::Wait(Some(at(1000))));
}

#[test]
fn a_new_generation_waits_for_no_slot_but_for_a_system_that_has_refused() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    pool.set_exited(slot(0), ExitKind::Failure, at(10));
    pool.begin_generation();
    assert_eq!(pool.next(at(10)), PoolAction::Fork(slot(0)));
    pool.set_forking(slot(0), Generation::new(1), 2, at(10));
    pool.set_fork_failed(slot(0), at(10));
    pool.begin_generation();
    assert_eq!(pool.next(at(10)), PoolAction::Wait(Some(at(1010))));
}

/// Something that happens.
#[derive(Debug, Clone)]
enum PoolEvent {
    Report(u32, Status),
    Exit(u32, ExitKind),
    ForkFails,
    TimePasses(u64),
}

fn any_pool_event() -> impl Strategy<Value = PoolEvent> {
    let status = prop_oneof![Just(Status::Waiting), Just(Status::Serving), Just(Status::Leaving)];
    prop_oneof![
        4 => (0..10_u32, status).prop_map(|(slot, status)| PoolEvent::Report(slot, status)),
        2 => (0..10_u32, prop_oneof![Just(ExitKind::Regular), Just(ExitKind::Failure)])
            .prop_map(|(slot, end)| PoolEvent::Exit(slot, end)),
        1 => Just(PoolEvent::ForkFails),
        2 => (1..2000_u64).prop_map(PoolEvent::TimePasses),
    ]
}

proptest! {
    #[test]
    fn there_are_never_too_many_and_in_the_end_enough(
        size in prop_oneof![Just(FIXED), Just(SPARE)],
        events in prop::collection::vec(any_pool_event(), 0..200),
    ) {
        let mut pool = pool(size);
        let mut now = at(0);
        let mut refuses = false;
        for event in events {
            match event {
                PoolEvent::Report(number, status) => pool.set_status(slot(number), status),
                PoolEvent::Exit(number, end) => pool.set_exited(slot(number), end, now),
                PoolEvent::ForkFails => refuses = true,
                PoolEvent::TimePasses(passed) => now = now + ms(passed),
            }
            loop {
                match pool.next(now) {
                    PoolAction::Fork(free) => {
                        prop_assert!(pool.entry(free).is_none(), "a slot that is taken");
                        if std::mem::take(&mut refuses) {
                            pool.set_forking(free, Generation::new(1), 1, now);
                            pool.set_fork_failed(free, now);
                        } else {
                            seat(&mut pool, free, now);
                        }
                    }
                    PoolAction::Stop(slots) => {
                        prop_assert!(!slots.is_empty());
                        slots.iter().for_each(|slot| pool.stop_request(*slot, RETIRED));
                    }
                    PoolAction::Wait(until) => {
                        prop_assert!(until.is_none_or(|until| now < until), "a rest that is over");
                        break;
                    }
                }
                prop_assert!(pool.workers() <= pool.max_workers());
            }
        }
        // Everyone that is told to go goes, and the rest becomes idle: it settles.
        for _round in 0..10 {
            now = now + ms(2000);
            for number in 0..10 {
                if pool.entry(slot(number)).is_some_and(|entry| {
                    entry.stop_request.is_some() || entry.counted == Status::Leaving
                }) {
                    pool.set_exited(slot(number), ExitKind::Regular, now);
                }
                pool.set_status(slot(number), Status::Waiting);
            }
            if let PoolAction::Stop(slots) = fill(&mut pool, now) {
                slots.iter().for_each(|slot| pool.stop_request(*slot, RETIRED));
            }
        }
        match size {
            Size::Fixed { max_workers } => prop_assert_eq!(pool.workers(), max_workers),
            Size::Spare { min_spare_workers, max_spare_workers, .. } => {
                let there = pool.workers();
                prop_assert!((min_spare_workers..=max_spare_workers).contains(&there), "{there}");
            }
        }
    }
}
