//! Tests of a pool that is sized by demand: initial children, growth, replacements, and the
//! requests for which children are forked.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;

use daemon_core::{ExitCause, KillReason, Phase, Status, StopMode, Violation};
use daemon_forkserver::{ChildId, ForkRefusal};
use daemon_sys::process::Signal;

use super::simulator::Simulator;
use crate::dispatching::{OnDemand, RequestFactory};
use crate::events::DaemonEvent;
use crate::supervisor::Effect;
use daemon_core::Resize;

type FailedFork = (Option<ChildId>, String);

/// Makes numbered requests, and records the child that gets each request.
#[derive(Clone, Default)]
struct Numbers {
    made: Rc<RefCell<u32>>,
    ordered: Rc<RefCell<Vec<(u32, ChildId)>>>,
    spent: Rc<RefCell<bool>>,
    failed: Rc<RefCell<Vec<FailedFork>>>,
}

impl RequestFactory<String> for Numbers {
    fn make_request(&mut self) -> io::Result<String> {
        if *self.spent.borrow() {
            return Err(io::Error::from_raw_os_error(24));
        }
        *self.made.borrow_mut() += 1;
        Ok(self.made.borrow().to_string())
    }

    fn fork_requested(&mut self, child: ChildId) {
        self.ordered.borrow_mut().push((*self.made.borrow(), child));
    }

    fn fork_failed(&mut self, child: Option<ChildId>, reason: &dyn fmt::Display) {
        self.failed.borrow_mut().push((child, reason.to_string()));
    }
}

fn pool(numbers: &Numbers) -> Simulator<String> {
    let model = OnDemand::new(4, numbers.clone()).start_children(2);
    let mut sim = Simulator::of(model);
    sim.reconcile();
    sim
}

#[test]
fn each_child_is_forked_with_the_request_that_was_made_for_it() {
    let numbers = Numbers::default();
    let mut sim = pool(&numbers);
    let made: Vec<_> = sim
        .processes
        .pending_forks
        .iter()
        .map(|(child, made)| (made.parse().unwrap(), *child))
        .collect();
    assert_eq!(made, *numbers.ordered.borrow());
    assert_eq!(made.len(), 2);
    sim.all_ready();
    assert_eq!(sim.supervisor.phase(), Phase::Running);
}

#[test]
fn a_stop_forks_a_child_for_the_tasks_that_wait_if_all_children_may_have_their_last_one() {
    // The quota, how many tasks wait, whether the only child has a task, and the number of forks.
    for (quota, depth, is_busy, forked) in
        [(1, 2, true, 1), (1, 0, true, 1), (1, 0, false, 0), (2, 2, true, 0), (0, 2, true, 0)]
    {
        let model = OnDemand::new(1, Numbers::default()).start_children(1).requests(quota);
        let mut sim = Simulator::of(model);
        sim.reconcile();
        let child = sim.all_ready()[0];
        if is_busy {
            sim.report_status(child, Status::Serving);
        }
        sim.act(|supervisor, processes, now| supervisor.set_queue_depth(depth, processes, now));
        sim.stop(StopMode::Graceful);
        assert_eq!(sim.processes.pending_forks.len(), forked, "{quota} {depth} {is_busy}");
        assert_eq!(sim.processes.release, 1);
    }
}

#[test]
fn waiting_tasks_grow_the_pool_up_to_max_children() {
    let mut sim = pool(&Numbers::default());
    let first = sim.all_ready();
    sim.act(|supervisor, processes, now| supervisor.set_queue_depth(2, processes, now));
    assert!(sim.processes.pending_forks.is_empty(), "two idle children will take the tasks");
    first.iter().for_each(|child| sim.report_status(*child, Status::Serving));
    assert_eq!(sim.processes.pending_forks.len(), 2);
    sim.act(|supervisor, processes, now| supervisor.set_queue_depth(100, processes, now));
    assert_eq!(sim.all_ready().len(), 2);
}

