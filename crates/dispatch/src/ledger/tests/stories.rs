//! Stories that are to go so, and not otherwise.

use daemon_core::StopMode;

use super::super::*;
use super::stage::{Answered, SLOTS, Stage};
use crate::answer::{LimitKind, RequestState};

fn ids(keys: &[Key]) -> Vec<RequestId> {
    keys.iter().map(|key| key.id).collect()
}

fn failure(stage: &Stage, key: Key) -> &Failure {
    match &stage.answers[&key.id] {
        Answered::Failure(failure) => failure,
        Answered::Value => panic!("it has a value"),
    }
}

/// A method that is known to be short, so that it is sent ahead.
fn warm(stage: &mut Stage) {
    stage.admit(Stage::order());
    stage.begin(0);
    stage.end(0);
}

#[test]
fn what_comes_first_is_begun_first_and_who_has_waited_longest_gets_it() {
    let mut stage = Stage::new(100);
    (0..3).for_each(|slot| stage.join(slot));
    let keys: Vec<Key> = (0..3).map(|_request| stage.admit(Stage::order())).collect();
    for (slot, key) in keys.iter().enumerate() {
        assert_eq!(stage.begin(slot), Some(key.id));
    }
    stage.end(1);
    stage.end(0);
    let next = [stage.admit(Stage::order()), stage.admit(Stage::order())];
    assert_eq!([stage.begin(1), stage.begin(0)].map(Option::unwrap).to_vec(), ids(&next));
}

#[test]
fn nothing_is_sent_ahead_of_which_nobody_knows_how_long_it_takes() {
    let mut stage = Stage::new(100);
    stage.join(0);
    for _request in 0..10 {
        stage.admit(Stage::order());
    }
    assert_eq!(stage.ledger.tally().in_flight, 1);
    stage.begin(0);
    stage.later(Duration::from_millis(5));
    stage.end(0);
    assert_eq!(stage.ledger.tally().in_flight, 1, "it takes long");
}

#[test]
fn what_is_short_is_sent_ahead_and_taken_back_from_behind_a_long_one() {
    let mut stage = Stage::new(1000);
    stage.join(0);
    warm(&mut stage);
    for _request in 0..40 {
        stage.admit(Stage::order());
    }
    stage.begin(0);
    stage.end(0);
    let ahead = stage.ledger.tally().in_flight;
    assert!(ahead > 10, "{ahead} are sent ahead");
    stage.begin(0);
    stage.later(STALL);
    assert_eq!(stage.ledger.tally().in_flight, 1);
    stage.join(1);
    assert!(stage.begin(1).is_some());
    assert_eq!(stage.ledger.tally().reclaimed, ahead as u64 - 1);
}

#[test]
fn who_is_idle_gets_what_was_sent_ahead_to_another() {
    let mut stage = Stage::new(1000);
    stage.join(0);
    warm(&mut stage);
    let keys: Vec<Key> = (0..3).map(|_request| stage.admit(Stage::order())).collect();
    stage.begin(0);
    stage.end(0);
    stage.join(1);
    assert_eq!(stage.begin(0), Some(keys[1].id));
    assert_eq!(stage.begin(1), Some(keys[2].id));
}

#[test]
fn a_worker_s_death_costs_what_it_had_begun_and_nothing_else() {
    let mut stage = Stage::new(1000);
    stage.join(0);
    warm(&mut stage);
    let keys: Vec<Key> = (0..20).map(|_request| stage.admit(Stage::order())).collect();
    stage.begin(0);
    stage.end(0);
    assert_eq!(stage.begin(0), Some(keys[1].id));
    stage.dies(0);
    assert!(matches!(failure(&stage, keys[1]), Failure::WorkerLost { .. }));
    assert_eq!(stage.answers.len(), 3);
    stage.join(1);
    let mut order = Vec::new();
    while let Some(id) = stage.begin(1) {
        order.push(id);
        stage.end(1);
    }
    assert_eq!(order, ids(&keys[2..]), "they stand where they stood");
}

#[test]
fn a_task_that_kills_its_workers_is_tried_as_often_as_it_may_and_put_aside() {
    let mut stage = Stage::new(100);
    let poison = stage.admit(Order { attempts: 3, ..Stage::order() });
    let other = stage.admit(Stage::order());
    for _attempt in 0..3 {
        stage.join(0);
        assert_eq!(stage.begin(0), Some(poison.id));
        stage.dies(0);
    }
    assert!(matches!(failure(&stage, poison), Failure::DeadLettered { attempts: 3, .. }));
    stage.join(0);
    assert_eq!(stage.begin(0), Some(other.id));
    assert_eq!(stage.ledger.tally().retried, 2);
}

