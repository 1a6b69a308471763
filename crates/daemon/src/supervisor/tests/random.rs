//! Tests the supervisor with random events in random order. The tests check that there are never
//! too many children, no request is lost, and every stop completes.
//!
//! After every step, [`Simulator::act`] checks the number of children and the counts of the
//! registry.

use daemon_core::{AcceptState, Exit, Phase, Status, StopMode};
use daemon_forkserver::ChildId;
use proptest::prelude::*;
use proptest::sample::Index;

use super::postfork::accept_changes;
use super::simulator::{AGAIN, Reply, Simulator};
use crate::events::DaemonEvent;
use crate::model::{PostFork, PreFork};
use crate::supervisor::{Effect, Lifecycle, Supervisor};
use daemon_core::Resize;

/// An event that a test applies to the simulator.
#[derive(Debug, Clone)]
enum RandomEvent {
    ChildForked,
    ForkFails,
    ReportStatus(Index, Status),
    Leave(Index),
    Die(Index),
    Sleep(u16),
    WakeUp,
    Request,
    Resize(u32),
    Reload,
}

fn random_event() -> impl Strategy<Value = RandomEvent> {
    let status = prop_oneof![
        Just(Status::Fresh),
        Just(Status::Waiting),
        Just(Status::Serving),
        Just(Status::Long),
    ];
    prop_oneof![
        6 => Just(RandomEvent::ChildForked),
        1 => Just(RandomEvent::ForkFails),
        8 => (any::<Index>(), status).prop_map(|(index, status)| RandomEvent::ReportStatus(index, status)),
        2 => any::<Index>().prop_map(RandomEvent::Leave),
        1 => any::<Index>().prop_map(RandomEvent::Die),
        2 => (0..3000_u16).prop_map(RandomEvent::Sleep),
        2 => Just(RandomEvent::WakeUp),
        6 => Just(RandomEvent::Request),
        1 => (1..9_u32).prop_map(RandomEvent::Resize),
        1 => Just(RandomEvent::Reload),
    ]
}

impl<R: 'static> Simulator<R> {
    fn any_child(&self, index: &Index) -> Option<ChildId> {
        let mut alive: Vec<ChildId> = self.processes.alive.keys().copied().collect();
        alive.sort_by_key(|child| child.slot);
        (!alive.is_empty()).then(|| *index.get(&alive))
    }

    fn apply(&mut self, random_event: &RandomEvent) {
        match random_event {
            RandomEvent::ChildForked if !self.processes.pending_forks.is_empty() => {
                self.fork_next();
            }
            RandomEvent::ForkFails if !self.processes.pending_forks.is_empty() => {
                self.fork_fails(AGAIN);
            }
            RandomEvent::ChildForked | RandomEvent::ForkFails | RandomEvent::Request => {}
            RandomEvent::ReportStatus(index, status) => {
                if let Some(child) = self.any_child(index) {
                    self.report_status(child, *status);
                }
            }
            RandomEvent::Leave(index) => {
                if let Some(child) = self.any_child(index) {
                    self.leave(child);
                }
            }
            RandomEvent::Die(index) => {
                if let Some(child) = self.any_child(index) {
                    self.die(child, Exit::Code(1));
                }
            }
            RandomEvent::Sleep(millis) => {
                self.advance(std::time::Duration::from_millis((*millis).into()));
            }
            RandomEvent::WakeUp => self.wake_or_reconcile(),
            RandomEvent::Resize(children) => {
                // A refusal is a valid answer.
                let _ = self.act(|supervisor, processes, now| {
                    supervisor.resize(Resize::To(*children), processes, now)
                });
            }
            RandomEvent::Reload => {
                let _ = self.act(Supervisor::reload);
            }
        }
    }

    /// Advances the simulation until no timer is set. All forks succeed, and children exit if they
    /// were asked to stop.
    fn settle_down(&mut self) {
        for _turn in 0..200 {
            while !self.processes.pending_forks.is_empty() {
                self.fork_next();
            }
            let starting: Vec<ChildId> = self.processes.alive.keys().copied().collect();
            for child in self.stopping_children() {
                self.leave(child);
            }
            for child in starting {
                if self.processes.alive.contains_key(&child) {
                    self.report_status(child, Status::Fresh);
                    self.report_status(child, Status::Waiting);
                }
            }
            // If children were asked to stop in this turn, they leave in the next turn.
            if self.processes.pending_forks.is_empty() && self.stopping_children().is_empty() {
                match self.supervisor.next_wake() {
                    None => return,
                    Some(_due) => self.wake(),
                }
            }
        }
        panic!("the supervisor is still busy after 200 turns");
    }

    fn stopping_children(&self) -> Vec<ChildId> {
        let records = self.supervisor.registry().records();
        let leaving = records.filter(|record| record.seen == Status::Leaving);
        let children = leaving.map(|record| record.child);
        children.filter(|child| self.processes.alive.contains_key(child)).collect()
    }

    fn stop_completely(&mut self, mode: StopMode) {
        self.effects.clear();
        self.stop(mode);
        self.drained();
        self.end();
        assert_eq!((self.all_gone(), self.processes.children()), (1, 0));
    }

    /// Lets all children and the fork server of a stopping daemon exit.
    fn end(&mut self) {
        self.processes.are_orphans_gone = true;
        for _turn in 0..100 {
            if self.supervisor.phase() == Phase::Stopped {
                break;
            }
            while !self.processes.pending_forks.is_empty() {
                self.fork_next();
            }
            self.all_leave();
            if self.processes.shut_down > 0 {
                self.fork_server_exits();
            } else {
                self.wake_or_reconcile();
            }
        }
        assert_eq!(self.supervisor.phase(), Phase::Stopped);
        assert_eq!(self.processes.release, 1);
    }
}

