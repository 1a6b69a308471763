//! Tests of a daemon that stops gracefully or immediately, and of the end of its grace period.

use std::time::Duration;

use daemon_core::{
    AcceptState, LadderStep, MonotonicTime, Phase, Status, StopMode, StopReason, Violation,
};
use daemon_forkserver::ForkServerEvent;
use daemon_sys::process::Signal;

use super::postfork::{accept_changes, back, is_answered, sim};
use super::simulator::{AGAIN, GRACE, Simulator};
use crate::events::DaemonEvent;
use crate::messages::HandOverErrorReason;
use crate::model::{PreFork, Solo};
use crate::supervisor::{Effect, Lifecycle, Origin, Supervisor};

fn pool() -> Simulator<()> {
    let mut sim = Simulator::of(PreFork::new(3));
    sim.reconcile();
    sim.all_ready();
    sim.effects.clear();
    sim
}

impl<R: 'static> Simulator<R> {
    pub(super) fn stop(&mut self, mode: StopMode) {
        self.act(|supervisor, processes, now| {
            supervisor.stop(mode, Origin::Message, processes, now);
        });
    }

    pub(super) fn drained(&mut self) {
        self.act(Supervisor::on_sessions_answered);
    }

    /// Returns how often the fork server was asked to exit since the last call.
    pub(super) fn all_gone(&mut self) -> u32 {
        std::mem::take(&mut self.processes.shut_down)
    }

    /// Ends the fork server, and its link.
    pub(super) fn fork_server_exits(&mut self) {
        self.processes.has_fork_server_exited = true;
        self.lose_fork_server();
    }

    pub(super) fn lose_fork_server(&mut self) {
        self.act(|supervisor, processes, now| {
            supervisor.on_fork_server_lost("the fork server is lost".to_owned(), processes, now);
        });
    }

    /// Returns the phases that were reported since the last call, and discards the other effects.
    fn phases(&mut self) -> Vec<Phase> {
        self.take_effects_of(|effect| match effect {
            Effect::Event(DaemonEvent::Phase { phase }) => Some(*phase),
            _ => None,
        })
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
    assert_eq!(sim.supervisor.phase(), Phase::Stopping, "the fork server still exists");
    sim.reconcile();
    assert_eq!((sim.all_gone(), sim.processes.release), (0, 1));
    sim.fork_server_exits();
    assert_eq!(sim.phases(), [Phase::Stopping, Phase::Stopped]);
    assert_eq!(sim.processes.published.0, Phase::Stopped);
    assert_eq!(sim.supervisor.next_wake(), None);
    assert_eq!(sim.supervisor.counters.clean_exits, 3);
}

#[test]
fn a_pool_whose_children_may_all_have_left_because_of_their_quota_forks_one_when_it_stops() {
    use Status::{Leaving, Serving, Waiting};
    // The quota, what each child has done since it was ready, what one child has done after that,
    // and how many children are forked.
    let cases: [(u32, &[Status], &[Status], usize); 8] = [
        (1, &[], &[], 0),
        (1, &[Serving], &[], 0),
        (1, &[Serving, Waiting], &[], 1),
        (1, &[Serving, Waiting], &[Serving], 0),
        (1, &[Serving, Waiting, Leaving], &[], 1),
        (2, &[Serving, Waiting], &[], 0),
        (2, &[Serving, Waiting], &[Serving, Waiting], 0),
        (0, &[Serving, Waiting, Leaving], &[], 0),
    ];
    for (quota, all, one, forked) in cases {
        let mut sim = Simulator::of(PreFork::fixed(3).requests(quota));
        sim.reconcile();
        let children = sim.all_ready();
        for child in &children {
            all.iter().for_each(|status| sim.report_status(*child, *status));
        }
        one.iter().for_each(|status| sim.report_status(children[0], *status));
        sim.stop(StopMode::Graceful);
        let counts = (sim.processes.pending_forks.len(), sim.processes.release);
        assert_eq!(counts, (forked, 1), "{quota} {all:?} {one:?}");
        sim.drained();
        sim.all_ready();
        sim.all_leave();
        assert_eq!(sim.processes.pending_forks.len(), 0, "no child is replaced");
        assert_eq!(sim.all_gone(), 1);
    }
}