#[test]
fn a_hard_limit_kills_the_worker_and_answers_at_once() {
    let mut stage = Stage::new(100);
    let limit = DEAF / 10;
    let key = stage.admit(Order { hard: Some(limit), ..Stage::order() });
    stage.join(0);
    assert!(stage.ledger.wake().is_some());
    stage.later(DEAF / 2);
    assert!(stage.answers.is_empty(), "its time runs from when it is begun");
    stage.begin(0);
    let due = stage.ledger.next_due(stage.now).unwrap();
    assert_eq!(due, stage.now + limit);
    stage.later(limit);
    assert!(matches!(failure(&stage, key), Failure::TimedOut { kind: LimitKind::Hard, .. }));
    assert_eq!(stage.killed.len(), 1);
    assert_eq!(stage.ledger.stage_of(0), Some(workers::Stage::Condemned));
    assert!(stage.end(0).is_none(), "what it has to say is heard no more");
    let next = stage.admit(Stage::order());
    stage.dies(0);
    stage.join(0);
    assert_eq!(stage.begin(0), Some(next.id));
}

#[test]
fn the_limit_of_what_was_sent_ahead_is_looked_at_in_time() {
    let mut stage = Stage::new(100);
    stage.join(0);
    warm(&mut stage);
    let hard = Some(STALL / 2);
    let keys = [None, None, hard].map(|hard| stage.admit(Order { hard, ..Stage::order() }));
    for _before in 0..2 {
        stage.begin(0);
        stage.end(0);
    }
    assert_eq!(stage.begin(0), Some(keys[2].id));
    assert_eq!(stage.ledger.wake(), Some(stage.now + STALL / 2));
    stage.later(STALL / 2);
    assert!(matches!(failure(&stage, keys[2]), Failure::TimedOut { kind: LimitKind::Hard, .. }));
}

#[test]
fn a_task_is_cancelled_in_each_state() {
    let mut stage = Stage::new(100);
    let queued = stage.admit(Stage::order());
    assert_eq!(stage.cancel(queued, None), CancelOutcome::Dequeued);
    assert_eq!(failure(&stage, queued), &Failure::Cancelled { state: RequestState::Queued });
    assert_eq!(stage.cancel(queued, None), CancelOutcome::Unknown);
    stage.join(0);
    let sent = stage.admit(Stage::order());
    assert_eq!(stage.cancel(sent, None), CancelOutcome::Dequeued);
    assert_eq!(stage.begin(0), None, "it finds that it was taken back");
    let running = stage.admit(Stage::order());
    stage.begin(0);
    assert_eq!(stage.cancel(running, None), CancelOutcome::StillRunning);
    stage.end(0);
    assert_eq!(stage.answers[&running.id], Answered::Value);
    let ended = stage.admit(Stage::order());
    stage.begin(0);
    assert_eq!(stage.cancel(ended, Some(IfRunning::Terminate)), CancelOutcome::Terminated);
    assert_eq!(failure(&stage, ended), &Failure::Cancelled { state: RequestState::Running });
    assert_eq!(stage.killed.len(), 1);
}

#[test]
fn an_answer_that_comes_late_goes_to_nobody() {
    let mut stage = Stage::new(100);
    stage.join(0);
    let first = stage.admit(Order { attempts: 2, ..Stage::order() });
    stage.begin(0);
    let late = stage.workers[0].as_ref().unwrap().doing.unwrap();
    stage.dies(0);
    stage.join(0);
    stage.begin(0);
    stage.tell(0, late);
    assert!(stage.answers.is_empty());
    assert_eq!(stage.ledger.tally().late, 1);
    stage.end(0);
    assert_eq!(stage.answers[&first.id], Answered::Value);
}

#[test]
fn a_lane_with_a_most_is_strictly_one_after_the_other() {
    let mut stage = Stage::new(100);
    (0..SLOTS).for_each(|slot| stage.join(slot));
    let books = Order { lane: stage.lane("books"), ..Stage::order() };
    let keys: Vec<Key> = (0..3).map(|_request| stage.admit(books)).collect();
    for key in keys {
        let slots: Vec<usize> = (0..SLOTS).filter(|slot| stage.begin(*slot).is_some()).collect();
        assert_eq!(slots.len(), 1);
        assert_eq!(stage.begun.last(), Some(&key.id));
        stage.end(slots[0]);
    }
}

#[test]
fn while_it_is_held_nothing_is_sent_and_what_was_sent_waits() {
    let mut stage = Stage::new(100);
    stage.join(0);
    let first = stage.admit(Stage::order());
    stage.hold(OperatorPause::On);
    let second = stage.admit(Stage::order());
    assert_eq!(stage.begin(0), None);
    assert_eq!(stage.ledger.waiting(), 0, "nobody is to be forked for it");
    stage.hold(OperatorPause::Off);
    assert_eq!(stage.begin(0), Some(first.id));
    stage.end(0);
    assert_eq!(stage.begin(0), Some(second.id));
}