fn mode() -> impl Strategy<Value = StopMode> {
    prop_oneof![Just(StopMode::Graceful), Just(StopMode::Immediate)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pool_settles_within_its_spare_limits_and_stops(
        random_events in prop::collection::vec(random_event(), 0..120),
        mode in mode(),
        starts: bool,
    ) {
        let mut sim = Simulator::of(
            PreFork::new(4).min_spare(2).max_spare(5).max_children(8),
        );
        sim.reconcile();
        if starts {
            sim.all_ready();
        }
        for random_event in &random_events {
            sim.apply(random_event);
        }
        let is_failure = |effect: &Effect| matches!(effect, Effect::Failed(_)).then_some(());
        if sim.supervisor.life().stop_mode().is_some() {
            prop_assert!(!starts, "only a start fails");
            prop_assert!(!sim.take_effects_of(is_failure).is_empty());
            sim.end();
            return Ok(());
        }
        sim.settle_down();
        prop_assert_eq!(sim.supervisor.phase(), Phase::Running);
        let children = sim.processes.children();
        let resized = random_events.iter().any(|random_event| matches!(random_event, RandomEvent::Resize(_)));
        let rest = if resized { 1..=8 } else { 2..=5 };
        prop_assert!(rest.contains(&children), "{} children", children);
        sim.stop_completely(mode);
    }

    #[test]
    fn no_request_is_lost_and_none_is_served_twice(
        random_events in prop::collection::vec(random_event(), 0..120),
        mode in mode(),
    ) {
        let mut sim = Simulator::of(PostFork::new(3).backlog(4));
        sim.reconcile();
        let mut answers: Vec<Reply<u32>> = Vec::new();
        let mut next = 0;
        let mut paused = AcceptState::Accepting;
        for random_event in &random_events {
            if let RandomEvent::Request = random_event {
                answers.push(sim.hand_over(next));
                next += 1;
            }
            sim.apply(random_event);
            for change in accept_changes(&mut sim) {
                prop_assert_ne!(change, paused, "pause and resume alternate");
                paused = change;
            }
        }
        sim.stop_completely(mode);
        let mut served = std::collections::HashSet::new();
        for (request, answer) in (0_u32..).zip(&mut answers) {
            match answer.try_recv() {
                Ok(Some(Ok(handed))) => prop_assert!(served.insert(handed.pid)),
                Ok(Some(Err(back))) => prop_assert_eq!(back.request, request),
                Ok(None) | Err(_) => prop_assert!(false, "request {} was lost", request),
            }
        }
        let forks = sim.take_effects_of(|event| matches!(event, Effect::Event(DaemonEvent::Forked(_))).then_some(())).len();
        prop_assert!(forks <= served.len());
    }

    #[test]
    fn the_phases_of_a_daemon_come_in_their_order_and_the_last_one_is_reached(
        random_events in prop::collection::vec(prop_oneof![
            9 => random_event().prop_map(LifeEvent::Of),
            1 => mode().prop_map(LifeEvent::Stop),
            1 => Just(LifeEvent::SessionsAnswered),
            1 => Just(LifeEvent::ForkServerLost),
            1 => (0..2_usize).prop_map(LifeEvent::Foreign),
        ], 0..60),
    ) {
        let mut sim: Simulator<()> = Simulator::of(PreFork::new(2));
        sim.reconcile();
        for random_event in &random_events {
            match random_event {
                LifeEvent::Of(random_event) => sim.apply(random_event),
                LifeEvent::Stop(mode) => sim.stop(*mode),
                LifeEvent::SessionsAnswered => sim.drained(),
                LifeEvent::ForkServerLost => sim.lose_fork_server(),
                LifeEvent::Foreign(foreign) => sim.processes.foreign = *foreign,
            }
        }
        sim.stop(StopMode::Immediate);
        (sim.processes.foreign, sim.processes.are_orphans_gone) = (0, true);
        sim.processes.has_fork_server_exited = true;
        for _turn in 0..20 {
            sim.all_leave();
            while !sim.processes.pending_forks.is_empty() {
                sim.fork_next();
            }
            if sim.processes.shut_down > 0 {
                sim.lose_fork_server();
            }
            sim.wake_or_reconcile();
        }
        prop_assert_eq!(sim.supervisor.life(), &Lifecycle::Stopped);
        prop_assert_eq!(sim.supervisor.next_wake(), None);
        let phases = sim.take_effects_of(|effect| match effect {
            Effect::Event(DaemonEvent::Phase { phase }) => Some(*phase),
            _ => None,
        });
        let all = [Phase::Running, Phase::Stopping, Phase::Stopped];
        prop_assert!(phases == all || phases == all[1..], "{:?}", phases);
    }
}

/// An event in the life of a daemon.
#[derive(Debug, Clone)]
enum LifeEvent {
    Of(RandomEvent),
    Stop(StopMode),
    SessionsAnswered,
    ForkServerLost,
    Foreign(usize),
}