#[test]
fn no_child_is_forked_at_a_stop_that_serves_no_client() {
    for mode in [StopMode::Graceful, StopMode::Immediate] {
        let mut sim = Simulator::of(PreFork::fixed(1).requests(1));
        if mode == StopMode::Immediate {
            sim.reconcile();
            let child = sim.all_ready()[0];
            sim.report_status(child, Status::Serving);
            sim.report_status(child, Status::Waiting);
        }
        sim.stop(mode);
        assert_eq!(sim.processes.pending_forks.len(), 0, "{mode:?}");
    }
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
    assert!(matches!(sim.supervisor.life(), Lifecycle::Killing { report_by: Some(_) }));
    assert_eq!(sim.supervisor.registry().counts().children(), 3);
    let children: Vec<_> = sim.processes.alive.keys().copied().collect();
    for child in children {
        sim.kill(child);
    }
    assert_eq!(sim.all_gone(), 1);
}

#[test]
fn an_unresponsive_fork_server_is_killed_with_its_children() {
    let mut sim = pool();
    sim.stop(StopMode::Graceful);
    sim.wake();
    sim.wake();
    assert_eq!(sim.processes.to_orphans, [Signal::Kill]);
    let errors = sim.take_effects_of(|effect| match effect {
        Effect::Failed(error) => Some(error.to_string()),
        _ => None,
    });
    let error = "the fork server does not report the exits of its children; \
                 the children were stopped";
    assert_eq!(errors, [error]);
    sim.lose_fork_server();
    sim.processes.are_orphans_gone = true;
    sim.wake();
    assert_eq!(*sim.supervisor.life(), Lifecycle::Stopped);
    assert!(!sim.effects.iter().any(|effect| matches!(effect, Effect::Failed(_))), "told once");
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
    sim.effects.clear();
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
        [] as [AcceptState; 0],
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
    sim.lose_fork_server();
    let (request, reason) = back(&mut first);
    assert_eq!(request, 0);
    assert_eq!(reason.to_string(), "the fork server is lost");
    assert_eq!(back(&mut second).0, 1);
}

#[test]
fn the_daemon_is_stopping_until_the_children_of_a_lost_fork_server_are_gone() {
    let mut sim = pool();
    sim.lose_fork_server();
    let failures = sim.effects.iter().filter(|effect| matches!(effect, Effect::Failed(_))).count();
    assert_eq!(failures, 1);
    assert_eq!(sim.processes.to_orphans, [Signal::Term]);
    assert_eq!(sim.supervisor.life().stop_mode(), Some(StopMode::Immediate));
    let lost_at = sim.now;
    while sim.now < lost_at + GRACE {
        assert_eq!(sim.processes.to_orphans, [Signal::Term]);
        assert_eq!(sim.processes.published.0, Phase::Stopping);
        sim.wake();
    }
    assert_eq!(sim.processes.to_orphans, [Signal::Term, Signal::Kill]);
    assert_eq!(sim.phases(), [Phase::Stopping]);
    sim.processes.are_orphans_gone = true;
    sim.wake();
    assert_eq!(sim.phases(), [Phase::Stopped]);
    assert_eq!(sim.supervisor.next_wake(), None);
    sim.lose_fork_server();
    sim.stop(StopMode::Graceful);
    assert_eq!(sim.phases(), [], "nothing follows the end");
}

#[test]
fn processes_that_survive_kill_do_not_delay_the_end_for_ever() {
    let mut sim = pool();
    sim.lose_fork_server();
    let lost_at = sim.now;
    while sim.supervisor.phase() == Phase::Stopping {
        sim.wake();
        assert!(sim.now <= lost_at + GRACE + Duration::from_secs(6));
    }
    assert!(sim.now >= lost_at + GRACE + Duration::from_secs(5));
}