#[test]
fn reaching_max_children_is_counted_without_a_warning() {
    let mut sim = pool(&Numbers::default());
    let mut busy = sim.all_ready();
    sim.act(|supervisor, processes, now| supervisor.set_queue_depth(3, processes, now));
    busy.iter().for_each(|child| sim.report_status(*child, Status::Serving));
    busy = sim.all_ready();
    busy.iter().for_each(|child| sim.report_status(*child, Status::Serving));
    sim.act(|supervisor, processes, now| supervisor.set_queue_depth(5, processes, now));
    assert_eq!(sim.supervisor.counters().max_children_reached, 1);
    let warned = sim.take_effects_of(|event| match event {
        Effect::MaxChildrenReached { max_children, .. } => Some(*max_children),
        _ => None,
    });
    assert_eq!(warned, [0_u32; 0]);
}

#[test]
fn a_killed_child_is_replaced_only_if_the_pool_has_fewer_children_than_start_children() {
    let mut sim = pool(&Numbers::default());
    let first = sim.all_ready();
    first.iter().for_each(|child| sim.report_status(*child, Status::Serving));
    sim.act(|supervisor, processes, now| supervisor.set_queue_depth(1, processes, now));
    let third = sim.all_ready()[0];
    sim.act(|supervisor, processes, now| supervisor.set_queue_depth(0, processes, now));
    sim.kill(third);
    assert!(sim.processes.pending_forks.is_empty(), "the third child is not needed");
    sim.kill(first[0]);
    assert_eq!(sim.processes.pending_forks.len(), 1);
}

#[test]
fn a_request_that_cannot_be_made_counts_as_a_failed_fork_and_is_retried() {
    let numbers = Numbers::default();
    *numbers.spent.borrow_mut() = true;
    let mut sim = pool(&numbers);
    assert!(sim.processes.pending_forks.is_empty());
    let failed = sim.take_effects_of(|event| match event {
        Effect::ForkFailed(reason) => Some(reason.clone()),
        _ => None,
    });
    assert!(failed[0].starts_with("cannot make the request of a new child: "), "{failed:?}");
    let reported = numbers.failed.take();
    assert_eq!(reported, [(None, io::Error::from_raw_os_error(24).to_string())]);
    *numbers.spent.borrow_mut() = false;
    sim.wake();
    assert!(!sim.processes.pending_forks.is_empty());
}

#[test]
fn a_failed_fork_is_reported_for_the_child_whose_fork_was_requested() {
    let numbers = Numbers::default();
    let mut sim = pool(&numbers);
    let (_request, child) = numbers.ordered.borrow()[0];
    sim.fork_fails(ForkRefusal::System(11));
    let reason = ForkRefusal::System(11).to_string();
    assert_eq!(*numbers.failed.borrow(), [(Some(child), reason)]);
}

#[test]
fn a_child_killed_as_a_rogue_is_reported_with_its_violation() {
    let mut sim = pool(&Numbers::default());
    let child = sim.all_ready()[0];
    sim.report_status(child, Status::Serving);
    let pid = sim.processes.alive[&child].0;
    let reason = daemon_core::StopReason::Rogue(Violation::Time);
    sim.act(|supervisor, processes, now| supervisor.kill_child(pid, reason, processes, now))
        .unwrap();
    assert_eq!(sim.signalled(Signal::Kill), [child]);
    sim.kill(child);
    let causes = sim.take_effects_of(|event| match event {
        Effect::Event(DaemonEvent::Exited(exited)) => Some(exited.cause),
        _ => None,
    });
    assert_eq!(causes, [ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Time))]);
}

#[test]
fn a_resize_changes_max_children() {
    let mut sim = pool(&Numbers::default());
    sim.all_ready();
    let resize = |sim: &mut Simulator<String>, to| {
        sim.act(|supervisor, processes, now| supervisor.resize(Resize::To(to), processes, now))
    };
    assert_eq!(resize(&mut sim, 1).unwrap().max_children, 1);
    assert_eq!(sim.signalled(Signal::Term).len(), 1);
    let refused = resize(&mut sim, 17).unwrap_err().to_string();
    assert_eq!(refused, "cannot resize to 17: the scoreboard has 16 slots");
}
