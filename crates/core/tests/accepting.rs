//! The door of a post-forking daemon in a simulated crowd.

#![cfg(not(loom))]

use daemon_core::{AcceptChange, AcceptState, Admission, OperatorPause, Phase, Traffic, admit};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Event {
    RequestComes,
    ChildEnds,
    ForkFails,
    OperatorPause(OperatorPause),
}

struct Crowd {
    door: AcceptState,
    traffic: Traffic,
    told: Vec<AcceptChange>,
}

impl Crowd {
    /// As a parent does after each event: serve who waits, then settle the door.
    fn settle(&mut self) {
        while self.traffic.waiting > 0 && self.traffic.children < self.traffic.max_children {
            self.traffic.waiting -= 1;
            self.traffic.children += 1;
        }
        let (door, swing) = self.door.settle(&self.traffic);
        self.door = door;
        self.told.extend(swing);
    }

    fn comes(&mut self, backlog: u32) {
        let Traffic { children, max_children, waiting, .. } = self.traffic;
        match admit(&self.traffic, backlog) {
            Admission::Fork => {
                assert!(children < max_children && waiting == 0);
                self.traffic.children += 1;
            }
            Admission::Wait => {
                assert!(waiting < backlog);
                self.traffic.waiting += 1;
            }
            Admission::Full => {
                assert!(waiting >= backlog && (waiting > 0 || children == max_children));
            }
            Admission::Stopping => {
                assert_eq!(self.traffic.phase, Phase::Stopping);
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
        let traffic = Traffic {
            children: 0, max_children, waiting: 0, phase: Phase::Running, hold: OperatorPause::Off,
        };
        let mut crowd = Crowd { door: AcceptState::Accepting, traffic, told: Vec::new() };
        for event in events {
            match event {
                Event::RequestComes => crowd.comes(backlog),
                Event::ChildEnds => {
                    crowd.traffic.children = crowd.traffic.children.saturating_sub(1);
                }
                Event::ForkFails if crowd.traffic.children > 0 => {
                    // The request is back in front of those that wait.
                    crowd.traffic.children -= 1;
                    crowd.traffic.waiting += 1;
                }
                Event::ForkFails => {}
                Event::OperatorPause(hold) => crowd.traffic.hold = hold,
            }
            crowd.settle();
            prop_assert!(crowd.traffic.children <= max_children);
            prop_assert!(crowd.door == AcceptState::Paused || crowd.traffic.children < max_children);
        }
        crowd.traffic.hold = OperatorPause::Off;
        while crowd.traffic.children > 0 {
            crowd.traffic.children -= 1;
            crowd.settle();
        }
        crowd.settle();
        prop_assert_eq!(crowd.door, AcceptState::Accepting);
        let alternating = [AcceptChange::Pause, AcceptChange::Resume].into_iter().cycle();
        prop_assert!(crowd.told.iter().copied().eq(alternating.take(crowd.told.len())));
        prop_assert!(crowd.told.len().is_multiple_of(2), "the last word is Accept");

        crowd.traffic.phase = Phase::Stopping;
        let words = crowd.told.len();
        crowd.settle();
        prop_assert_eq!((crowd.door, crowd.told.len()), (AcceptState::Paused, words));
        prop_assert_eq!(admit(&crowd.traffic, backlog), Admission::Stopping);
    }
}
