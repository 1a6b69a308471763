use std::time::Duration;

use daemon_core::{ChildId, Generation, MonotonicTime, Signal, SlotNumber, Status, StopReason};
use proptest::prelude::*;

use super::{ExitKind, PoolAction, StopRequest, WorkerPool};
use crate::settings::{Intervals, Size};

const FIXED: Size = Size::Fixed { max_workers: 3 };
const SPARE: Size = Size::Spare { min_spare_workers: 3, max_spare_workers: 5, max_workers: 10 };

const RETIRED: StopRequest = StopRequest { reason: StopReason::Retired, signal: Signal::Term };

fn at(milliseconds: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_millis(1_000_000 + milliseconds))
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn slot(number: u32) -> SlotNumber {
    SlotNumber::new(number)
}

fn child(slot: SlotNumber) -> ChildId {
    ChildId { slot, generation: Generation::new(1) }
}

fn pool(size: Size) -> WorkerPool {
    WorkerPool::new(size, Intervals::default(), size.slots())
}

/// Adds an idle worker in this slot.
fn add_idle(pool: &mut WorkerPool, slot: SlotNumber, now: MonotonicTime) {
    pool.set_forking(child(slot), 1, now);
    pool.set_status(slot, Status::Fresh);
}

/// Performs all forks, and returns the first other action.
fn fill(pool: &mut WorkerPool, now: MonotonicTime) -> PoolAction {
    loop {
        match pool.next(now) {
            PoolAction::Fork(slot) => add_idle(pool, slot, now),
            action @ (PoolAction::Stop(_) | PoolAction::Wait(_)) => return action,
        }
    }
}

#[test]
fn a_fixed_number_of_workers_is_forked_at_once_into_the_first_slots() {
    let mut pool = pool(FIXED);
    assert_eq!(pool.next(at(0)), PoolAction::Fork(slot(0)));
    assert_eq!(fill(&mut pool, at(0)), PoolAction::Wait(None));
    assert_eq!(pool.workers(), 3);
    assert!(pool.entries().map(|entry| entry.child.slot.get()).eq(0..3));
}

#[test]
fn spare_workers_are_forked_up_to_max_workers_when_others_become_busy() {
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
fn excess_idle_workers_are_stopped_from_the_highest_slot_down_after_the_heartbeat() {
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
    last.iter().for_each(|slot| pool.request_stop(*slot, RETIRED));
    assert_eq!(pool.next(at(250)), PoolAction::Wait(None));
    last.iter().for_each(|slot| pool.set_exited(*slot, ExitKind::Regular, at(260)));
    assert_eq!((pool.next(at(9000)), pool.workers()), (PoolAction::Wait(None), 5));
}

#[test]
fn a_worker_that_succeeds_is_replaced_at_once() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    pool.set_exited(slot(1), ExitKind::Regular, at(1));
    assert_eq!(pool.next(at(1)), PoolAction::Fork(slot(1)));
}

#[test]
fn a_worker_that_fails_delays_forks_only_in_its_own_slot() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    pool.set_exited(slot(0), ExitKind::Failure, at(200));
    assert_eq!(pool.next(at(200)), PoolAction::Wait(Some(at(1000))));
    pool.set_exited(slot(2), ExitKind::Regular, at(300));
    assert_eq!(pool.next(at(300)), PoolAction::Fork(slot(2)));
    add_idle(&mut pool, slot(2), at(300));
    assert_eq!(pool.next(at(999)), PoolAction::Wait(Some(at(1000))));
    assert_eq!(pool.next(at(1000)), PoolAction::Fork(slot(0)));
}

#[test]
fn a_worker_that_fails_after_err_respawn_interval_is_replaced_at_once() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    (0..3).for_each(|number| pool.set_exited(slot(number), ExitKind::Failure, at(5000)));
    fill(&mut pool, at(5000));
    assert_eq!(pool.workers(), 3);
}

#[test]
fn two_forks_are_at_least_spawn_interval_apart() {
    let intervals = Intervals { spawn_interval: ms(400), ..Intervals::default() };
    let mut pool = WorkerPool::new(FIXED, intervals, 16);
    for number in 0..3 {
        let now = at(400 * u64::from(number));
        assert_eq!(fill(&mut pool, now), PoolAction::Wait((number < 2).then(|| now + ms(400))));
        assert_eq!(pool.workers(), number + 1);
    }
}

#[test]
fn a_refused_fork_is_retried_after_err_respawn_interval_but_not_before_100_ms() {
    for (interval, until) in [(1000, 1000), (0, 100)] {
        let intervals = Intervals { err_respawn_interval: ms(interval), ..Intervals::default() };
        let mut pool = WorkerPool::new(FIXED, intervals, 16);
        pool.set_forking(child(slot(0)), 1, at(0));
        pool.set_fork_failed(slot(0), at(0));
        assert_eq!(pool.workers(), 0);
        assert_eq!(pool.next(at(0)), PoolAction::Wait(Some(at(until))));
        assert_eq!(pool.next(at(until)), PoolAction::Fork(slot(0)));
    }
}