/// Returns a pool that has stopped except for its fork server.
fn closing() -> Simulator<()> {
    let mut sim = pool();
    sim.stop(StopMode::Graceful);
    sim.drained();
    sim.all_leave();
    assert_eq!(sim.all_gone(), 1);
    sim
}

#[test]
fn a_fork_server_that_does_not_exit_is_killed() {
    let mut sim = closing();
    let asked_at = sim.now;
    while sim.processes.to_orphans.is_empty() {
        assert!(sim.now < asked_at + Duration::from_secs(6));
        sim.wake();
    }
    assert_eq!(sim.processes.to_orphans, [Signal::Kill]);
    assert_eq!(sim.supervisor.phase(), Phase::Stopping, "it has not been reaped");
    sim.processes.has_fork_server_exited = true;
    sim.wake();
    assert_eq!(*sim.supervisor.life(), Lifecycle::Stopped);
    assert_eq!(sim.processes.to_orphans, [Signal::Kill]);
}

#[test]
fn a_fork_server_that_ends_descendants_has_the_rest_of_the_grace_period() {
    let mut sim = closing();
    let asked_at = sim.now;
    let left = sim.processes.descendants_grace;
    assert!(left > Duration::from_secs(1), "a part of the grace period is left");
    sim.act(|supervisor, processes, now| {
        let event = ForkServerEvent::EndingDescendants { processes: 2 };
        supervisor.on_fork_server_event(event, processes, now);
    });
    while sim.processes.to_orphans.is_empty() {
        sim.wake();
    }
    assert!(sim.now >= asked_at + left + Duration::from_secs(5));
}

#[test]
fn after_children_were_killed_no_time_is_left_for_descendants() {
    let mut sim = pool();
    let children: Vec<_> = sim.processes.alive.keys().copied().collect();
    sim.stop(StopMode::Graceful);
    sim.drained();
    sim.advance(GRACE);
    for child in children {
        sim.kill(child);
    }
    assert_eq!((sim.all_gone(), sim.processes.descendants_grace), (1, Duration::ZERO));
}

#[test]
fn the_exit_of_the_fork_server_is_found_without_the_end_of_its_link() {
    let mut sim = closing();
    sim.processes.has_fork_server_exited = true;
    sim.wake();
    assert_eq!(*sim.supervisor.life(), Lifecycle::Stopped);
}

#[test]
fn a_foreign_child_that_is_registered_at_the_very_end_is_waited_for() {
    let mut sim = closing();
    sim.processes.foreign = 1;
    sim.act(|supervisor, processes, _now| supervisor.on_foreign_added(processes));
    assert_eq!(sim.processes.to_foreign, [Signal::Term, Signal::Kill]);
    sim.processes.has_fork_server_exited = true;
    sim.wake();
    assert_eq!(sim.supervisor.phase(), Phase::Stopping);
    assert_eq!(sim.supervisor.next_wake(), None, "the exit of the foreign child is an event");
    sim.processes.foreign = 0;
    sim.reconcile();
    assert_eq!(*sim.supervisor.life(), Lifecycle::Stopped);
}

#[test]
fn a_rogue_that_was_given_up_is_waited_for_if_the_operator_kills_it_during_a_stop() {
    let mut sim = pool();
    let child = *sim.processes.alive.keys().next().unwrap();
    let pid = sim.processes.alive[&child].0;
    sim.act(|supervisor, processes, now| {
        supervisor.enforce(child, Violation::Hung, LadderStep::GiveUp, processes, now);
    });
    sim.all_ready();
    sim.processes.foreign = 1;
    sim.stop(StopMode::Graceful);
    sim.drained();
    let others: Vec<_> =
        sim.processes.alive.keys().copied().filter(|other| *other != child).collect();
    others.into_iter().for_each(|other| sim.leave(other));
    sim.advance(GRACE);
    assert_eq!(*sim.supervisor.life(), Lifecycle::Killing { report_by: None });
    sim.act(|supervisor, processes, now| {
        supervisor.kill_child(pid, StopReason::Killed, processes, now)
    })
    .unwrap();
    assert!(matches!(sim.supervisor.life(), Lifecycle::Killing { report_by: Some(_) }));
}

