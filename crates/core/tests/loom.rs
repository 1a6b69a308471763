//! The scoreboard under every order that the memory model allows: run with
//! `RUSTFLAGS="--cfg loom" cargo test -p daemon-core --release --test loom`.

#![cfg(loom)]

use daemon_core::{
    ArmResult, Claim, LABEL_MAX, Label, LabelText, MonotonicTime, Owner, RevokeResult, Scoreboard,
    ScoreboardLine, Seat, SlotFault, SlotNumber, StartResult, Status, WakeParent, lines_for,
};
use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// A bell that counts, with no order of its own: it must not lend the scoreboard any.
#[derive(Clone)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn new() -> Counter {
        Counter(Arc::new(AtomicUsize::new(0)))
    }

    fn rung(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl WakeParent for Counter {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn at(nanos: u64) -> MonotonicTime {
    MonotonicTime::from_nanos(nanos)
}

fn slot(number: u32) -> SlotNumber {
    SlotNumber::new(number)
}

fn scoreboard(slots: u32) -> Scoreboard {
    let count = lines_for(slots).expect("a few slots");
    let lines =
        Box::leak((0..count).map(|_line| ScoreboardLine::new()).collect::<Box<[ScoreboardLine]>>());
    Scoreboard::format(lines, slots, at(0)).expect("the lines are enough")
}

fn sit(scoreboard: &Scoreboard, number: u32, waker: &Counter) -> Seat<Counter> {
    let generation = scoreboard.open_slot(slot(number), at(1)).expect("it is empty");
    Seat::take(scoreboard.reader(), slot(number), generation, 9, at(2), waker.clone())
        .expect("it was ordered")
}

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

/// Where the first of two actors runs. The model tries other orders only where it notices that two
/// accesses concern each other, and misses some if a thread has looked at a word before it writes
/// there; so both actors are tried in both places.
#[derive(Clone, Copy)]
enum Place {
    Here,
    There,
}

/// Lets the two run at the same time, and answers with what the second leaves.
fn both<T: Send + 'static>(
    place: Place,
    first: impl FnOnce() + Send + 'static,
    second: impl FnOnce() -> T + Send + 'static,
) -> T {
    match place {
        Place::Here => {
            let there = thread::spawn(second);
            first();
            there.join().expect("it does not panic")
        }
        Place::There => {
            let there = thread::spawn(first);
            let left = second();
            there.join().expect("it does not panic");
            left
        }
    }
}

fn explore_both(preemptions: usize, model: fn(Place)) {
    for place in [Place::Here, Place::There] {
        explore(preemptions, move || model(place));
    }
}

fn changes(scoreboard: &Scoreboard) -> Vec<u32> {
    let mut slots = Vec::new();
    scoreboard.drain_changes(|slot| slots.push(slot.get()));
    slots
}

#[test]
fn a_reader_never_sees_half_a_label() {
    explore_both(2, |place| {
        let scoreboard = scoreboard(1);
        let seat = sit(&scoreboard, 0, &Counter::new());
        seat.set_label(&[b'a'; LABEL_MAX]);
        let board = scoreboard.reader();
        let write = move || seat.set_label(&[b'b'; LABEL_MAX - 4]);
        let read = move || match board.read(slot(0)).label {
            Label::Text(text) => {
                let whole =
                    [LabelText::cut(&[b'a'; LABEL_MAX]), LabelText::cut(&[b'b'; LABEL_MAX - 4])];
                assert!(whole.contains(&text), "half a label: {text:?}");
            }
            Label::BeingWritten => {}
        };
        both(place, write, read);
    });
}

#[test]
fn a_new_status_is_never_seen_with_an_older_since_or_pid() {
    explore_both(3, |place| {
        let scoreboard = scoreboard(1);
        let board = scoreboard.reader();
        let generation = scoreboard.open_slot(slot(0), at(1)).expect("it is empty");
        let live = move || {
            let seat = Seat::take(board, slot(0), generation, 9, at(2), Counter::new())
                .expect("it was ordered");
            seat.report(Status::Serving, at(3)).expect("it is Forked");
        };
        let read = move || {
            let entry = board.read(slot(0));
            let (pid, since, requests) = match entry.status {
                Some(Status::Forking) => (0, at(1), 0),
                Some(Status::Forked) => (9, at(2), 0),
                Some(Status::Serving) => (9, at(3), 1),
                other => panic!("{other:?} was never written"),
            };
            assert_eq!(entry.pid, pid);
            assert!(entry.since >= since && entry.requests >= requests, "{entry:?}");
        };
        both(place, live, read);
    });
}

#[test]
fn an_entry_never_mixes_two_owners() {
    explore_both(1, |place| {
        let scoreboard = scoreboard(1);
        let seat = sit(&scoreboard, 0, &Counter::new());
        seat.report(Status::Serving, at(3)).expect("it is Forked");
        let first = seat.generation();
        let board = scoreboard.reader();
        let reopen = move || {
            let _last = scoreboard.close_slot(slot(0), at(4));
            let _next = scoreboard.open_slot(slot(0), at(5)).expect("it is empty");
        };
        let read = move || {
            let entry = board.read(slot(0));
            let rest = (entry.generation, entry.started_at, entry.since, entry.requests);
            match entry.status {
                Some(Status::Serving) => assert_eq!(rest, (first, at(2), at(3), 1)),
                Some(Status::Empty) => assert_eq!(entry.generation, first),
                Some(Status::Forking) => assert_eq!(rest, (first.next(), at(5), at(5), 0)),
                other => panic!("{other:?} was never written"),
            }
        };
        both(place, reopen, read);
    });
}

#[test]
fn no_report_is_lost_when_two_children_report_while_changes_are_taken_in() {
    explore(3, || {
        let scoreboard = scoreboard(2);
        let children = [0, 1].map(|number| {
            let seat = sit(&scoreboard, number, &Counter::new());
            thread::spawn(move || {
                seat.report(Status::Serving, at(3)).expect("it is Forked");
            })
        });
        let board = scoreboard.reader();
        let mut last_seen = [None, None];
        let mut scan = || {
            scoreboard.drain_changes(|slot| last_seen[slot.index()] = board.read(slot).status);
        };
        scan();
        scan();
        for child in children {
            child.join().expect("the child does not panic");
        }
        scan();
        assert_eq!(last_seen, [Some(Status::Serving); 2]);
    });
}

#[test]
fn no_wake_up_is_lost_between_looking_and_sleeping() {
    explore(3, || {
        let scoreboard = scoreboard(2);
        let waker = Counter::new();
        let seats = [0, 1].map(|number| sit(&scoreboard, number, &waker));
        let _known = changes(&scoreboard);
        let children = seats.map(|seat| {
            thread::spawn(move || {
                seat.report(Status::Serving, at(3)).expect("it is Forked");
            })
        });
        let armed = scoreboard.arm_wakeup();
        for child in children {
            child.join().expect("the child does not panic");
        }
        match armed {
            ArmResult::ChangesPending => {}
            ArmResult::Armed => assert!(waker.rung() > 0, "it sleeps for ever"),
        }
        let mut slots = changes(&scoreboard);
        slots.sort_unstable();
        assert_eq!(slots, [0, 1]);
    });
}

#[test]
fn a_ring_for_an_earlier_time_does_not_disarm_a_later_one() {
    explore(3, || {
        let scoreboard = scoreboard(2);
        let (early, late) = (Counter::new(), Counter::new());
        let first = sit(&scoreboard, 0, &early);
        let second = sit(&scoreboard, 1, &late);
        let _known = changes(&scoreboard);
        assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
        let children = [
            thread::spawn(move || {
                first.report(Status::Serving, at(3)).expect("it is Forked");
            }),
            thread::spawn(move || {
                second.report(Status::Serving, at(3)).expect("it is Forked");
            }),
        ];
        // Awake, by a ring or by something else: it looks, and goes to sleep again.
        let before = early.rung() + late.rung();
        let seen = changes(&scoreboard);
        let armed = scoreboard.arm_wakeup();
        for child in children {
            child.join().expect("the child does not panic");
        }
        let missed = 2 - seen.len();
        if armed == ArmResult::Armed && missed > 0 {
            assert!(early.rung() + late.rung() > before, "it sleeps for ever");
        }
    });
}

/// A writer that is killed in the middle, as far as a model can have one: it goes on, but the parent
/// closes the slot while it writes, and must tell whole from torn by what it sees.
#[test]
fn a_close_in_the_middle_of_a_label_tells_it_and_leaves_a_line_that_can_be_used() {
    explore_both(2, |place| {
        let scoreboard = scoreboard(1);
        let seat = sit(&scoreboard, 0, &Counter::new());
        let write = move || seat.set_label(&[b'b'; LABEL_MAX]);
        let close = move || {
            let last = scoreboard.close_slot(slot(0), at(3));
            match (last.label, last.fault) {
                (Label::Text(text), None) => {
                    assert!(
                        text.is_empty() || text == LabelText::cut(&[b'b'; LABEL_MAX]),
                        "half a label"
                    );
                }
                // It began or ended between the look at the label and that at the guard.
                (Label::Text(_) | Label::BeingWritten, Some(SlotFault::TornLabel))
                | (Label::BeingWritten, None) => {}
                (label, fault) => panic!("{label:?} with {fault:?}"),
            }
            scoreboard
        };
        let scoreboard = both(place, write, close);
        let next = sit(&scoreboard, 0, &Counter::new());
        next.set_label(b"next");
        assert_eq!(scoreboard.read(slot(0)).label, Label::Text(LabelText::cut(b"next")));
    });
}

#[test]
fn work_that_is_begun_and_taken_back_at_once_is_exactly_one_s() {
    for place in [Place::Here, Place::There] {
        explore(3, move || {
            let cell: &'static Claim = Box::leak(Box::new(Claim::new()));
            cell.offer(1);
            let begun = Arc::new(AtomicUsize::new(0));
            let noted = Arc::clone(&begun);
            let taken_back = both(
                place,
                move || {
                    if cell.start(1, at(5)) == StartResult::Started {
                        noted.store(1, Ordering::Relaxed);
                    }
                },
                move || cell.revoke(1),
            );
            match taken_back {
                RevokeResult::Revoked => assert_eq!(begun.load(Ordering::Relaxed), 0),
                RevokeResult::AlreadyStarted => {
                    assert_eq!(begun.load(Ordering::Relaxed), 1);
                    assert_eq!(cell.owner(1), Owner::Worker(at(5)));
                }
            }
        });
    }
}
