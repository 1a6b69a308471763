//! Tests the scoreboard and [`Claim`] with loom, which explores the orders of memory accesses that
//! the memory model allows. Run with
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

/// Counts the wakeups. The counter uses relaxed atomics, so that it does not order memory accesses
/// that the scoreboard leaves unordered.
#[derive(Clone)]
struct WakeCounter(Arc<AtomicUsize>);

impl WakeCounter {
    fn new() -> WakeCounter {
        WakeCounter(Arc::new(AtomicUsize::new(0)))
    }

    fn wakeups(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl WakeParent for WakeCounter {
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
    let count = lines_for(slots).expect("a valid number of slots");
    let lines =
        Box::leak((0..count).map(|_line| ScoreboardLine::new()).collect::<Box<[ScoreboardLine]>>());
    Scoreboard::format(lines, slots, at(0)).expect("there are enough lines")
}

fn take_seat(scoreboard: &Scoreboard, number: u32, waker: &WakeCounter) -> Seat<WakeCounter> {
    let generation = scoreboard.open_slot(slot(number), at(1)).expect("the slot is empty");
    Seat::take(scoreboard.reader(), slot(number), generation, 9, at(2), waker.clone())
        .expect("the slot was opened")
}

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

/// The thread that runs the first of two closures. Loom explores other orders only where it detects
/// that two accesses conflict. It misses some conflicts if a thread has read a word before writing
/// to that word. Therefore each closure is run on each of the two threads.
#[derive(Clone, Copy)]
enum FirstThread {
    Main,
    Spawned,
}

/// Runs both closures at the same time, and returns the result of the second one.
fn both<T: Send + 'static>(
    first_thread: FirstThread,
    first: impl FnOnce() + Send + 'static,
    second: impl FnOnce() -> T + Send + 'static,
) -> T {
    match first_thread {
        FirstThread::Main => {
            let there = thread::spawn(second);
            first();
            there.join().expect("the thread does not panic")
        }
        FirstThread::Spawned => {
            let there = thread::spawn(first);
            let left = second();
            there.join().expect("the thread does not panic");
            left
        }
    }
}

fn explore_both(preemptions: usize, model: fn(FirstThread)) {
    for first_thread in [FirstThread::Main, FirstThread::Spawned] {
        explore(preemptions, move || model(first_thread));
    }
}

fn changes(scoreboard: &Scoreboard) -> Vec<u32> {
    let mut slots = Vec::new();
    scoreboard.drain_changes(|slot| slots.push(slot.get()));
    slots
}

#[test]
fn a_reader_never_sees_half_a_label() {
    explore_both(2, |first_thread| {
        let scoreboard = scoreboard(1);
        let seat = take_seat(&scoreboard, 0, &WakeCounter::new());
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
        both(first_thread, write, read);
    });
}

#[test]
fn a_new_status_is_never_seen_with_an_older_since_or_pid() {
    explore_both(3, |first_thread| {
        let scoreboard = scoreboard(1);
        let board = scoreboard.reader();
        let generation = scoreboard.open_slot(slot(0), at(1)).expect("the slot is empty");
        let live = move || {
            let seat = Seat::take(board, slot(0), generation, 9, at(2), WakeCounter::new())
                .expect("the slot was opened");
            seat.report(Status::Serving, at(3)).expect("a legal transition");
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
        both(first_thread, live, read);
    });
}

#[test]
fn an_entry_never_mixes_the_values_of_two_children() {
    explore_both(1, |first_thread| {
        let scoreboard = scoreboard(1);
        let seat = take_seat(&scoreboard, 0, &WakeCounter::new());
        seat.report(Status::Serving, at(3)).expect("a legal transition");
        let first = seat.generation();
        let board = scoreboard.reader();
        let reopen = move || {
            let _last = scoreboard.close_slot(slot(0), at(4));
            let _next = scoreboard.open_slot(slot(0), at(5)).expect("the slot is empty");
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
        both(first_thread, reopen, read);
    });
}

#[test]
fn no_report_is_lost_when_two_children_report_during_a_scan() {
    explore(3, || {
        let scoreboard = scoreboard(2);
        let children = [0, 1].map(|number| {
            let seat = take_seat(&scoreboard, number, &WakeCounter::new());
            thread::spawn(move || {
                seat.report(Status::Serving, at(3)).expect("a legal transition");
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
fn no_wakeup_is_lost_between_the_last_check_and_the_sleep_of_the_parent() {
    explore(3, || {
        let scoreboard = scoreboard(2);
        let waker = WakeCounter::new();
        let seats = [0, 1].map(|number| take_seat(&scoreboard, number, &waker));
        let _known = changes(&scoreboard);
        let children = seats.map(|seat| {
            thread::spawn(move || {
                seat.report(Status::Serving, at(3)).expect("a legal transition");
            })
        });
        let armed = scoreboard.arm_wakeup();
        for child in children {
            child.join().expect("the child does not panic");
        }
        match armed {
            ArmResult::ChangesPending => {}
            ArmResult::Armed => assert!(waker.wakeups() > 0, "the parent sleeps forever"),
        }
        let mut slots = changes(&scoreboard);
        slots.sort_unstable();
        assert_eq!(slots, [0, 1]);
    });
}

#[test]
fn a_wakeup_for_an_earlier_arming_does_not_disarm_a_later_one() {
    explore(3, || {
        let scoreboard = scoreboard(2);
        let (early, late) = (WakeCounter::new(), WakeCounter::new());
        let first = take_seat(&scoreboard, 0, &early);
        let second = take_seat(&scoreboard, 1, &late);
        let _known = changes(&scoreboard);
        assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
        let children = [
            thread::spawn(move || {
                first.report(Status::Serving, at(3)).expect("a legal transition");
            }),
            thread::spawn(move || {
                second.report(Status::Serving, at(3)).expect("a legal transition");
            }),
        ];
        // The parent may wake up for any reason. It checks for changes, and goes to sleep again.
        let before = early.wakeups() + late.wakeups();
        let seen = changes(&scoreboard);
        let armed = scoreboard.arm_wakeup();
        for child in children {
            child.join().expect("the child does not panic");
        }
        let missed = 2 - seen.len();
        if armed == ArmResult::Armed && missed > 0 {
            assert!(early.wakeups() + late.wakeups() > before, "the parent sleeps forever");
        }
    });
}

/// Models a writer that is killed while it writes. In the model, the writer continues, but the
/// parent closes the slot during the write, and must detect whether the label is torn.
#[test]
fn closing_a_slot_while_its_label_is_written_reports_a_torn_label_and_leaves_the_slot_usable() {
    explore_both(2, |first_thread| {
        let scoreboard = scoreboard(1);
        let seat = take_seat(&scoreboard, 0, &WakeCounter::new());
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
                // The write was in progress when the label, its guard word or both were read.
                (Label::Text(_) | Label::BeingWritten, Some(SlotFault::TornLabel))
                | (Label::BeingWritten, None) => {}
                (label, fault) => panic!("{label:?} with {fault:?}"),
            }
            scoreboard
        };
        let scoreboard = both(first_thread, write, close);
        let next = take_seat(&scoreboard, 0, &WakeCounter::new());
        next.set_label(b"next");
        assert_eq!(scoreboard.read(slot(0)).label, Label::Text(LabelText::cut(b"next")));
    });
}

#[test]
fn a_task_that_is_started_and_revoked_at_the_same_time_is_not_both_started_and_revoked() {
    for first_thread in [FirstThread::Main, FirstThread::Spawned] {
        explore(3, move || {
            let cell: &'static Claim = Box::leak(Box::new(Claim::new()));
            cell.offer(1);
            let begun = Arc::new(AtomicUsize::new(0));
            let noted = Arc::clone(&begun);
            let taken_back = both(
                first_thread,
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
