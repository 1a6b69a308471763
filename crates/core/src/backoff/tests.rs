//! Stories of things that go wrong, and what they cost.

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(millis: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_secs(1000) + ms(millis))
}

fn backoff() -> Backoff {
    Backoff::new(BackoffRules::default())
}

/// How many forks a pool of four costs in ten seconds whose children all die at boot, this long
/// after they were forked. `cautious` asks [`Backoff::allowed`], the other asks only whether it
/// may at all.
fn forks_of_a_broken_pool(dies_after: u64) -> u32 {
    let mut backoff = backoff();
    let mut deaths: Vec<u64> = Vec::new();
    let mut forks = 0;
    for now in 0..10_000 {
        let starting = deaths.len();
        deaths.retain(|death| *death > now);
        for _dead in deaths.len()..starting {
            backoff.died(Death::BeforeReady, at(now));
        }
        let starting = u32::try_from(deaths.len()).unwrap();
        for _fork in 0..backoff.allowed(4 - starting, starting, at(now)) {
            forks += 1;
            // Apart from each other by a few milliseconds, as processes end.
            deaths.push(now + dies_after + u64::from(forks % 4));
        }
    }
    forks
}

#[test]
fn four_children_that_all_die_at_boot_cost_at_most_twelve_forks_in_ten_seconds() {
    for dies_after in [1, 5, 50, 300, 900] {
        let forks = forks_of_a_broken_pool(dies_after);
        assert!((8..=12).contains(&forks), "{forks} forks of children that live {dies_after} ms");
    }
}

#[test]
fn a_grown_child_that_is_killed_costs_no_delay() {
    let mut backoff = backoff();
    for now in 0..100 {
        backoff.died(Death::Late, at(now));
        assert_eq!(backoff.allowed(4, 0, at(now)), 4);
    }
    assert_eq!(backoff.tell(at(100)), None);
}

#[test]
fn the_delays_of_failed_forks_double_up_to_the_longest() {
    let mut backoff = backoff();
    let mut now = at(0);
    for expected in [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
        backoff.fork_failed(now);
        let until = backoff.blocked_until(now).unwrap();
        assert_eq!(until.saturating_since(now), ms(expected));
        now = until;
    }
    assert_eq!(backoff.tell(now).unwrap().in_a_row, 11);
}

#[test]
fn a_pool_recovers_from_failed_forks_within_the_current_step() {
    let mut backoff = backoff();
    for now in [0, 100, 300] {
        backoff.fork_failed(at(now));
    }
    assert_eq!(backoff.allowed(4, 0, at(699)), 0);
    assert_eq!(backoff.allowed(4, 0, at(700)), 1);
    assert_eq!(backoff.allowed(3, 1, at(700)), 0);
    backoff.forked();
    assert_eq!(backoff.allowed(3, 1, at(700)), 3);
    assert_eq!(backoff.tell(at(700)), None);
}

#[test]
fn forks_that_fail_together_count_once() {
    let mut backoff = backoff();
    for _fork in 0..4 {
        backoff.fork_failed(at(0));
    }
    assert_eq!(backoff.blocked_until(at(0)), Some(at(100)));
}

#[test]
fn a_large_pool_whose_children_die_together_tries_again_within_a_second() {
    let mut backoff = backoff();
    for _child in 0..200 {
        backoff.died(Death::BeforeReady, at(0));
    }
    assert_eq!(backoff.blocked_until(at(0)), Some(at(800)));
    assert_eq!(backoff.tell(at(0)).unwrap().in_a_row, 200);
}

#[test]
fn a_child_that_becomes_ready_ends_the_row_of_those_that_never_were() {
    let mut backoff = backoff();
    for _child in 0..8 {
        backoff.died(Death::BeforeReady, at(0));
    }
    assert_eq!(backoff.allowed(4, 0, at(5000)), 1);
    backoff.thrived();
    assert_eq!(backoff.allowed(4, 0, at(5000)), 4);
}

#[test]
fn children_that_become_ready_and_die_at_once_are_delayed_all_the_same() {
    let mut backoff = backoff();
    let mut deaths = 0;
    for now in 0..10_000 {
        if backoff.allowed(1, 0, at(now)) == 1 {
            backoff.forked();
            backoff.thrived();
            backoff.died(Death::Early, at(now));
            deaths += 1;
        }
    }
    assert!(deaths <= 12, "{deaths}");
    assert_eq!(backoff.tell(at(10_000)).unwrap().kind, FailureKind::DiedEarly);
}

#[test]
fn a_young_death_every_minute_is_bad_luck_and_costs_nothing() {
    let mut backoff = backoff();
    for minute in 0..50 {
        let now = at(minute * 60_000);
        backoff.died(Death::Early, now);
        assert_eq!(backoff.allowed(4, 0, now), 4);
        assert_eq!(backoff.tell(now).unwrap().in_a_row, 1);
    }
}

#[test]
fn rules_without_delay_are_no_delay() {
    let rules = BackoffRules { first: Duration::ZERO, ..BackoffRules::default() };
    let mut backoff = Backoff::new(rules);
    backoff.fork_failed(at(0));
    assert_eq!(backoff.allowed(4, 0, at(0)), 4);
}