#[test]
fn a_free_slot_that_cannot_be_opened_delays_the_next_fork_by_at_least_100_ms() {
    for (interval, until) in [(1000, 1000), (0, 100)] {
        let intervals = Intervals { err_respawn_interval: ms(interval), ..Intervals::default() };
        let mut pool = WorkerPool::new(FIXED, intervals, 16);
        assert_eq!(pool.next(at(0)), PoolAction::Fork(slot(0)));
        pool.delay_forks(at(0));
        assert_eq!(pool.next(at(0)), PoolAction::Wait(Some(at(until))));
        assert_eq!(pool.next(at(until)), PoolAction::Fork(slot(0)), "the slot is still free");
    }
}

#[test]
fn a_smaller_max_workers_stops_idle_workers_first() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    pool.set_status(slot(2), Status::Serving);
    pool.set(Size::Fixed { max_workers: 1 }, Intervals::default());
    assert_eq!(pool.next(at(0)), PoolAction::Stop(vec![slot(1), slot(0)]));
    pool.request_stop(slot(1), RETIRED);
    pool.request_stop(slot(0), RETIRED);
    assert_eq!(pool.next(at(0)), PoolAction::Wait(None));
    pool.set_exited(slot(0), ExitKind::Regular, at(1));
    pool.set_exited(slot(1), ExitKind::Regular, at(1));
    assert_eq!(pool.next(at(1)), PoolAction::Wait(None));
    pool.set_exited(slot(2), ExitKind::Regular, at(2));
    assert_eq!(pool.next(at(2)), PoolAction::Fork(slot(0)));
}

#[test]
fn a_smaller_max_workers_also_stops_busy_workers_of_a_spare_pool() {
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
fn setting_the_same_size_again_forks_no_worker() {
    let mut pool = pool(SPARE);
    fill(&mut pool, at(0));
    pool.set(SPARE, Intervals { spawn_interval: ms(5), ..Intervals::default() });
    assert_eq!(pool.next(at(0)), PoolAction::Wait(None));
}

#[test]
fn workers_that_are_stopping_count_towards_a_larger_max_workers() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    (0..3).for_each(|number| pool.request_stop(slot(number), RETIRED));
    assert_eq!(pool.next(at(0)), PoolAction::Wait(None));
    pool.set(Size::Fixed { max_workers: 4 }, Intervals::default());
    assert_eq!(pool.next(at(0)), PoolAction::Fork(slot(3)));
    fill(&mut pool, at(0));
    assert_eq!(pool.workers(), 4);
}

#[test]
fn setting_the_size_does_not_end_the_wait_of_a_slot_after_a_failure() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    pool.set_exited(slot(0), ExitKind::Failure, at(10));
    pool.set(FIXED, Intervals::default());
    assert_eq!(pool.next(at(10)), PoolAction::Wait(Some(at(1000))));
}

#[test]
fn a_new_generation_forks_at_once_after_a_failure_but_waits_after_a_refused_fork() {
    let mut pool = pool(FIXED);
    fill(&mut pool, at(0));
    pool.set_exited(slot(0), ExitKind::Failure, at(10));
    pool.begin_generation();
    assert_eq!(pool.next(at(10)), PoolAction::Fork(slot(0)));
    pool.set_forking(child(slot(0)), 2, at(10));
    pool.set_fork_failed(slot(0), at(10));
    pool.begin_generation();
    assert_eq!(pool.next(at(10)), PoolAction::Wait(Some(at(1010))));
}

/// A random event.
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
    fn the_number_of_workers_stays_within_its_limits_and_becomes_stable(
        size in prop_oneof![Just(FIXED), Just(SPARE)],
        events in prop::collection::vec(any_pool_event(), 0..200),
    ) {
        let mut pool = pool(size);
        let mut now = at(0);
        let mut next_fork_fails = false;
        for event in events {
            match event {
                PoolEvent::Report(number, status) => pool.set_status(slot(number), status),
                PoolEvent::Exit(number, end) => pool.set_exited(slot(number), end, now),
                PoolEvent::ForkFails => next_fork_fails = true,
                PoolEvent::TimePasses(passed) => now = now + ms(passed),
            }
            loop {
                match pool.next(now) {
                    PoolAction::Fork(free) => {
                        prop_assert!(pool.entry(free).is_none(), "fork into a slot that is in use");
                        if std::mem::take(&mut next_fork_fails) {
                            pool.set_forking(child(free), 1, now);
                            pool.set_fork_failed(free, now);
                        } else {
                            add_idle(&mut pool, free, now);
                        }
                    }
                    PoolAction::Stop(slots) => {
                        prop_assert!(!slots.is_empty());
                        slots.iter().for_each(|slot| pool.request_stop(*slot, RETIRED));
                    }
                    PoolAction::Wait(until) => {
                        prop_assert!(until.is_none_or(|until| now < until), "wait until a time in the past");
                        break;
                    }
                }
                prop_assert!(pool.workers() <= pool.max_workers());
            }
        }
        // All leaving workers exit, also those that were not asked to stop. The others become idle.
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
                slots.iter().for_each(|slot| pool.request_stop(*slot, RETIRED));
            }
        }
        match size {
            Size::Fixed { max_workers } => prop_assert_eq!(pool.workers(), max_workers),
            Size::Spare { min_spare_workers, max_spare_workers, .. } => {
                let workers = pool.workers();
                prop_assert!((min_spare_workers..=max_spare_workers).contains(&workers), "{workers}");
            }
        }
    }
}
