//! A desk on a real scoreboard: what each update leads to, in both callings.

use std::rc::Rc;
use std::time::Duration;

use daemon_core::{Jitter, Line, RequestLimit, Scoreboard, lines_for};
use daemon_sys::title::Title;

use super::*;

#[derive(Debug)]
struct Silent;

impl WakeParent for Silent {
    fn wake(&self) {}
}

fn now() -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_secs(1000))
}

fn desk(calling: ChildKind, requests: u32) -> Desk<Silent> {
    let lines = lines_for(1).unwrap();
    let lines = Box::leak((0..lines).map(|_line| Line::new()).collect::<Box<[Line]>>());
    let scoreboard = Scoreboard::format(lines, 1, now()).unwrap();
    let slot = SlotNumber::new(0);
    let generation = scoreboard.order(slot, now()).unwrap();
    let seat = Seat::take(scoreboard.board(), slot, generation, 7, now(), Silent).unwrap();
    let quota = Quota::deal(RequestLimit::of(requests), Jitter::NONE, 0);
    let sign = Sign::new(Rc::new(Title::claim()), "test");
    Desk::new(seat, calling, quota, sign)
}

/// Sends these updates; answers what each led to, with the letter that the board then shows.
fn story(desk: &mut Desk<Silent>, updates: &[UpdateStatus]) -> Vec<(Next, char)> {
    updates
        .iter()
        .map(|update| {
            let next = desk.update(*update, now()).unwrap();
            (next, desk.status().letter())
        })
        .collect()
}

use UpdateStatus::{Done, Long, Req, Wait};

#[test]
fn a_pool_s_child_waits_and_serves_in_turn() {
    let mut desk = desk(ChildKind::Pool, 0);
    assert_eq!(
        story(&mut desk, &[Wait, Req, Done, Long, Req, Wait]),
        [
            (Next::Accept, '.'),
            (Next::GoOn, 'r'),
            (Next::Accept, 'w'),
            (Next::GoOn, 'l'),
            (Next::GoOn, 'r'),
            (Next::Accept, 'w'),
        ]
    );
    assert_eq!(desk.board().read(desk.slot()).requests, 2);
}

#[test]
fn a_request_said_twice_is_one() {
    let mut desk = desk(ChildKind::Pool, 2);
    story(&mut desk, &[Wait, Req, Req, Long, Long, Done]);
    assert_eq!(desk.board().read(desk.slot()).requests, 1);
    assert_eq!(desk.leaving(), None);
}

#[test]
fn the_last_request_of_its_share_is_finished_and_then_it_goes() {
    let mut desk = desk(ChildKind::Pool, 2);
    let recycled = ShutdownReason::Recycled;
    assert_eq!(story(&mut desk, &[Wait, Req, Done, Req]).last(), Some(&(Next::GoOn, 'r')));
    assert_eq!(desk.leaving(), Some(recycled));
    assert_eq!(story(&mut desk, &[Done]), [(Next::Leave(recycled), 'w')]);
    desk.gone(now());
    assert_eq!(desk.status(), Status::Leaving);
}

#[test]
fn a_child_of_one_request_leaves_when_it_is_done() {
    let done = Next::Leave(ShutdownReason::Done);
    for updates in [&[Req, Done][..], &[Req, Long, Done], &[Long, Wait], &[Done]] {
        let mut desk = desk(ChildKind::OneRequest, 0);
        assert_eq!(story(&mut desk, updates).last(), Some(&(done, 'e')));
    }
}

#[test]
fn a_retired_child_takes_no_more_and_one_of_a_daemon_that_stops_takes_what_waits() {
    let mut desk = desk(ChildKind::Pool, 0);
    story(&mut desk, &[Wait, Req]);
    desk.leave(ShutdownReason::Retired);
    let retired = Next::Leave(ShutdownReason::Retired);
    assert_eq!(story(&mut desk, &[Done]), [(retired, 'w')]);
    desk.leave(ShutdownReason::Stopping);
    assert_eq!(desk.leaving(), Some(ShutdownReason::Stopping));
    assert_eq!(story(&mut desk, &[Req, Done]).last(), Some(&(Next::Accept, 'w')));
}

#[test]
fn the_first_reason_to_go_stays_but_for_the_daemon_s_end() {
    use ShutdownReason::{Recycled, Retired, Stopping, StoppingNow};
    for (first, then, stays) in [
        (Stopping, Retired, Stopping),
        (Recycled, Retired, Recycled),
        (Retired, Recycled, Retired),
        (Retired, Stopping, Stopping),
        (StoppingNow, Stopping, StoppingNow),
    ] {
        let mut desk = desk(ChildKind::Pool, 0);
        assert_eq!(desk.leave(first), Next::Leave(first));
        assert_eq!(desk.leave(then), Next::Leave(stays), "{first:?}, {then:?}");
    }
}

#[test]
fn an_illegal_update_is_refused_and_changes_nothing() {
    let mut desk = desk(ChildKind::Pool, 0);
    story(&mut desk, &[Wait]);
    desk.gone(now());
    let refused = desk.update(Req, now()).unwrap_err();
    assert_eq!(refused.to_string(), "a child that is Leaving (e) cannot become Serving (r)");
    assert_eq!(desk.status(), Status::Leaving);
    assert_eq!(desk.board().read(desk.slot()).requests, 0);
}

#[test]
fn the_sign_shows_name_slot_status_and_label() {
    let mut desk = desk(ChildKind::Pool, 0);
    assert_eq!(desk.sign.text(), "test: child 0 [f]");
    story(&mut desk, &[Wait, Req]);
    desk.label("GET /");
    assert_eq!(desk.sign.text(), "test: child 0 [r] GET /");
    story(&mut desk, &[Done]);
    assert_eq!(desk.sign.text(), "test: child 0 [w] GET /");
    desk.label("");
    assert_eq!(desk.sign.text(), "test: child 0 [w]");
}
