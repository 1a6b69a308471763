//! Tests single decisions of a pool, and sequences of its decisions.

use std::time::Duration;

use super::*;
use crate::status::Status;

fn pool(start: u32, min: u32, max: u32, children: u32) -> Pool {
    Pool::new(PoolRules::from_parts(start, Some(min), Some(max), Some(children)).unwrap())
}

/// Creates a pool that has forked its initial children.
fn running(start: u32, min: u32, max: u32, children: u32) -> Pool {
    let mut pool = pool(start, min, max, children);
    let _ = pool.decide(&Counts::default(), at(0));
    pool
}

fn at(millis: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_millis(1_000_000 + millis))
}

/// Counts the statuses that have these letters.
fn counts(letters: &str) -> Counts {
    letters.chars().map(|letter| Status::from_letter(letter).unwrap()).collect()
}

fn forks(pool: &mut Pool, letters: &str) -> u32 {
    let decision = pool.decide(&counts(letters), at(0));
    assert_eq!(decision.retire, 0);
    decision.fork
}

#[test]
fn the_first_decision_forks_the_initial_children_once() {
    let mut pool = pool(4, 1, 8, 8);
    assert_eq!(forks(&mut pool, ""), 4);
    assert_eq!(forks(&mut pool, "FFFF"), 0);
}

#[test]
fn missing_spare_children_are_forked_at_once() {
    let mut pool = running(1, 3, 6, 10);
    for (letters, missing) in [
        ("...", 0),
        ("..", 1),
        ("..F", 0),
        (".fF", 0),
        ("rrr", 3),
        ("rrlw", 2),
        ("eee", 3),
        ("", 3),
        ("rrrrrrrr", 2),
        ("rrrreeeee", 1),
        ("rrrrrrrrrr", 0),
        ("eeeeeeeeee", 0),
    ] {
        assert_eq!(forks(&mut pool, letters), missing, "[{letters}]");
    }
}

#[test]
fn a_pool_keeps_its_start_children_whatever_min_spare_is() {
    let mut pool = running(2, 0, 2, 3);
    for (letters, missing) in
        [("rr", 0), ("r", 1), ("", 2), ("F", 1), ("re", 1), ("ee", 1), ("eee", 0), ("rrr", 0)]
    {
        assert_eq!(forks(&mut pool, letters), missing, "[{letters}]");
    }
}

#[test]
fn a_max_spare_below_the_start_lets_the_pool_shrink() {
    let mut pool = running(4, 1, 2, 6);
    assert_eq!(forks(&mut pool, ".."), 0);
    assert_eq!(forks(&mut pool, "."), 1);
    assert_eq!(forks(&mut pool, "rr"), 1, "min_spare");
}

#[test]
fn a_fixed_pool_keeps_its_number_of_children() {
    let mut pool = Pool::new(PoolRules::fixed(4));
    assert_eq!(forks(&mut pool, ""), 4);
    for (letters, missing) in
        [("....", 0), ("rrrr", 0), ("rr..", 0), ("rre", 1), ("...", 1), ("rrre", 0), ("rrr", 1)]
    {
        assert_eq!(forks(&mut pool, letters), missing, "[{letters}]");
    }
}

#[test]
fn only_children_that_were_surplus_throughout_the_retire_delay_are_retired() {
    let mut pool = running(1, 1, 2, 10);
    let decision = pool.decide(&counts("......"), at(0));
    assert_eq!(decision, PoolDecision { fork: 0, retire: 0, recheck_at: Some(at(1000)) });
    let decision = pool.decide(&counts("....rr"), at(400));
    assert_eq!(decision, PoolDecision { fork: 0, retire: 0, recheck_at: Some(at(1000)) });
    let decision = pool.decide(&counts("......"), at(1000));
    assert_eq!(decision, PoolDecision { fork: 0, retire: 2, recheck_at: Some(at(2000)) });
    let decision = pool.decide(&counts("....ee"), at(1500));
    assert_eq!(decision, PoolDecision { fork: 0, retire: 0, recheck_at: Some(at(2000)) });
    let decision = pool.decide(&counts("...."), at(2000));
    assert_eq!(decision, PoolDecision { fork: 0, retire: 2, recheck_at: None });
}

#[test]
fn a_surplus_that_ends_within_the_retire_delay_is_forgotten() {
    let mut pool = running(1, 1, 2, 10);
    assert!(pool.decide(&counts("..."), at(0)).recheck_at.is_some());
    assert_eq!(pool.decide(&counts("..r"), at(999)).recheck_at, None);
    assert_eq!(pool.decide(&counts("..."), at(1000)).recheck_at, Some(at(2000)));
}

#[test]
fn a_pool_without_surplus_children_needs_no_timer() {
    let mut pool = running(1, 1, 2, 10);
    for letters in [".", "..", "..r", "r.F", "rrrrrrrrrr"] {
        assert_eq!(pool.decide(&counts(letters), at(0)).recheck_at, None, "[{letters}]");
    }
}

#[test]
fn changed_pool_rules_apply_from_the_next_decision() {
    let mut pool = running(1, 1, 2, 10);
    assert_eq!(forks(&mut pool, "."), 0);
    assert_eq!(pool.resize(Resize::More, 16).map(|rules| rules.min_spare), Ok(2));
    assert_eq!(forks(&mut pool, "."), 1);
    let rules = PoolRules::from_parts(1, Some(5), Some(6), Some(10)).unwrap();
    assert_eq!(pool.set_rules(rules), Ok(()));
    assert_eq!(forks(&mut pool, "."), 4);
    let broken = PoolRules { max_spare: 0, ..rules };
    assert_eq!(pool.set_rules(broken), Err(PoolError::Zero { field: "max_spare" }));
    assert_eq!(*pool.rules(), rules);
}

#[test]
fn a_pool_that_exceeds_a_reduced_maximum_forks_no_child() {
    let mut pool = running(1, 1, 2, 10);
    pool.set_rules(PoolRules::from_parts(1, Some(1), Some(2), Some(2)).unwrap()).unwrap();
    assert_eq!(forks(&mut pool, "rrrr"), 0);
}
