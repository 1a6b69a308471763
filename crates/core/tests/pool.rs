//! Simulates a pool whose children start, serve and die at random.

#![cfg(not(loom))]

use std::time::Duration;

use daemon_core::{Counts, MonotonicTime, Pool, PoolDecision, PoolRules, Status, StatusKind};
use proptest::prelude::*;

/// An event. The number selects the child. For `TimePasses` it is a number of milliseconds.
#[derive(Debug, Clone, Copy)]
enum PoolEvent {
    BecomesReady(usize),
    RequestStarts(usize),
    RequestEnds(usize),
    Dies(usize),
    Exits(usize),
    TimePasses(u64),
}

struct PoolSimulation {
    pool: Pool,
    children: Vec<Status>,
    now: MonotonicTime,
}

fn is_starting(status: Status) -> bool {
    status.kind() == StatusKind::Starting
}

impl PoolSimulation {
    fn new(rules: PoolRules) -> PoolSimulation {
        PoolSimulation { pool: Pool::new(rules), children: Vec::new(), now: MonotonicTime::ZERO }
    }

    fn counts(&self) -> Counts {
        self.children.iter().copied().collect()
    }

    /// Gets a decision, checks it, and carries it out.
    fn decide(&mut self) -> PoolDecision {
        let before = self.counts();
        let rules = *self.pool.rules();
        let decision = self.pool.decide(&before, self.now);
        assert!(decision.fork == 0 || decision.retire == 0, "{decision:?}");
        assert!(before.children() + decision.fork <= rules.max_children, "{decision:?}");
        if decision.retire > 0 {
            assert!(before.idle() - decision.retire >= rules.min_spare, "{decision:?}");
            assert!(before.idle() - decision.retire >= rules.max_spare, "{decision:?}");
        }
        if let Some(time) = decision.recheck_at {
            assert!(time > self.now, "{decision:?}");
        }
        for _fork in 0..decision.fork {
            self.children.push(Status::Forking);
        }
        for _retire in 0..decision.retire {
            self.nth(0, Status::is_idle, Status::Leaving);
        }
        decision
    }

    /// Changes the status of the nth child that has a suitable status, if there is any such child.
    fn nth(&mut self, nth: usize, can: fn(Status) -> bool, becomes: Status) {
        let able = self.children.iter_mut().filter(|status| can(**status)).collect::<Vec<_>>();
        let count = able.len();
        if let Some(status) = able.into_iter().nth(nth % count.max(1)) {
            *status = becomes;
        }
        self.children.retain(|status| *status != Status::Empty);
    }

    fn apply(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::BecomesReady(nth) => self.nth(nth, is_starting, Status::Fresh),
            PoolEvent::RequestStarts(nth) => self.nth(nth, Status::is_idle, Status::Serving),
            PoolEvent::RequestEnds(nth) => self.nth(nth, Status::is_busy, Status::Waiting),
            PoolEvent::Dies(nth) => self.nth(nth, |_any| true, Status::Empty),
            PoolEvent::Exits(nth) => self.nth(nth, |it| it == Status::Leaving, Status::Empty),
            PoolEvent::TimePasses(ms) => self.now = self.now + Duration::from_millis(ms),
        }
    }

    /// Completes all starts and exits that are in progress, and advances the time as long as the
    /// pool asks for a later decision.
    fn run_until_stable(&mut self) {
        for _round in 0..10_000 {
            let decision = self.decide();
            let moved = self.children.iter().any(|it| is_starting(*it) || *it == Status::Leaving);
            for status in &mut self.children {
                match status.kind() {
                    StatusKind::Starting => *status = Status::Fresh,
                    StatusKind::Leaving => *status = Status::Empty,
                    StatusKind::Vacant | StatusKind::Idle | StatusKind::Busy => {}
                }
            }
            self.children.retain(|status| *status != Status::Empty);
            match decision.recheck_at {
                Some(time) => self.now = self.now.max(time),
                None if moved || decision != PoolDecision::default() => {}
                None => return,
            }
        }
        panic!("the pool does not become stable: {:?}", self.counts());
    }
}

