//! Tests each step of a rolling replacement, and simulates whole replacements: each one ends, and
//! the numbers of children and of usable children stay within their bounds.

#![cfg(not(loom))]

use daemon_core::{RollingReplace, RollingStep, default_max_unavailable};
use proptest::prelude::*;

fn pool(old_idle: u32, target: u32, max_children: u32) -> RollingReplace {
    RollingReplace {
        old_idle,
        old_busy: 0,
        starting: 0,
        ready: 0,
        leaving: 0,
        target,
        max_children,
        max_unavailable: default_max_unavailable(target),
    }
}

#[test]
fn by_default_a_quarter_of_the_children_but_at_least_one_may_be_unavailable() {
    let table = [(0, 1), (1, 1), (4, 1), (7, 1), (8, 2), (100, 25)];
    for (target, max_unavailable) in table {
        assert_eq!(default_max_unavailable(target), max_unavailable);
    }
}

#[test]
fn next_step_returns_the_step_that_the_table_lists_for_each_state() {
    let of8 = pool(8, 8, 12);
    let full = pool(8, 8, 8);
    let table = [
        (pool(0, 8, 8), RollingStep::Done),
        (of8, RollingStep::Fork(2)),
        (RollingReplace { starting: 1, ..of8 }, RollingStep::Fork(1)),
        (RollingReplace { starting: 2, ..of8 }, RollingStep::Wait),
        (RollingReplace { ready: 1, starting: 1, ..of8 }, RollingStep::Retire(1)),
        (RollingReplace { ready: 2, ..of8 }, RollingStep::Retire(2)),
        (RollingReplace { old_idle: 6, ready: 2, leaving: 2, ..of8 }, RollingStep::Fork(2)),
        (RollingReplace { old_idle: 1, ready: 7, ..of8 }, RollingStep::Fork(1)),
        (full, RollingStep::Retire(2)),
        (RollingReplace { old_idle: 6, leaving: 2, ..full }, RollingStep::Wait),
        (RollingReplace { old_idle: 6, leaving: 1, ..full }, RollingStep::Fork(1)),
        (RollingReplace { old_idle: 6, starting: 2, ..full }, RollingStep::Wait),
        (RollingReplace { old_idle: 6, ready: 1, leaving: 1, ..full }, RollingStep::Retire(1)),
        (RollingReplace { old_idle: 0, old_busy: 8, ..full }, RollingStep::Retire(2)),
    ];
    for (replace, turn) in table {
        assert_eq!(replace.next_step(), turn, "{replace:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_rolling_replacement_ends_and_keeps_the_numbers_of_children_within_their_bounds(
        target in 1_u32..40,
        room in 0_u32..10,
        busy in 0_u32..40,
        steps in prop::collection::vec(0_u8..4, 2000),
    ) {
        let busy = busy.min(target);
        let mut world = RollingReplace { old_busy: busy, ..pool(target - busy, target, target + room) };
        let mut done = false;
        for step in steps {
            // Take steps until the replacement waits.
            for turn_number in 0.. {
                prop_assert!(turn_number < 100, "endless steps: {world:?}");
                match world.next_step() {
                    RollingStep::Fork(n) => {
                        prop_assert!(n > 0);
                        world.starting += n;
                    }
                    RollingStep::Retire(n) => {
                        prop_assert!(n > 0 && n <= world.old_idle + world.old_busy);
                        let idle = n.min(world.old_idle);
                        world.old_idle -= idle;
                        world.old_busy -= n - idle;
                        world.leaving += n;
                    }
                    RollingStep::Wait => break,
                    RollingStep::Done => {
                        done = true;
                        break;
                    }
                }
                let serving = world.old_idle + world.old_busy + world.ready;
                let children = serving + world.starting + world.leaving;
                prop_assert!(children <= world.max_children, "{world:?}");
                let least = if room > 0 { target } else { target - world.max_unavailable.min(target) };
                prop_assert!(serving >= least, "{world:?}");
            }
            if done {
                break;
            }
            // One child becomes ready or exits, chosen at random.
            prop_assert!(world.starting + world.leaving > 0, "nothing is in progress: {world:?}");
            if world.leaving == 0 || (step < 2 && world.starting > 0) {
                world.starting -= 1;
                world.ready += 1;
            } else {
                world.leaving -= 1;
            }
        }
        prop_assert!(done, "the replacement does not end: {world:?}");
        prop_assert!(world.ready + world.starting + world.max_unavailable >= target, "{world:?}");
    }
}
