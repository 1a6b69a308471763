//! Tests the state of a child on a real scoreboard: the action after each update, for children of a
//! pool and for children that serve one request.

use std::rc::Rc;
use std::time::Duration;

use daemon_core::{Jitter, RequestLimit, Scoreboard, ScoreboardLine, lines_for};
use daemon_sys::title::Title;
use proptest::prelude::*;

use super::*;

#[derive(Debug)]
struct NoWakeup;

impl WakeParent for NoWakeup {
    fn wake(&self) {}
}

fn now() -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_secs(1000))
}

fn scoreboard() -> Scoreboard {
    let lines = lines_for(1).unwrap();
    let lines =
        Box::leak((0..lines).map(|_line| ScoreboardLine::new()).collect::<Box<[ScoreboardLine]>>());
    Scoreboard::format(lines, 1, now()).unwrap()
}

fn state(kind: ChildKind, requests: u32) -> ChildState<NoWakeup> {
    state_on(&scoreboard(), kind, requests)
}

fn state_on(scoreboard: &Scoreboard, kind: ChildKind, requests: u32) -> ChildState<NoWakeup> {
    let slot = SlotNumber::new(0);
    let generation = scoreboard.open_slot(slot, now()).unwrap();
    let seat = Seat::take(scoreboard.reader(), slot, generation, 7, now(), NoWakeup).unwrap();
    let quota = Quota::new(RequestLimit::new(requests), Jitter::NONE, 0);
    let title = ProcessTitle::new(Rc::new(Title::claim()), "test");
    ChildState::new(seat, kind, quota, title)
}

/// Sends these updates. Returns the action after each update, and the letter that the scoreboard
/// then shows.
fn send(state: &mut ChildState<NoWakeup>, updates: &[UpdateStatus]) -> Vec<(NextAction, char)> {
    updates
        .iter()
        .map(|update| {
            let next = state.update(*update, now()).unwrap();
            (next, state.status().letter())
        })
        .collect()
}

use UpdateStatus::{Done, Long, Req, Wait};

#[test]
fn a_child_of_a_pool_alternates_between_waiting_and_serving() {
    let mut state = state(ChildKind::Pool, 0);
    assert_eq!(
        send(&mut state, &[Wait, Req, Done, Long, Req, Wait]),
        [
            (NextAction::Accept, '.'),
            (NextAction::Continue, 'r'),
            (NextAction::Accept, 'w'),
            (NextAction::Continue, 'l'),
            (NextAction::Continue, 'r'),
            (NextAction::Accept, 'w'),
        ]
    );
    assert_eq!(state.board().read(state.slot()).requests, 2);
}

#[test]
fn a_request_that_is_reported_twice_is_counted_once() {
    let mut state = state(ChildKind::Pool, 2);
    send(&mut state, &[Wait, Req, Req, Long, Long, Done]);
    assert_eq!(state.board().read(state.slot()).requests, 1);
    assert_eq!(state.leaving(), None);
}

#[test]
fn a_child_leaves_after_the_last_request_of_its_quota() {
    let mut state = state(ChildKind::Pool, 2);
    let recycled = ShutdownReason::Recycled;
    assert_eq!(
        send(&mut state, &[Wait, Req, Done, Req]).last(),
        Some(&(NextAction::Continue, 'r'))
    );
    assert_eq!(state.leaving(), Some(recycled));
    assert_eq!(send(&mut state, &[Done]), [(NextAction::Leave(recycled), 'w')]);
    state.report_leaving(now());
    assert_eq!(state.status(), Status::Leaving);
}

#[test]
fn a_child_whose_quota_is_used_up_accepts_requests_when_the_daemon_stops() {
    let scoreboard = scoreboard();
    let mut state = state_on(&scoreboard, ChildKind::Pool, 1);
    send(&mut state, &[Wait, Req]);
    scoreboard.set_phase(Phase::Stopping);
    assert_eq!(
        send(&mut state, &[Done, Req, Done]),
        [(NextAction::Accept, 'w'), (NextAction::Continue, 'r'), (NextAction::Accept, 'w')]
    );
}

#[test]
fn a_child_for_one_request_leaves_when_the_request_is_done() {
    let done = NextAction::Leave(ShutdownReason::Done);
    for updates in [&[Req, Done][..], &[Req, Long, Done], &[Long, Wait], &[Done]] {
        let mut state = state(ChildKind::OneRequest, 0);
        assert_eq!(send(&mut state, updates).last(), Some(&(done, 'e')));
    }
}

#[test]
fn a_retired_child_accepts_requests_again_only_when_the_daemon_stops() {
    let mut state = state(ChildKind::Pool, 0);
    send(&mut state, &[Wait, Req]);
    state.leave(ShutdownReason::Retired);
    let retired = NextAction::Leave(ShutdownReason::Retired);
    assert_eq!(send(&mut state, &[Done]), [(retired, 'w')]);
    state.leave(ShutdownReason::Stopping);
    assert_eq!(state.leaving(), Some(ShutdownReason::Stopping));
    assert_eq!(send(&mut state, &[Req, Done]).last(), Some(&(NextAction::Accept, 'w')));
}

