//! The door of a post-forking daemon in a simulated crowd.

#![cfg(not(loom))]

use daemon_core::{AcceptChange, AcceptState, Admission, OperatorPause, Phase, PoolLoad, admit};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Event {
    RequestComes,
    ChildEnds,
    ForkFails,
    OperatorPause(OperatorPause),
}

struct Simulation {
    state: AcceptState,
    load: PoolLoad,
    expected_change: Vec<AcceptChange>,
}

impl Simulation {
    /// As a parent does after each event: serve who waits, then settle the door.
    fn update(&mut self) {
        while self.load.waiting > 0 && self.load.children < self.load.max_children {
            self.load.waiting -= 1;
            self.load.children += 1;
        }
        let (state, change) = self.state.update(&self.load);
        self.state = state;
        self.expected_change.extend(change);
    }

    fn comes(&mut self, backlog: u32) {
        let PoolLoad { children, max_children, waiting, .. } = self.load;
        match admit(&self.load, backlog) {
            Admission::Fork => {
                assert!(children < max_children && waiting == 0);
                self.load.children += 1;
            }
            Admission::Enqueue => {
                assert!(waiting < backlog);
                self.load.waiting += 1;
            }
            Admission::Full => {
                assert!(waiting >= backlog && (waiting > 0 || children == max_children));
            }
            Admission::Stopping => {
                assert_eq!(self.load.phase, Phase::Stopping);
            }
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::RequestComes),
        3 => Just(Event::ChildEnds),
        1 => Just(Event::ForkFails),
        1 => Just(Event::OperatorPause(OperatorPause::On)),
        1 => Just(Event::OperatorPause(OperatorPause::Off)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn pause_and_accept_alternate_and_every_pause_ends_when_the_crowd_is_gone(
        max_children in 1_u32..6,
        backlog in 0_u32..4,
        events in prop::collection::vec(event(), 0..200),
    ) {
        let load = PoolLoad {
            children: 0, max_children, waiting: 0, phase: Phase::Running, operator_pause: OperatorPause::Off,
        };
        let mut simulation = Simulation { state: AcceptState::Accepting, load, expected_change: Vec::new() };
        for event in events {
            match event {
                Event::RequestComes => simulation.comes(backlog),
                Event::ChildEnds => {
                    simulation.load.children = simulation.load.children.saturating_sub(1);
                }
                Event::ForkFails if simulation.load.children > 0 => {
                    // The request is back in front of those that wait.
                    simulation.load.children -= 1;
                    simulation.load.waiting += 1;
                }
                Event::ForkFails => {}
                Event::OperatorPause(operator_pause) => simulation.load.operator_pause = operator_pause,
            }
            simulation.update();
            prop_assert!(simulation.load.children <= max_children);
            prop_assert!(simulation.state == AcceptState::Paused || simulation.load.children < max_children);
        }
        simulation.load.operator_pause = OperatorPause::Off;
        while simulation.load.children > 0 {
            simulation.load.children -= 1;
            simulation.update();
        }
        simulation.update();
        prop_assert_eq!(simulation.state, AcceptState::Accepting);
        let alternating = [AcceptChange::Pause, AcceptChange::Resume].into_iter().cycle();
        prop_assert!(simulation.expected_change.iter().copied().eq(alternating.take(simulation.expected_change.len())));
        prop_assert!(simulation.expected_change.len().is_multiple_of(2), "the last word is Accept");

        simulation.load.phase = Phase::Stopping;
        let words = simulation.expected_change.len();
        simulation.update();
        prop_assert_eq!((simulation.state, simulation.expected_change.len()), (AcceptState::Paused, words));
        prop_assert_eq!(admit(&simulation.load, backlog), Admission::Stopping);
    }
}
