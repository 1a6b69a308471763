//! Tests of a daemon that stops gracefully or immediately, and of the end of its grace period.

use std::time::Duration;

use daemon_core::{AcceptChange, Phase, StopMode};
use daemon_sys::process::Signal;

use super::postfork::{accept_changes, back, is_answered, sim};
use super::simulator::{AGAIN, GRACE, Simulator};
use crate::messages::HandOverErrorReason;
use crate::model::PreFork;
use crate::parent::supervisor::{Supervisor, SupervisorEvent};

fn pool() -> Simulator<()> {
    let mut sim = Simulator::of(PreFork::new(3));
    sim.reconcile();
    sim.all_ready();
    sim.events.clear();
    sim
}

impl<R: 'static> Simulator<R> {
    pub(super) fn stop(&mut self, mode: StopMode) {
        self.act(|supervisor, processes, now| supervisor.stop(mode, processes, now));
    }

    pub(super) fn drained(&mut self) {
        self.act(Supervisor::drained);
    }

    pub(super) fn all_gone(&mut self) -> usize {
        self.take_events_of(|event| matches!(event, SupervisorEvent::AllChildrenGone).then_some(()))
            .len()
    }

    pub(super) fn all_leave(&mut self) {
        let children: Vec<_> = self.processes.alive.keys().copied().collect();
        for child in children {
            self.leave(child);
        }
    }

    /// Advances to the next deadline, or only reconciles if there is no deadline.
    pub(super) fn wake_or_reconcile(&mut self) {
        match self.supervisor.next_wake() {
            Some(_due) => self.wake(),
            None => self.reconcile(),
        }
    }
}

#[test]
fn a_graceful_stop_sends_term_to_all_children_and_is_complete_when_the_last_one_has_exited() {
    let mut sim = pool();
    sim.stop(StopMode::Graceful);
    assert_eq!(sim.processes.to_all, [Signal::Term]);
    assert_eq!(sim.processes.release, 1, "the fork server releases its listener");
    assert_eq!(sim.processes.pending_forks.len(), 0);
    sim.drained();
    assert_eq!(sim.all_gone(), 0);
    sim.all_leave();
    assert_eq!(sim.processes.pending_forks.len(), 0, "no child is replaced");
    assert_eq!(sim.all_gone(), 1);
    assert_eq!(sim.supervisor.phase(), Phase::Stopped);
    sim.reconcile();
    assert_eq!((sim.all_gone(), sim.processes.release), (0, 1));
    assert_eq!(sim.supervisor.counters.clean_exits, 3);
}

#[test]
fn sessions_that_do_not_answer_delay_the_stop_until_the_grace_period_expires() {
    let mut sim = pool();
    sim.stop(StopMode::Graceful);
    sim.all_leave();
    assert_eq!(sim.all_gone(), 0);
    sim.advance(GRACE);
    assert_eq!(sim.all_gone(), 1);
}

#[test]
fn children_are_killed_when_the_grace_period_expires() {
    let mut sim = pool();
    sim.stop(StopMode::Graceful);
    sim.drained();
    sim.processes.to_all.clear();
    sim.advance(GRACE - Duration::from_nanos(1));
    assert_eq!(sim.processes.to_all, []);
    sim.wake();
    assert_eq!(sim.processes.to_all, [Signal::Kill]);
    let overdue = sim.take_events_of(|event| match event {
        SupervisorEvent::GraceExpired(children) => Some(*children),
        _ => None,
    });
    assert_eq!(overdue, [3]);
    let children: Vec<_> = sim.processes.alive.keys().copied().collect();
    for child in children {
        sim.kill(child);
    }
    assert_eq!(sim.all_gone(), 1);
}

#[test]
fn an_unresponsive_fork_server_is_reported_once() {
    let mut sim = pool();
    sim.stop(StopMode::Graceful);
    sim.wake();
    sim.wake();
    sim.reconcile();
    let silent = sim.take_events_of(|event| {
        matches!(event, SupervisorEvent::ForkServerUnresponsive).then_some(())
    });
    assert_eq!(silent, [()]);
}