#[test]
fn an_orderly_end_does_what_was_taken_and_a_hurried_one_refuses_it() {
    let mut stage = Stage::new(100);
    stage.join(0);
    let [running, waiting] = [(); 2].map(|()| stage.admit(Stage::order()));
    stage.begin(0);
    stage.stop(StopMode::Graceful);
    assert!(!stage.ledger.is_open());
    stage.end(0);
    assert_eq!(stage.begin(0), Some(waiting.id));
    assert_eq!(stage.answers[&running.id], Answered::Value);
    stage.stop(StopMode::Immediate);
    stage.dies(0);
    assert!(matches!(failure(&stage, waiting), Failure::WorkerLost { .. }));
    assert!(stage.ledger.is_empty());
}

#[test]
fn a_worker_that_leaves_is_given_nothing_more() {
    let mut stage = Stage::new(100);
    stage.join(0);
    stage.join(1);
    stage.leaves(0);
    let key = stage.admit(Stage::order());
    assert_eq!(stage.begin(1), Some(key.id));
}

#[test]
fn a_task_keeps_its_claim_however_many_are_sent_behind_it_and_taken_back() {
    let mut stage = Stage::new(1000);
    stage.join(0);
    warm(&mut stage);
    let keys: Vec<Key> = (0..40).map(|_request| stage.admit(Stage::order())).collect();
    assert_eq!(stage.begin(0), Some(keys[0].id));
    stage.end(0);
    assert_eq!(stage.begin(0), Some(keys[1].id));
    for _time in 0..20 {
        // Sent ahead and taken back, again and again: turns go by.
        stage.hold(OperatorPause::On);
        stage.ledger.workers.note_answer(0);
        stage.hold(OperatorPause::Off);
    }
    assert!(stage.ledger.tally().reclaimed > 2 * IN_HAND_MAX as u64);
    assert!(stage.end(0).is_some(), "nobody has condemned it");
    assert_eq!(stage.answers[&keys[1].id], Answered::Value);
}

#[test]
fn what_a_worker_does_not_begin_is_given_to_one_that_is_idle() {
    let mut stage = Stage::new(100);
    stage.join(0);
    let key = stage.admit(Stage::order());
    stage.join(1);
    stage.later(DEAF - Duration::from_millis(1));
    assert_eq!(stage.begin(1), None, "it may still begin");
    stage.later(Duration::from_millis(1));
    assert_eq!(stage.begin(1), Some(key.id));
    assert_eq!(stage.begin(0), None, "it is another's now");
    stage.end(1);
    assert_eq!(stage.answers[&key.id], Answered::Value);
    assert!(stage.killed.is_empty());
    // It has waited longer, but nobody has heard of it.
    let next = stage.admit(Stage::order());
    assert_eq!(stage.begin(1), Some(next.id));
    let last = stage.admit(Stage::order());
    assert_eq!(stage.begin(0), Some(last.id), "nobody else is idle");
    stage.end(0);
    stage.end(1);
    let next = stage.admit(Stage::order());
    assert_eq!(stage.begin(0), Some(next.id), "it has answered");
}

#[test]
fn what_a_worker_does_not_begin_comes_before_what_has_come_later() {
    let mut stage = Stage::new(100);
    stage.join(0);
    let first = stage.admit(Stage::order());
    stage.join(1);
    let second = stage.admit(Stage::order());
    assert_eq!(stage.begin(1), Some(second.id));
    stage.later(DEAF);
    let third = stage.admit(Stage::order());
    stage.end(1);
    assert_eq!(stage.begin(1), Some(first.id));
    stage.end(1);
    assert_eq!(stage.begin(1), Some(third.id));
    stage.end(1);
    assert_eq!(stage.answers.len(), 3);
}

#[test]
fn a_worker_that_begins_nothing_is_given_up_for_a_task_with_a_hard_limit_which_is_done_by_another()
{
    let hard = DEAF * 2;
    let mut stage = Stage::new(100);
    stage.join(0);
    let limited = stage.admit(Order { hard: Some(hard), ..Stage::order() });
    stage.later(DEAF);
    assert!(stage.killed.is_empty(), "nobody else is there, and there is time left");
    stage.later(DEAF);
    assert_eq!(stage.killed.len(), 1);
    assert!(stage.answers.is_empty(), "it has not had its time");
    stage.dies(0);
    stage.join(0);
    assert_eq!(stage.begin(0), Some(limited.id));
    stage.end(0);
    assert_eq!(stage.answers[&limited.id], Answered::Value);
}

#[test]
fn a_worker_that_begins_just_as_it_is_given_up_goes_on() {
    let mut stage = Stage::new(100);
    stage.join(0);
    let limited = stage.admit(Order { hard: Some(DEAF), ..Stage::order() });
    stage.now = stage.now + DEAF;
    stage.begin(0);
    stage.later(Duration::ZERO);
    assert!(stage.killed.is_empty());
    stage.end(0);
    assert_eq!(stage.answers[&limited.id], Answered::Value);
}