#[test]
fn the_first_reason_to_leave_stays_except_that_stopping_replaces_retired_and_recycled() {
    use ShutdownReason::{Recycled, Retired, Stopping, StoppingNow};
    for (first, then, stays) in [
        (Stopping, Retired, Stopping),
        (Recycled, Retired, Recycled),
        (Retired, Recycled, Retired),
        (Retired, Stopping, Stopping),
        (Recycled, Stopping, Stopping),
        (StoppingNow, Stopping, StoppingNow),
    ] {
        let mut state = state(ChildKind::Pool, 0);
        assert_eq!(state.leave(first), NextAction::Leave(first));
        assert_eq!(state.leave(then), NextAction::Leave(stays), "{first:?}, {then:?}");
    }
}

#[test]
fn an_invalid_update_is_refused_and_changes_nothing() {
    let mut state = state(ChildKind::Pool, 0);
    send(&mut state, &[Wait]);
    state.report_leaving(now());
    let refused = state.update(Req, now()).unwrap_err();
    assert_eq!(refused.to_string(), "cannot change the status of a child from leaving to serving");
    assert_eq!(state.status(), Status::Leaving);
    assert_eq!(state.board().read(state.slot()).requests, 0);
}

#[test]
fn the_process_title_shows_name_slot_status_and_label() {
    let mut state = state(ChildKind::Pool, 0);
    assert_eq!(state.title.text(), "test: child 0 [f]");
    send(&mut state, &[Wait, Req]);
    state.label("GET /");
    assert_eq!(state.title.text(), "test: child 0 [r] GET /");
    send(&mut state, &[Done]);
    assert_eq!(state.title.text(), "test: child 0 [w] GET /");
    state.label("");
    assert_eq!(state.title.text(), "test: child 0 [w]");
}

#[test]
fn numbers_are_written_in_decimal() {
    for number in [0, 7, 10, 99, 100, 1_000_001, u32::MAX] {
        let mut text = String::new();
        push_number(&mut text, number);
        assert_eq!(text, number.to_string());
    }
}

/// What happens in a child that serves connections one after the other.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The acceptor reports that a request starts, or that it ends.
    Acceptor,
    /// The program's code says something, during a request or between two of them.
    Program(UpdateStatus),
    Label,
}

fn any_step() -> impl Strategy<Value = Step> {
    let update = prop_oneof![
        Just(Wait),
        Just(Req),
        Just(Long),
        Just(Done),
        any::<u64>().prop_map(|seconds| UpdateStatus::Extend(Duration::from_secs(seconds))),
    ];
    prop_oneof![
        2 => Just(Step::Acceptor),
        3 => update.prop_map(Step::Program),
        1 => Just(Step::Label),
    ]
}

proptest! {
    /// The status is true after each step: busy during a request, idle between two of them. Each
    /// request is counted once, and the child accepts the next one.
    #[test]
    fn nothing_that_a_handler_says_makes_the_scoreboard_untrue(
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        let mut state = state(ChildKind::Pool, 0);
        state.take_over_requests();
        prop_assert_eq!(state.update(Wait, now()).unwrap(), NextAction::Accept);
        let (mut is_serving, mut requests) = (false, 0);
        for step in steps {
            match step {
                Step::Acceptor if is_serving => {
                    is_serving = false;
                    prop_assert_eq!(state.update(Done, now()).unwrap(), NextAction::Accept);
                }
                Step::Acceptor => {
                    is_serving = true;
                    requests += 1;
                    prop_assert_eq!(state.update(Req, now()).unwrap(), NextAction::Continue);
                }
                Step::Program(update) => {
                    let said = state.update_by_program(update, now());
                    let expected = match update {
                        Wait | Done => Err(StatusError::NotYours { update: update.word() }),
                        Req | Long if !is_serving => {
                            Err(StatusError::NoRequest { update: update.word() })
                        }
                        Req | Long | UpdateStatus::Extend(_) => Ok(NextAction::Continue),
                    };
                    prop_assert_eq!(said, expected);
                }
                Step::Label => state.label("a label"),
            }
            let shown = state.board().read(state.slot());
            prop_assert_eq!(shown.status, Some(state.status()));
            prop_assert_eq!(state.status().is_busy(), is_serving);
            prop_assert_eq!(state.status().is_idle(), !is_serving);
            prop_assert_eq!(shown.requests, requests);
            prop_assert_eq!(state.leaving(), None);
        }
    }

    #[test]
    fn nothing_that_a_handler_says_ends_a_post_forked_child_before_its_request_is_done(
        updates in prop::collection::vec(any_step(), 0..20),
    ) {
        let mut state = state(ChildKind::OneRequest, 0);
        state.update(Req, now()).unwrap();
        state.take_over_requests();
        for step in updates {
            if let Step::Program(update) = step {
                let _ = state.update_by_program(update, now());
            }
            prop_assert!(state.status().is_busy());
            prop_assert_eq!(state.leaving(), None);
        }
        let done = NextAction::Leave(ShutdownReason::Done);
        prop_assert_eq!(state.update(Done, now()).unwrap(), done);
    }
}