#[test]
fn an_immediate_stop_sends_quit_and_half_a_second_later_kill() {
    let mut sim = pool();
    sim.stop(StopMode::Graceful);
    sim.stop(StopMode::Immediate);
    assert_eq!(sim.processes.to_all, [Signal::Term, Signal::Quit]);
    let before = sim.now;
    sim.wake();
    assert_eq!(sim.now.saturating_since(before), Duration::from_millis(500));
    assert_eq!(sim.processes.to_all.last(), Some(&Signal::Kill));
}

#[test]
fn requests_that_arrive_before_all_sessions_have_answered_the_shutdown_still_get_a_child() {
    let mut sim = sim(1, 10);
    let mut first = sim.hand_over(0);
    let mut second = sim.hand_over(1);
    let child = sim.fork_next();
    sim.events.clear();
    sim.stop(StopMode::Graceful);
    let mut late = sim.hand_over(2);
    assert_eq!(sim.processes.release, 0, "children are still needed");
    sim.drained();
    let mut too_late = sim.hand_over(3);
    assert!(matches!(back(&mut too_late), (3, HandOverErrorReason::Stopping)));
    sim.leave(child);
    for _each in 0..2 {
        assert_eq!(sim.processes.pending_forks.len(), 1);
        let child = sim.fork_next();
        sim.leave(child);
    }
    assert_eq!(sim.all_gone(), 1);
    assert_eq!(sim.processes.release, 1);
    for answer in [&mut first, &mut second, &mut late] {
        assert!(is_answered(answer));
    }
    assert_eq!(
        accept_changes(&mut sim),
        [] as [AcceptChange; 0],
        "the shutdown is broadcast instead of a pause"
    );
}

#[test]
fn an_immediate_stop_returns_waiting_requests() {
    let mut sim = sim(1, 10);
    let _first = sim.hand_over(0);
    let mut second = sim.hand_over(1);
    sim.fork_next();
    sim.stop(StopMode::Immediate);
    assert!(matches!(back(&mut second), (1, HandOverErrorReason::Stopping)));
    assert_eq!(sim.processes.release, 1);
    sim.all_leave();
    assert_eq!(sim.all_gone(), 1);
}

#[test]
fn a_fork_that_fails_after_the_children_were_killed_is_not_retried() {
    let mut sim = sim(2, 10);
    let mut first = sim.hand_over(0);
    sim.stop(StopMode::Graceful);
    sim.drained();
    sim.advance(GRACE);
    assert_eq!(sim.processes.to_all.last(), Some(&Signal::Kill));
    sim.fork_fails(AGAIN);
    sim.wake_or_reconcile();
    assert_eq!(sim.processes.pending_forks.len(), 0);
    assert!(matches!(back(&mut first), (0, HandOverErrorReason::Stopping)));
    assert_eq!(sim.all_gone(), 1);
}

#[test]
fn the_fork_server_is_released_only_when_no_fork_is_pending() {
    let mut sim = sim(2, 10);
    let mut answer = sim.hand_over(0);
    sim.stop(StopMode::Graceful);
    sim.drained();
    assert_eq!(sim.processes.release, 0, "the fork may have to be retried");
    sim.fork_fails(AGAIN);
    sim.wake();
    assert_eq!(sim.processes.pending_forks.len(), 1);
    sim.fork_next();
    assert!(is_answered(&mut answer));
    assert_eq!(sim.processes.release, 1);
}

#[test]
fn requests_without_a_child_are_returned_when_the_fork_server_is_lost() {
    let mut sim = sim(1, 10);
    let mut first = sim.hand_over(0);
    let mut second = sim.hand_over(1);
    let pending: Vec<_> = sim.processes.pending_forks.drain(..).collect();
    sim.supervisor.on_fork_server_lost(pending, "the fork server is lost");
    let (request, reason) = back(&mut first);
    assert_eq!(request, 0);
    assert_eq!(reason.to_string(), "the fork server is lost");
    assert_eq!(back(&mut second).0, 1);
    assert_eq!(sim.supervisor.next_wake(), None);
}