#[test]
fn the_requests_of_unreported_forks_are_dropped_when_the_fork_server_is_lost() {
    let mut sim: Simulator<()> = Simulator::of(PreFork::new(3));
    sim.reconcile();
    assert_eq!(sim.processes.pending_forks.len(), 3);
    sim.lose_fork_server();
    assert_eq!(sim.processes.pending_forks.len(), 0);
}

#[test]
fn foreign_children_are_stopped_with_the_others() {
    let mut sim = pool();
    sim.processes.foreign = 1;
    sim.stop(StopMode::Graceful);
    sim.drained();
    sim.all_leave();
    assert_eq!((sim.all_gone(), sim.processes.to_foreign.as_slice()), (0, &[Signal::Term][..]));
    sim.wake();
    assert_eq!(sim.processes.to_foreign, [Signal::Term, Signal::Kill]);
    assert_eq!(sim.supervisor.next_wake(), None, "no event is missed without a timer");
    sim.processes.foreign = 0;
    sim.reconcile();
    assert_eq!(sim.all_gone(), 1);
}

#[test]
fn a_foreign_child_that_is_registered_during_a_stop_is_stopped_too() {
    let table = [
        (StopMode::Graceful, [Signal::Term, Signal::Term]),
        (StopMode::Immediate, [Signal::Kill, Signal::Kill]),
    ];
    for (mode, signals) in table {
        let mut sim = pool();
        sim.stop(mode);
        sim.act(|supervisor, processes, _now| supervisor.on_foreign_added(processes));
        assert_eq!(sim.processes.to_foreign, signals);
    }
}

#[test]
fn a_daemon_without_children_waits_only_for_its_sessions() {
    let mut sim: Simulator<()> = Simulator::of(Solo);
    sim.reconcile();
    assert_eq!(sim.phases(), [Phase::Running]);
    sim.stop(StopMode::Graceful);
    assert_eq!(sim.supervisor.phase(), Phase::Stopping);
    sim.processes.has_fork_server_exited = true;
    sim.drained();
    assert_eq!(sim.phases(), [Phase::Stopping, Phase::Stopped]);
}

/// Returns a value of each state, in the order of the daemon's life.
fn states() -> [Lifecycle; 8] {
    let at = MonotonicTime::ZERO;
    let mut sims = [pool(), pool()];
    sims[0].stop(StopMode::Graceful);
    sims[1].stop(StopMode::Immediate);
    let [graceful, immediate] = sims.map(|sim| sim.supervisor.life().clone());
    let mut lost = pool();
    lost.lose_fork_server();
    [
        Lifecycle::starting(3, at),
        Lifecycle::Running,
        graceful,
        immediate,
        Lifecycle::Killing { report_by: None },
        Lifecycle::Closing { kill_at: Some(at), until: at, reap_at: None },
        lost.supervisor.life().clone(),
        Lifecycle::Stopped,
    ]
}

#[test]
fn a_daemon_never_returns_to_an_earlier_state_of_its_life() {
    // Each row lists the states that may follow the state with its number.
    let table: [&[usize]; 8] =
        [&[1, 2, 3, 6], &[2, 3, 6], &[3, 4, 5, 6], &[4, 5, 6], &[5, 6], &[7], &[7], &[]];
    for (state, allowed) in states().iter().zip(table) {
        for (number, next) in states().iter().enumerate() {
            assert_eq!(state.may_become(next), allowed.contains(&number), "{state:?} {next:?}");
        }
    }
}
