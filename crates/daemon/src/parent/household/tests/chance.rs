//! Whatever happens in whatever order: never too many children, no request lost, an end that comes.
//!
//! What must hold at any time is checked by the stage at every step.

use daemon_core::{AcceptChange, Exit, Phase, Status, StopMode};
use daemon_forkserver::ChildId;
use proptest::prelude::*;
use proptest::sample::Index;

use super::postfork::swings;
use super::stage::{AGAIN, Answer, Stage};
use crate::messages::Resize;
use crate::model::{PostFork, PreFork};
use crate::parent::household::{Household, Notice};

/// Something that happens.
#[derive(Debug, Clone)]
enum Chance {
    Born,
    ForkFails,
    Does(Index, Status),
    Leaves(Index),
    Dies(Index),
    Waits(u16),
    Wakes,
    Request,
    Resize(u32),
    Reload,
}

fn chance() -> impl Strategy<Value = Chance> {
    let status = prop_oneof![
        Just(Status::Fresh),
        Just(Status::Waiting),
        Just(Status::Serving),
        Just(Status::Long),
    ];
    prop_oneof![
        6 => Just(Chance::Born),
        1 => Just(Chance::ForkFails),
        8 => (any::<Index>(), status).prop_map(|(who, status)| Chance::Does(who, status)),
        2 => any::<Index>().prop_map(Chance::Leaves),
        1 => any::<Index>().prop_map(Chance::Dies),
        2 => (0..3000_u16).prop_map(Chance::Waits),
        2 => Just(Chance::Wakes),
        6 => Just(Chance::Request),
        1 => (1..9_u32).prop_map(Chance::Resize),
        1 => Just(Chance::Reload),
    ]
}

impl<R: 'static> Stage<R> {
    fn anybody(&self, who: &Index) -> Option<ChildId> {
        let mut alive: Vec<ChildId> = self.hands.alive.keys().copied().collect();
        alive.sort_by_key(|child| child.slot);
        (!alive.is_empty()).then(|| *who.get(&alive))
    }

    fn happens(&mut self, chance: &Chance) {
        match chance {
            Chance::Born if !self.hands.orders.is_empty() => {
                self.born();
            }
            Chance::ForkFails if !self.hands.orders.is_empty() => self.fork_fails(AGAIN),
            Chance::Born | Chance::ForkFails | Chance::Request => {}
            Chance::Does(who, status) => {
                if let Some(child) = self.anybody(who) {
                    self.does(child, *status);
                }
            }
            Chance::Leaves(who) => {
                if let Some(child) = self.anybody(who) {
                    self.leaves(child);
                }
            }
            Chance::Dies(who) => {
                if let Some(child) = self.anybody(who) {
                    self.dies(child, Exit::Code(1));
                }
            }
            Chance::Waits(millis) => {
                self.later(std::time::Duration::from_millis((*millis).into()));
            }
            Chance::Wakes => self.wake_or_settle(),
            Chance::Resize(children) => {
                // A refusal is an answer too.
                let _ =
                    self.act(|house, hands, now| house.resize(Resize::To(*children), hands, now));
            }
            Chance::Reload => {
                let _ = self.act(Household::reload);
            }
        }
    }

    /// From now on all goes well: forks succeed, who is told to go goes, time passes.
    fn calms_down(&mut self) {
        for _turn in 0..200 {
            while !self.hands.orders.is_empty() {
                self.born();
            }
            let starting: Vec<ChildId> = self.hands.alive.keys().copied().collect();
            for child in self.told_to_go() {
                self.leaves(child);
            }
            for child in starting {
                if self.hands.alive.contains_key(&child) {
                    self.does(child, Status::Fresh);
                    self.does(child, Status::Waiting);
                }
            }
            // Who was told to go just now is still there.
            if self.hands.orders.is_empty() && self.told_to_go().is_empty() {
                match self.house.next_wake() {
                    None => return,
                    Some(_due) => self.wake(),
                }
            }
        }
        panic!("it does not come to rest");
    }

    fn told_to_go(&self) -> Vec<ChildId> {
        let records = self.house.registry().records();
        let leaving = records.filter(|record| record.seen == Status::Leaving);
        let told = leaving.map(|record| record.child);
        told.filter(|child| self.hands.alive.contains_key(child)).collect()
    }

    fn ends(&mut self, manner: StopMode) {
        self.told.clear();
        self.stop(manner);
        self.drained();
        for _turn in 0..100 {
            if self.house.phase() == Phase::Stopped {
                break;
            }
            while !self.hands.orders.is_empty() {
                self.born();
            }
            self.everybody_leaves();
            self.wake_or_settle();
        }
        assert_eq!(self.house.phase(), Phase::Stopped);
        assert_eq!(self.hands.children(), 0);
        assert_eq!(self.hands.release, 1);
        assert_eq!(self.all_gone(), 1);
    }
}

fn manner() -> impl Strategy<Value = StopMode> {
    prop_oneof![Just(StopMode::Graceful), Just(StopMode::Immediate)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pool_comes_to_rest_between_its_spares_and_ends(
        chances in prop::collection::vec(chance(), 0..120),
        manner in manner(),
    ) {
        let mut stage = Stage::of(
            PreFork::new(4).min_spare(2).max_spare(5).max_children(8),
        );
        stage.settle();
        for chance in &chances {
            stage.happens(chance);
        }
        stage.calms_down();
        prop_assert_eq!(stage.house.phase(), Phase::Running);
        let children = stage.hands.children();
        let resized = chances.iter().any(|chance| matches!(chance, Chance::Resize(_)));
        let rest = if resized { 1..=8 } else { 2..=5 };
        prop_assert!(rest.contains(&children), "{} children", children);
        stage.ends(manner);
    }

    #[test]
    fn no_request_is_lost_and_none_is_served_twice(
        chances in prop::collection::vec(chance(), 0..120),
        manner in manner(),
    ) {
        let mut stage = Stage::of(PostFork::new(3).backlog(4));
        stage.settle();
        let mut answers: Vec<Answer<u32>> = Vec::new();
        let mut next = 0;
        let mut paused = AcceptChange::Resume;
        for chance in &chances {
            if let Chance::Request = chance {
                answers.push(stage.hand_over(next));
                next += 1;
            }
            stage.happens(chance);
            for swing in swings(&mut stage) {
                prop_assert_ne!(swing, paused, "pause and accept alternate");
                paused = swing;
            }
        }
        stage.ends(manner);
        let mut served = std::collections::HashSet::new();
        for (request, answer) in (0_u32..).zip(&mut answers) {
            match answer.try_recv() {
                Ok(Some(Ok(handed))) => prop_assert!(served.insert(handed.pid)),
                Ok(Some(Err(back))) => prop_assert_eq!(back.request, request),
                Ok(None) | Err(_) => prop_assert!(false, "request {} is lost", request),
            }
        }
        let births = stage.told(|notice| matches!(notice, Notice::Born(..)).then_some(())).len();
        prop_assert!(births <= served.len());
    }
}
