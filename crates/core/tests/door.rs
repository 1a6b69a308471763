//! The door of a post-forking daemon in a simulated crowd.

#![cfg(not(loom))]

use daemon_core::{Admission, Door, Hold, Phase, Swing, Traffic, admit};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Event {
    RequestComes,
    ChildEnds,
    ForkFails,
    Hold(Hold),
}

struct Crowd {
    door: Door,
    traffic: Traffic,
    told: Vec<Swing>,
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
        1 => Just(Event::Hold(Hold::Yes)),
        1 => Just(Event::Hold(Hold::No)),
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
            children: 0, max_children, waiting: 0, phase: Phase::Running, hold: Hold::No,
        };
        let mut crowd = Crowd { door: Door::Open, traffic, told: Vec::new() };
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
                Event::Hold(hold) => crowd.traffic.hold = hold,
            }
            crowd.settle();
            prop_assert!(crowd.traffic.children <= max_children);
            prop_assert!(crowd.door == Door::Shut || crowd.traffic.children < max_children);
        }
        crowd.traffic.hold = Hold::No;
        while crowd.traffic.children > 0 {
            crowd.traffic.children -= 1;
            crowd.settle();
        }
        crowd.settle();
        prop_assert_eq!(crowd.door, Door::Open);
        let alternating = [Swing::Pause, Swing::Accept].into_iter().cycle();
        prop_assert!(crowd.told.iter().copied().eq(alternating.take(crowd.told.len())));
        prop_assert!(crowd.told.len().is_multiple_of(2), "the last word is Accept");

        crowd.traffic.phase = Phase::Stopping;
        let words = crowd.told.len();
        crowd.settle();
        prop_assert_eq!((crowd.door, crowd.told.len()), (Door::Shut, words));
        prop_assert_eq!(admit(&crowd.traffic, backlog), Admission::Stopping);
    }
}
