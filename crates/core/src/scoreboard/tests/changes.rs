//! Tests which changes are reported to the parent, and when the parent is woken.

use super::*;
use crate::label::LABEL_MAX;

#[test]
fn each_slot_that_a_child_changed_is_reported_once() {
    let scoreboard = scoreboard(3000);
    let waker = counter();
    let seats = [2999, 0, 1500].map(|number| take_seat(&scoreboard, number, waker));
    assert_eq!(changes(&scoreboard), [0, 1500, 2999]);
    for _again in 0..3 {
        seats[0].report(Status::Serving, at(3)).unwrap();
        seats[0].report(Status::Waiting, at(3)).unwrap();
    }
    seats[0].set_label(b"labels are not changes");
    assert_eq!(changes(&scoreboard), [2999]);
    let _last = scoreboard.close_slot(slot(0), at(4));
    assert_eq!(changes(&scoreboard), []);
}

#[test]
fn an_armed_wakeup_wakes_the_parent_once() {
    let scoreboard = scoreboard(2);
    let waker = counter();
    let seats = [0, 1].map(|number| take_seat(&scoreboard, number, waker));
    assert_eq!(waker.wakeups(), 0);
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::ChangesPending);
    seats[0].report(Status::Fresh, at(3)).unwrap();
    assert_eq!(waker.wakeups(), 0, "the wakeup is not armed while changes are pending");
    assert_eq!(changes(&scoreboard), [0, 1]);
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
    seats[0].report(Status::Serving, at(4)).unwrap();
    seats[1].report(Status::Fresh, at(4)).unwrap();
    assert_eq!(waker.wakeups(), 1);
    assert_eq!(changes(&scoreboard), [0, 1]);
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
    scoreboard.disarm_wakeup();
    scoreboard.disarm_wakeup();
    seats[1].report(Status::Serving, at(5)).unwrap();
    assert_eq!(waker.wakeups(), 0);
    assert_eq!(changes(&scoreboard), [1]);
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
    seats[1].report(Status::Waiting, at(6)).unwrap();
    assert_eq!(waker.wakeups(), 1);
}

#[test]
fn a_reader_in_another_thread_sees_consistent_labels_and_times() {
    let rounds = if cfg!(miri) { 30 } else { 20_000 };
    let scoreboard = scoreboard(1);
    let board = scoreboard.reader();
    let seat = take_seat(&scoreboard, 0, counter());
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut newest = at(0);
            while newest < at(rounds) {
                let entry = board.read(slot(0));
                if let Label::Text(text) = entry.label {
                    let bytes = text.as_bytes();
                    assert!(bytes.iter().all(|byte| Some(byte) == bytes.first()), "{text:?}");
                }
                assert!(entry.since >= newest, "time went backwards");
                newest = entry.since;
            }
        });
        for round in 3..=rounds {
            let to = if round % 2 == 0 { Status::Waiting } else { Status::Serving };
            seat.report(to, at(round)).unwrap();
            let letter = b'a' + u8::try_from(round % 26).unwrap();
            seat.set_label(&[letter; LABEL_MAX][..usize::try_from(round).unwrap() % LABEL_MAX]);
        }
        reader.join().unwrap();
    });
}

#[test]
fn a_sleeping_parent_misses_no_change_that_children_report_from_other_threads() {
    use std::sync::mpsc::{Sender, channel};

    struct ChannelWaker(Sender<()>);
    impl WakeParent for ChannelWaker {
        fn wake(&self) {
            // The receiver is gone if the parent has ended.
            let _ = self.0.send(());
        }
    }

    let (children, rounds) = if cfg!(miri) { (2, 10) } else { (4, 5000) };
    let scoreboard = scoreboard(children);
    let (send, wake) = channel();
    std::thread::scope(|scope| {
        for number in 0..children {
            let (board, waker) = (scoreboard.reader(), ChannelWaker(send.clone()));
            let generation = scoreboard.open_slot(slot(number), at(1)).unwrap();
            scope.spawn(move || {
                let seat = Seat::take(board, slot(number), generation, 1, at(1), waker).unwrap();
                for round in 0..rounds {
                    seat.report(Status::Serving, at(round)).unwrap();
                    seat.report(Status::Waiting, at(round)).unwrap();
                }
                seat.report(Status::Leaving, at(rounds)).unwrap();
            });
        }
        let mut leaving = 0;
        while leaving < children {
            match scoreboard.arm_wakeup() {
                ArmResult::Armed => {
                    // `recv_timeout` also returns when the wakeup of an earlier `arm_wakeup`
                    // arrives late. In that case there may be no new change.
                    wake.recv_timeout(Duration::from_secs(20)).expect("no wakeup is lost");
                }
                ArmResult::ChangesPending => {}
            }
            scoreboard.drain_changes(|slot| {
                if scoreboard.read(slot).status == Some(Status::Leaving) {
                    leaving += 1;
                    let _last = scoreboard.close_slot(slot, at(rounds));
                }
            });
        }
    });
}
