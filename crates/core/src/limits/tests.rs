//! Tests each limit at its boundary, and which of two exceeded limits takes precedence.

use super::*;
use crate::label::{Label, LabelText};
use crate::line::{Generation, SlotNumber};

const SECOND: Duration = Duration::from_secs(1);

fn at(secs: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_secs(1000 + secs))
}

fn entry(status: Status) -> SlotEntry {
    SlotEntry {
        slot: SlotNumber::new(0),
        status: Some(status),
        pid: 700,
        generation: Generation::new(1),
        started_at: at(0),
        since: at(10),
        requests: 1,
        label: Label::Text(LabelText::EMPTY),
        heartbeat: None,
        deadline: None,
        fault: None,
    }
}

fn free() -> Limits {
    Limits { cpu: None, long_cpu: None, lifetime_jitter: Jitter::NONE, ..Limits::default() }
}

fn assess(limits: &Limits, entry: &SlotEntry, now: u64) -> Assessment {
    limits.assess(entry, None, 0, at(now), MonotonicTime::ZERO)
}

fn used(cpu: u64, request_cpu: u64, memory: u64) -> Usage {
    let tenths = |tenths: u64| Duration::from_millis(tenths * 100);
    Usage { cpu: tenths(cpu), request_cpu: tenths(request_cpu), memory: Some(memory) }
}

#[test]
fn only_requests_that_take_too_long_violate_a_timeout() {
    let limits =
        Limits { request_timeout: Some(5 * SECOND), long_timeout: Some(50 * SECOND), ..free() };
    for status in Status::ALL {
        let late_from = match status {
            Status::Serving => Some(15),
            Status::Long => Some(60),
            Status::Empty
            | Status::Forking
            | Status::Forked
            | Status::Fresh
            | Status::Waiting
            | Status::Leaving => None,
        };
        for now in [10, 14, 15, 59, 60, 10_000] {
            let late = late_from.is_some_and(|from| now >= from);
            let expected =
                if late { Assessment::Rogue(Violation::Time) } else { Assessment::Normal };
            assert_eq!(assess(&limits, &entry(status), now), expected, "{status} at {now}");
        }
    }
}

#[test]
fn a_deadline_after_the_end_of_the_timeout_replaces_the_timeout() {
    let limits = Limits { request_timeout: Some(5 * SECOND), ..free() };
    for (deadline, late_from) in [(12, 15), (15, 15), (40, 40)] {
        let entry = SlotEntry { deadline: Some(at(deadline)), ..entry(Status::Serving) };
        assert_eq!(assess(&limits, &entry, late_from - 1), Assessment::Normal);
        assert_eq!(assess(&limits, &entry, late_from), Assessment::Rogue(Violation::Time));
        let due = limits.next_due(&entry, 0, at(10), MonotonicTime::ZERO);
        assert_eq!(due, Some(at(late_from)));
    }
}

#[test]
fn a_missing_heartbeat_is_found_in_every_status_in_which_a_process_exists() {
    let limits = Limits { heartbeat_timeout: Some(3 * SECOND), ..free() };
    for status in Status::ALL {
        let lives = !matches!(status, Status::Empty | Status::Forking);
        let expected = if lives { Assessment::Rogue(Violation::Hung) } else { Assessment::Normal };
        let beaten = SlotEntry { heartbeat: Some(at(20)), ..entry(status) };
        assert_eq!(assess(&limits, &beaten, 22), Assessment::Normal);
        assert_eq!(assess(&limits, &beaten, 23), expected, "{status}");
        assert_eq!(assess(&limits, &entry(status), 2), Assessment::Normal);
        assert_eq!(assess(&limits, &entry(status), 3), expected, "{status} without a heartbeat");
    }
}

#[test]
fn timeouts_count_from_the_end_of_a_suspension_of_the_babysitter() {
    let limits =
        Limits { heartbeat_timeout: Some(3 * SECOND), request_timeout: Some(5 * SECOND), ..free() };
    let entry = SlotEntry { heartbeat: Some(at(10)), ..entry(Status::Serving) };
    let assess = |now, counted_from| limits.assess(&entry, None, 0, at(now), at(counted_from));
    assert_eq!(assess(100, 100), Assessment::Normal);
    assert_eq!(assess(102, 100), Assessment::Normal);
    assert_eq!(assess(103, 100), Assessment::Rogue(Violation::Hung));
}

#[test]
fn cpu_time_is_limited_per_request_and_in_total() {
    let limits = Limits { cpu: Some(SECOND), long_cpu: Some(2 * SECOND), ..free() };
    let assess = |limits: &Limits, status, usage| {
        limits.assess(&entry(status), Some(&usage), 0, at(11), MonotonicTime::ZERO)
    };
    let rogue = Assessment::Rogue(Violation::Cpu);
    assert_eq!(assess(&limits, Status::Serving, used(99, 10, 0)), Assessment::Normal);
    assert_eq!(assess(&limits, Status::Serving, used(99, 11, 0)), rogue);
    assert_eq!(assess(&limits, Status::Long, used(99, 20, 0)), Assessment::Normal);
    assert_eq!(assess(&limits, Status::Long, used(99, 21, 0)), rogue);
    assert_eq!(assess(&limits, Status::Waiting, used(99, 99, 0)), Assessment::Normal);
    let total = Limits { total_cpu: Some(5 * SECOND), ..free() };
    assert_eq!(assess(&total, Status::Waiting, used(50, 0, 0)), Assessment::Normal);
    assert_eq!(assess(&total, Status::Waiting, used(51, 0, 0)), rogue);
}