fn rules() -> impl Strategy<Value = PoolRules> {
    (1_u32..20, 0_u32..20, 0_u32..20, 0_u32..30, 0_u64..3000).prop_map(
        |(start, min, more, room, retire_delay)| {
            let max_children = start.max(min) + room;
            let max_spare = (min + more).max(1);
            let rules =
                PoolRules::from_parts(start, Some(min), Some(max_spare), Some(max_children));
            let rules = rules.expect("consistent rules");
            PoolRules { retire_delay: Duration::from_millis(retire_delay.max(1)), ..rules }
        },
    )
}

fn event() -> impl Strategy<Value = PoolEvent> {
    let nth = 0_usize..64;
    prop_oneof![
        4 => nth.clone().prop_map(PoolEvent::BecomesReady),
        4 => nth.clone().prop_map(PoolEvent::RequestStarts),
        4 => nth.clone().prop_map(PoolEvent::RequestEnds),
        1 => nth.clone().prop_map(PoolEvent::Dies),
        2 => nth.prop_map(PoolEvent::Exits),
        2 => (0_u64..2000).prop_map(PoolEvent::TimePasses),
    ]
}

/// Checks what a pool does right after its start, while all its children are idle, and that the
/// first request of a pool that cannot grow is no shortage. `may_stay` and `may_keep` tell whether
/// the limits that were set permit the pool to stay at its initial size.
fn check_an_idle_start(rules: PoolRules, may_stay: bool, may_keep: bool) {
    let mut simulation = PoolSimulation::new(rules);
    simulation.decide();
    for status in &mut simulation.children {
        *status = Status::Fresh;
    }
    let decision = simulation.decide();
    assert_eq!(decision.fork == 0, may_stay, "{rules:?}");
    assert_eq!(decision.recheck_at.is_none(), may_keep, "nothing is retired: {rules:?}");
    if rules.is_fixed() {
        simulation.nth(0, Status::is_idle, Status::Serving);
        assert!(simulation.counts().idle() >= rules.min_spare, "{rules:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_pool_keeps_its_limits_and_becomes_stable(
        rules in rules(),
        events in prop::collection::vec(event(), 0..200),
    ) {
        let mut simulation = PoolSimulation::new(rules);
        let decision = simulation.decide();
        prop_assert_eq!(decision.fork, rules.start);
        for event in events {
            simulation.apply(event);
            simulation.decide();
        }
        simulation.run_until_stable();
        let counts = simulation.counts();
        let full = counts.children() == rules.max_children;
        let kept = rules.start.min(rules.max_spare);
        prop_assert!(counts.children() >= kept, "{counts:?} {rules:?}");
        prop_assert!(counts.idle() >= rules.min_spare || full, "{counts:?} {rules:?}");
        prop_assert!(counts.idle() <= rules.max_spare, "{counts:?} {rules:?}");
        prop_assert!(counts.children() >= 1, "{counts:?} {rules:?}");
    }

    #[test]
    fn rules_from_parts_are_consistent_or_rejected(
        start in 0_u32..40,
        min in prop::option::of(0_u32..40),
        max in prop::option::of(0_u32..40),
        children in prop::option::of(0_u32..40),
    ) {
        match PoolRules::from_parts(start, min, max, children) {
            Ok(rules) => {
                prop_assert_eq!(rules.check(), Ok(rules));
                prop_assert!(min.is_none_or(|min| min == rules.min_spare));
                prop_assert!(max.is_none_or(|max| max == rules.max_spare));
                prop_assert!(children.is_none_or(|children| children == rules.max_children));
                prop_assert!(rules.min_spare > 0 || min == Some(0) || rules.is_fixed());
                check_an_idle_start(rules, min.is_none_or(|min| min <= start),
                    max.is_none_or(|max| max >= start));
            }
            Err(error) => {
                // An error names only limits that were given.
                let sentence = error.to_string();
                let field = sentence.split(' ').next();
                let given = [
                    ("start_children", Some(start)),
                    ("min_spare", min),
                    ("max_spare", max),
                    ("max_children", children),
                ];
                prop_assert!(
                    given.iter().any(|(name, it)| Some(*name) == field && it.is_some()),
                    "{}", sentence
                );
            }
        }
    }
}
