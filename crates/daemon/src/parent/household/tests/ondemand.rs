//! A pool that is sized by demand: its first children, its growth, who is replaced, what children
//! are born with.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use daemon_core::{ExitCause, KillReason, Phase, Status, Violation};
use daemon_forkserver::ChildId;
use daemon_sys::process::Signal;

use super::stage::Stage;
use crate::demand::{OnDemand, RequestFactory};
use crate::messages::Resize;
use crate::parent::household::Notice;

/// Numbers what children are born with, and notes who gets which.
#[derive(Clone, Default)]
struct Numbers {
    made: Rc<RefCell<u32>>,
    ordered: Rc<RefCell<Vec<(u32, ChildId)>>>,
    spent: Rc<RefCell<bool>>,
}

impl RequestFactory<String> for Numbers {
    fn endow(&mut self) -> io::Result<String> {
        if *self.spent.borrow() {
            return Err(io::Error::from_raw_os_error(24));
        }
        *self.made.borrow_mut() += 1;
        Ok(self.made.borrow().to_string())
    }

    fn ordered(&mut self, child: ChildId) {
        self.ordered.borrow_mut().push((*self.made.borrow(), child));
    }
}

fn pool(numbers: &Numbers) -> Stage<String> {
    let model = OnDemand::new(4, numbers.clone()).start_children(2);
    let mut stage = Stage::of(model);
    stage.settle();
    stage
}

#[test]
fn each_child_is_born_with_what_was_made_for_it() {
    let numbers = Numbers::default();
    let mut stage = pool(&numbers);
    let made: Vec<_> =
        stage.hands.orders.iter().map(|(child, made)| (made.parse().unwrap(), *child)).collect();
    assert_eq!(made, *numbers.ordered.borrow());
    assert_eq!(made.len(), 2);
    stage.all_ready();
    assert_eq!(stage.house.phase(), Phase::Running);
}

#[test]
fn work_that_waits_makes_it_grow_up_to_its_most() {
    let mut stage = pool(&Numbers::default());
    let first = stage.all_ready();
    stage.act(|house, hands, now| house.demand(2, hands, now));
    assert!(stage.hands.orders.is_empty(), "two are idle: they will take it");
    first.iter().for_each(|child| stage.does(*child, Status::Serving));
    assert_eq!(stage.hands.orders.len(), 2);
    stage.act(|house, hands, now| house.demand(100, hands, now));
    assert_eq!(stage.all_ready().len(), 2);
}

#[test]
fn that_all_are_busy_is_counted_and_is_nothing_to_warn_of() {
    let mut stage = pool(&Numbers::default());
    let mut busy = stage.all_ready();
    stage.act(|house, hands, now| house.demand(3, hands, now));
    busy.iter().for_each(|child| stage.does(*child, Status::Serving));
    busy = stage.all_ready();
    busy.iter().for_each(|child| stage.does(*child, Status::Serving));
    stage.act(|house, hands, now| house.demand(5, hands, now));
    assert_eq!(stage.house.counters().at_the_cap, 1);
    let warned = stage.told(|notice| match notice {
        Notice::AtTheCap { most, .. } => Some(*most),
        _ => None,
    });
    assert_eq!(warned, [0_u32; 0]);
}

#[test]
fn a_child_that_is_killed_is_replaced_only_if_it_is_owed() {
    let mut stage = pool(&Numbers::default());
    let first = stage.all_ready();
    first.iter().for_each(|child| stage.does(*child, Status::Serving));
    stage.act(|house, hands, now| house.demand(1, hands, now));
    let third = stage.all_ready()[0];
    stage.act(|house, hands, now| house.demand(0, hands, now));
    stage.is_killed(third);
    assert!(stage.hands.orders.is_empty(), "nobody asks for it");
    stage.is_killed(first[0]);
    assert_eq!(stage.hands.orders.len(), 1);
}

#[test]
fn what_cannot_be_made_counts_as_a_fork_that_failed_and_is_tried_again() {
    let numbers = Numbers::default();
    *numbers.spent.borrow_mut() = true;
    let mut stage = pool(&numbers);
    assert!(stage.hands.orders.is_empty());
    let failed = stage.told(|notice| match notice {
        Notice::ForkFailed(why) => Some(why.clone()),
        _ => None,
    });
    assert!(failed[0].starts_with("cannot make what a child is born with: "), "{failed:?}");
    *numbers.spent.borrow_mut() = false;
    stage.wake();
    assert!(!stage.hands.orders.is_empty());
}

#[test]
fn a_child_that_is_condemned_is_told_gone_by_its_offence() {
    let mut stage = pool(&Numbers::default());
    let child = stage.all_ready()[0];
    stage.does(child, Status::Serving);
    let pid = stage.hands.alive[&child].0;
    let why = daemon_core::StopReason::Rogue(Violation::Time);
    stage.act(|house, hands, now| house.condemn_one(pid, why, hands, now)).unwrap();
    assert_eq!(stage.signalled(Signal::Kill), [child]);
    stage.is_killed(child);
    let causes = stage.told(|notice| match notice {
        Notice::Exited(exited) => Some(exited.cause),
        _ => None,
    });
    assert_eq!(causes, [ExitCause::KilledByUs(KillReason::Rogue(Violation::Time))]);
}

#[test]
fn it_is_resized_by_its_most_children() {
    let mut stage = pool(&Numbers::default());
    stage.all_ready();
    let resize = |stage: &mut Stage<String>, to| {
        stage.act(|house, hands, now| house.resize(Resize::To(to), hands, now))
    };
    assert_eq!(resize(&mut stage, 1).unwrap().max_children, 1);
    assert_eq!(stage.signalled(Signal::Term).len(), 1);
    let refused = resize(&mut stage, 17).unwrap_err().to_string();
    assert_eq!(refused, "cannot resize to 17: the scoreboard has 16 slots");
}