#[test]
fn a_child_above_the_soft_memory_limit_is_recycled_and_one_above_the_hard_limit_is_a_rogue() {
    let limits = Limits { soft_memory: Some(100), hard_memory: Some(200), ..free() };
    let assess = |memory| {
        let usage = used(0, 0, memory);
        limits.assess(&entry(Status::Waiting), Some(&usage), 0, at(11), MonotonicTime::ZERO)
    };
    assert_eq!(assess(100), Assessment::Normal);
    assert_eq!(assess(101), Assessment::Recycle(RecycleReason::Memory));
    assert_eq!(assess(200), Assessment::Recycle(RecycleReason::Memory));
    assert_eq!(assess(201), Assessment::Rogue(Violation::Memory));
}

#[test]
fn lifetimes_are_reduced_by_at_most_the_jitter() {
    let limits = Limits { max_lifetime: Some(100 * SECOND), ..free() };
    let waiting = entry(Status::Waiting);
    assert_eq!(assess(&limits, &waiting, 99), Assessment::Normal);
    assert_eq!(assess(&limits, &waiting, 100), Assessment::Recycle(RecycleReason::Lifetime));
    assert_eq!(assess(&limits, &entry(Status::Leaving), 1000), Assessment::Normal);
    let jitter = Jitter::from_percent(20).expect("a valid jitter");
    let limits = Limits { lifetime_jitter: jitter, ..limits };
    let ends: Vec<_> = (0..100)
        .map(|start_index| {
            limits
                .next_due(&waiting, start_index, at(0), MonotonicTime::ZERO)
                .expect("the lifetime ends")
        })
        .collect();
    assert!(ends.iter().all(|end| (at(80)..=at(100)).contains(end)), "{ends:?}");
    let (first, last) = (ends.iter().min(), ends.iter().max());
    assert!(first < Some(&at(82)) && last > Some(&at(98)), "the lifetimes are spread: {ends:?}");
}

#[test]
fn the_worst_finding_is_returned_and_slow_requests_are_found_independently_of_it() {
    let limits = Limits {
        slowlog_after: Some(2 * SECOND),
        request_timeout: Some(5 * SECOND),
        max_lifetime: Some(14 * SECOND),
        ..free()
    };
    let findings = [
        (11, Assessment::Normal, false),
        (12, Assessment::Normal, true),
        (14, Assessment::Recycle(RecycleReason::Lifetime), true),
        (15, Assessment::Rogue(Violation::Time), true),
    ];
    for (now, finding, slow) in findings {
        assert_eq!(assess(&limits, &entry(Status::Serving), now), finding, "at {now}");
        assert_eq!(limits.is_slow(&entry(Status::Serving), at(now)), slow, "at {now}");
        assert!(!limits.is_slow(&entry(Status::Waiting), at(now)));
    }
}

#[test]
fn unknown_memory_usage_violates_no_limit() {
    let limits = Limits { soft_memory: Some(1), hard_memory: Some(2), ..free() };
    let usage = Usage { memory: None, ..used(0, 0, 0) };
    let finding =
        limits.assess(&entry(Status::Waiting), Some(&usage), 0, at(11), MonotonicTime::ZERO);
    assert_eq!(finding, Assessment::Normal);
}

#[test]
fn the_shortest_time_limit_is_found() {
    let limits = Limits { request_timeout: Some(9 * SECOND), ..free() };
    assert_eq!(limits.shortest(), Some(9 * SECOND));
    let jitter = Jitter::from_percent(50).expect("a valid jitter");
    let limits = Limits { max_lifetime: Some(10 * SECOND), lifetime_jitter: jitter, ..limits };
    assert_eq!(limits.shortest(), Some(5 * SECOND));
}

#[test]
fn without_limits_there_are_no_violations() {
    for status in Status::ALL {
        let usage = used(1_000_000, 1_000_000, u64::MAX);
        let finding =
            free().assess(&entry(status), Some(&usage), 9, at(1_000_000), MonotonicTime::ZERO);
        assert_eq!(finding, Assessment::Normal);
        assert_eq!(free().next_due(&entry(status), 9, at(0), MonotonicTime::ZERO), None);
    }
    assert_eq!(free().shortest(), None);
    let limits = Limits { max_lifetime: Some(Duration::MAX), ..free() };
    assert!(limits.shortest() > Some(Duration::MAX / 2), "no time is too long");
}
