//! Changes and the bell: what the parent is told, and that it is told.

use super::*;
use crate::label::LABEL_MAX;

#[test]
fn changes_are_those_of_children_each_slot_once() {
    let scoreboard = scoreboard(3000);
    let waker = counter();
    let seats = [2999, 0, 1500].map(|number| sit(&scoreboard, number, waker));
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
fn a_bell_rings_once_for_each_time_that_it_was_armed() {
    let scoreboard = scoreboard(2);
    let waker = counter();
    let seats = [0, 1].map(|number| sit(&scoreboard, number, waker));
    assert_eq!(waker.rung(), 0);
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::ChangesPending);
    seats[0].report(Status::Fresh, at(3)).unwrap();
    assert_eq!(waker.rung(), 0, "it is not armed while changes wait");
    assert_eq!(changes(&scoreboard), [0, 1]);
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
    seats[0].report(Status::Serving, at(4)).unwrap();
    seats[1].report(Status::Fresh, at(4)).unwrap();
    assert_eq!(waker.rung(), 1);
    assert_eq!(changes(&scoreboard), [0, 1]);
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
    scoreboard.disarm_wakeup();
    scoreboard.disarm_wakeup();
    seats[1].report(Status::Serving, at(5)).unwrap();
    assert_eq!(waker.rung(), 0);
    assert_eq!(changes(&scoreboard), [1]);
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
    seats[1].report(Status::Waiting, at(6)).unwrap();
    assert_eq!(waker.rung(), 1);
}

#[test]
fn a_reader_in_another_thread_sees_whole_labels_and_moments_that_belong_to_the_status() {
    let rounds = if cfg!(miri) { 30 } else { 20_000 };
    let scoreboard = scoreboard(1);
    let board = scoreboard.reader();
    let seat = sit(&scoreboard, 0, counter());
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut newest = at(0);
            while newest < at(rounds) {
                let entry = board.read(slot(0));
                if let Label::Text(text) = entry.label {
                    let bytes = text.as_bytes();
                    assert!(bytes.iter().all(|byte| Some(byte) == bytes.first()), "{text:?}");
                }
                assert!(entry.since >= newest, "time runs backwards");
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
fn no_change_is_lost_between_children_in_threads_and_a_parent_that_sleeps_on_a_bell() {
    use std::sync::mpsc::{Sender, channel};

    struct Post(Sender<()>);
    impl WakeParent for Post {
        fn wake(&self) {
            // The parent has left when nobody listens.
            let _ = self.0.send(());
        }
    }

    let (children, rounds) = if cfg!(miri) { (2, 10) } else { (4, 5000) };
    let scoreboard = scoreboard(children);
    let (send, wake) = channel();
    std::thread::scope(|scope| {
        for number in 0..children {
            let (board, waker) = (scoreboard.reader(), Post(send.clone()));
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
                    // Whoever rings late may have left a ring of an earlier time.
                    wake.recv_timeout(Duration::from_secs(20)).expect("a wake-up was lost");
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
