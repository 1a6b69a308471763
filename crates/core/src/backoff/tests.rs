//! Tests how long the backoff delays forks after sequences of failures.

use super::*;

const EAGAIN: FailureReason = FailureReason::Errno(11);
const CRASH: ExitCause = ExitCause::Exited(101);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(millis: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_secs(1000) + ms(millis))
}

fn backoff() -> Backoff {
    Backoff::new(BackoffRules::default())
}

/// Returns how many forks a pool of four children makes in ten seconds if each child dies at boot,
/// `dies_after` milliseconds after its fork.
fn forks_of_a_broken_pool(dies_after: u64) -> u32 {
    let mut backoff = backoff();
    let mut deaths: Vec<u64> = Vec::new();
    let mut forks = 0;
    for now in 0..10_000 {
        let starting = deaths.len();
        deaths.retain(|death| *death > now);
        for _dead in deaths.len()..starting {
            backoff.child_died(Death::BeforeReady, CRASH, at(now));
        }
        let starting = u32::try_from(deaths.len()).unwrap();
        for _fork in 0..backoff.allowed_forks(4 - starting, starting, at(now)) {
            forks += 1;
            // Real processes do not end at the same time, but a few milliseconds apart.
            deaths.push(now + dies_after + u64::from(forks % 4));
        }
    }
    forks
}

#[test]
fn four_children_that_all_die_at_boot_cause_at_most_twelve_forks_in_ten_seconds() {
    for dies_after in [1, 5, 50, 300, 900] {
        let forks = forks_of_a_broken_pool(dies_after);
        assert!((8..=12).contains(&forks), "{forks} forks of children that live {dies_after} ms");
    }
}

#[test]
fn forks_are_not_delayed_if_children_die_after_beginning_a_request_or_long_after_becoming_ready() {
    let mut backoff = backoff();
    for now in 0..100 {
        backoff.child_died(Death::Late, CRASH, at(now));
        assert_eq!(backoff.allowed_forks(4, 0, at(now)), 4);
    }
    assert_eq!(backoff.state(at(100)), None);
}

#[test]
fn the_delay_after_failed_forks_doubles_up_to_the_maximum() {
    let mut backoff = backoff();
    let mut now = at(0);
    for expected in [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
        backoff.fork_failed(EAGAIN, now);
        let until = backoff.blocked_until(now).unwrap();
        assert_eq!(until.saturating_since(now), ms(expected));
        now = until;
    }
    assert_eq!(backoff.state(now).unwrap().consecutive_failures, 11);
}

#[test]
fn the_delay_after_forks_that_were_not_attempted_doubles_up_to_a_second() {
    let mut backoff = backoff();
    let mut now = at(0);
    for expected in [100, 200, 400, 800, 1000, 1000, 1000] {
        backoff.fork_failed(FailureReason::NotAttempted, now);
        let until = backoff.blocked_until(now).unwrap();
        assert_eq!(until.saturating_since(now), ms(expected));
        now = until;
    }
    assert_eq!(backoff.state(now).unwrap().consecutive_failures, 7);
}

#[test]
fn after_the_delay_one_successful_fork_ends_the_streak_of_failed_forks() {
    let mut backoff = backoff();
    for now in [0, 100, 300] {
        backoff.fork_failed(EAGAIN, at(now));
    }
    assert_eq!(backoff.allowed_forks(4, 0, at(699)), 0);
    assert_eq!(backoff.allowed_forks(4, 0, at(700)), 1);
    assert_eq!(backoff.allowed_forks(3, 1, at(700)), 0);
    backoff.fork_succeeded();
    assert_eq!(backoff.allowed_forks(3, 1, at(700)), 3);
    assert_eq!(backoff.state(at(700)), None);
}

#[test]
fn forks_that_fail_at_the_same_time_count_as_one_failure() {
    let mut backoff = backoff();
    for _fork in 0..4 {
        backoff.fork_failed(EAGAIN, at(0));
    }
    assert_eq!(backoff.blocked_until(at(0)), Some(at(100)));
}

#[test]
fn a_large_pool_whose_children_die_together_may_fork_again_within_a_second() {
    let mut backoff = backoff();
    for _child in 0..200 {
        backoff.child_died(Death::BeforeReady, CRASH, at(0));
    }
    assert_eq!(backoff.blocked_until(at(0)), Some(at(800)));
    assert_eq!(backoff.state(at(0)).unwrap().consecutive_failures, 200);
}

#[test]
fn a_child_that_becomes_ready_ends_the_streak_of_failed_boots() {
    let mut backoff = backoff();
    for _child in 0..8 {
        backoff.child_died(Death::BeforeReady, CRASH, at(0));
    }
    assert_eq!(backoff.allowed_forks(4, 0, at(5000)), 1);
    backoff.child_ready();
    assert_eq!(backoff.allowed_forks(4, 0, at(5000)), 4);
}

#[test]
fn forks_are_delayed_if_children_die_as_soon_as_they_are_ready() {
    let mut backoff = backoff();
    let mut deaths = 0;
    for now in 0..10_000 {
        if backoff.allowed_forks(1, 0, at(now)) == 1 {
            backoff.fork_succeeded();
            backoff.child_ready();
            backoff.child_died(Death::Early, CRASH, at(now));
            deaths += 1;
        }
    }
    assert!(deaths <= 12, "{deaths} deaths");
    assert_eq!(backoff.state(at(10_000)).unwrap().kind, FailureKind::DiedEarly);
}

#[test]
fn forks_are_not_delayed_if_one_child_per_minute_dies_soon_after_it_is_ready() {
    let mut backoff = backoff();
    for minute in 0..50 {
        let now = at(minute * 60_000);
        backoff.child_died(Death::Early, CRASH, now);
        assert_eq!(backoff.allowed_forks(4, 0, now), 4);
        assert_eq!(backoff.state(now).unwrap().consecutive_failures, 1);
    }
}

#[test]
fn an_initial_delay_of_zero_disables_the_backoff() {
    let rules = BackoffRules { initial_delay: Duration::ZERO, ..BackoffRules::default() };
    let mut backoff = Backoff::new(rules);
    backoff.fork_failed(EAGAIN, at(0));
    assert_eq!(backoff.allowed_forks(4, 0, at(0)), 4);
}

#[test]
fn the_backoff_state_contains_the_reason_of_the_last_failure() {
    let mut backoff = backoff();
    for _child in 0..6 {
        backoff.child_died(Death::BeforeReady, ExitCause::Exited(1), at(0));
    }
    backoff.child_died(Death::BeforeReady, CRASH, at(0));
    let state = backoff.state(at(0)).unwrap();
    assert_eq!(state.reason, FailureReason::Exit(CRASH));
    assert_eq!(
        state.to_string(),
        "waiting 200ms after 7 consecutive failures, reason: exited with code 101"
    );
    backoff.fork_failed(FailureReason::NotAttempted, at(5000));
    assert_eq!(
        backoff.state(at(5000)).unwrap().to_string(),
        "waiting 100ms after 1 consecutive failure, reason: fork was not attempted"
    );
    assert!(FailureReason::Errno(12).to_string().ends_with("(os error 12)"));
}
