//! Tests the accept state of a post-forking daemon with random events.

#![cfg(not(loom))]

use daemon_core::{AcceptChange, AcceptState, Admission, OperatorPause, Phase, PoolLoad, admit};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum LoadEvent {
    RequestArrives,
    ChildExits,
    ForkFails,
    OperatorPause(OperatorPause),
}

struct Simulation {
    state: AcceptState,
    load: PoolLoad,
    changes: Vec<AcceptChange>,
}

impl Simulation {
    /// Does what a parent does after each event: forks children for waiting requests, then updates
    /// the accept state.
    fn update(&mut self) {
        while self.load.waiting > 0 && self.load.children < self.load.max_children {
            self.load.waiting -= 1;
            self.load.children += 1;
        }
        let (state, change) = self.state.update(&self.load);
        self.state = state;
        self.changes.extend(change);
    }

    fn request_arrives(&mut self, backlog: u32) {
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

fn event() -> impl Strategy<Value = LoadEvent> {
    prop_oneof![
        4 => Just(LoadEvent::RequestArrives),
        3 => Just(LoadEvent::ChildExits),
        1 => Just(LoadEvent::ForkFails),
        1 => Just(LoadEvent::OperatorPause(OperatorPause::On)),
        1 => Just(LoadEvent::OperatorPause(OperatorPause::Off)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn pause_and_resume_alternate_and_a_resume_follows_every_pause(
        max_children in 1_u32..6,
        backlog in 0_u32..4,
        events in prop::collection::vec(event(), 0..200),
    ) {
        let load = PoolLoad {
            children: 0, max_children, waiting: 0, phase: Phase::Running, operator_pause: OperatorPause::Off,
        };
        let mut simulation = Simulation { state: AcceptState::Accepting, load, changes: Vec::new() };
        for event in events {
            match event {
                LoadEvent::RequestArrives => simulation.request_arrives(backlog),
                LoadEvent::ChildExits => {
                    simulation.load.children = simulation.load.children.saturating_sub(1);
                }
                LoadEvent::ForkFails if simulation.load.children > 0 => {
                    // The request of the failed fork goes back to the front of the backlog.
                    simulation.load.children -= 1;
                    simulation.load.waiting += 1;
                }
                LoadEvent::ForkFails => {}
                LoadEvent::OperatorPause(operator_pause) => simulation.load.operator_pause = operator_pause,
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
        prop_assert!(simulation.changes.iter().copied().eq(alternating.take(simulation.changes.len())));
        prop_assert!(simulation.changes.len().is_multiple_of(2), "the last change is not a resume");

        simulation.load.phase = Phase::Stopping;
        let sent = simulation.changes.len();
        simulation.update();
        prop_assert_eq!((simulation.state, simulation.changes.len()), (AcceptState::Paused, sent));
        prop_assert_eq!(admit(&simulation.load, backlog), Admission::Stopping);
    }
}
