//! Tests of children that are not ready in time after their fork.

use std::time::Duration;

use daemon_core::{ExitCause, KillReason, LadderStep, Status, StopMode, Violation};
use daemon_forkserver::ChildId;
use daemon_sys::process::Signal;

use super::postfork;
use super::simulator::{BOOT_TIMEOUT, Simulator};
use crate::events::DaemonEvent;
use crate::model::PreFork;
use crate::supervisor::{Effect, Origin, Supervisor};

const SECOND: Duration = Duration::from_secs(1);

/// Returns a running pool with three idle children, and room for one more child.
fn running() -> (Simulator<()>, Vec<ChildId>) {
    let mut sim = Simulator::of(PreFork::new(3).min_spare(3).max_spare(3).max_children(4));
    sim.reconcile();
    let children = sim.all_ready();
    sim.effects.clear();
    (sim, children)
}

fn overdue<R: 'static>(sim: &mut Simulator<R>) -> Vec<ChildId> {
    sim.take_effects_of(|effect| match effect {
        Effect::NotReady { child, .. } => Some(*child),
        _ => None,
    })
}

/// Kills an overdue child as the babysitter does after it has collected evidence.
fn kill_overdue(sim: &mut Simulator<()>, child: ChildId) {
    sim.act(|supervisor, processes, now| {
        supervisor.enforce(child, Violation::Boot, LadderStep::Kill, processes, now);
    });
    assert_eq!(sim.signalled(Signal::Kill), [child]);
    sim.kill(child);
}

#[test]
fn a_replacement_that_is_not_ready_in_time_is_reported_once_and_its_death_counts_as_a_failed_boot()
{
    let (mut sim, children) = running();
    sim.kill(children[0]);
    let hung = sim.fork_next();
    sim.advance(BOOT_TIMEOUT - SECOND);
    assert_eq!(overdue(&mut sim), []);
    sim.advance(SECOND);
    assert_eq!(overdue(&mut sim), [hung]);
    sim.advance(BOOT_TIMEOUT);
    assert_eq!(overdue(&mut sim), [], "it is reported once");
    kill_overdue(&mut sim, hung);
    let causes = sim.take_effects_of(|effect| match effect {
        Effect::Event(DaemonEvent::Exited(exited)) => Some(exited.cause),
        _ => None,
    });
    assert_eq!(causes, [ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Boot))]);
    assert_eq!(sim.supervisor.counters.failed_exits, 2);
}

#[test]
fn a_child_that_is_asked_to_stop_before_it_is_ready_must_leave_its_start_in_time_too() {
    let (mut sim, children) = running();
    sim.kill(children[0]);
    let hung = sim.fork_next();
    let pid = sim.processes.alive[&hung].0;
    sim.act(|supervisor, processes, now| supervisor.retire_child(pid, processes, now).unwrap());
    sim.all_ready();
    sim.advance(BOOT_TIMEOUT);
    assert_eq!(overdue(&mut sim), [hung]);
}

#[test]
fn children_that_are_ready_or_leaving_are_not_overdue() {
    let (mut sim, children) = running();
    sim.kill(children[0]);
    let ready = sim.fork_next();
    sim.report_status(ready, Status::Fresh);
    sim.kill(children[1]);
    let leaving = sim.fork_next();
    sim.report_status(leaving, Status::Leaving);
    sim.advance(BOOT_TIMEOUT);
    assert_eq!(overdue(&mut sim), []);
    assert_eq!(sim.supervisor.next_wake(), None, "no timer runs while no child is starting");
}

#[test]
fn each_child_has_its_own_time() {
    let (mut sim, children) = running();
    sim.kill(children[0]);
    let first = sim.fork_next();
    sim.advance(10 * SECOND);
    sim.kill(children[1]);
    let second = sim.fork_next();
    sim.advance(20 * SECOND);
    assert_eq!(overdue(&mut sim), [first]);
    assert_eq!(sim.supervisor.next_wake(), Some(sim.now + 10 * SECOND));
    sim.wake();
    assert_eq!(overdue(&mut sim), [second]);
}

#[test]
fn old_children_serve_while_a_reload_waits_for_children_that_are_never_ready() {
    let (mut sim, old) = running();
    let _started = sim.act(Supervisor::reload).unwrap();
    for _turn in 0..20 {
        let retired = sim.signalled(Signal::Term);
        assert!(retired.is_empty(), "{retired:?} were retired, but no new child is ready");
        let Some(_pending) = sim.processes.pending_forks.front() else {
            sim.wake();
            continue;
        };
        let hung = sim.fork_next();
        sim.advance(BOOT_TIMEOUT);
        kill_overdue(&mut sim, hung);
    }
    assert!(old.iter().all(|child| sim.processes.alive.contains_key(child)));
    assert_eq!(sim.supervisor.registry().counts().idle(), 3);
}

#[test]
fn a_post_forked_child_is_overdue_until_it_has_begun_its_request() {
    let mut sim = postfork::sim(2, 0);
    let _answers = (sim.hand_over(1), sim.hand_over(2));
    let (serving, hung) = (sim.fork_next(), sim.fork_next());
    sim.report_status(serving, Status::Serving);
    sim.advance(BOOT_TIMEOUT);
    assert_eq!(overdue(&mut sim), [hung]);
    assert_eq!(sim.supervisor.next_wake(), None);
}

#[test]
fn during_a_stop_the_grace_period_applies_instead() {
    let (mut sim, children) = running();
    sim.kill(children[0]);
    let _hung = sim.fork_next();
    sim.act(|supervisor, processes, now| {
        supervisor.stop(StopMode::Graceful, Origin::Message, processes, now);
    });
    sim.advance(BOOT_TIMEOUT);
    assert_eq!(overdue(&mut sim), []);
}
