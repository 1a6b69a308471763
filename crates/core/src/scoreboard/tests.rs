//! Tests the scoreboard with a parent and its children in one process.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::label::Label;
use crate::line::{MAX_SLOTS, SlotState};
use crate::reader::{HEADER_LINES, lines_for};
use crate::seat::{Seat, WakeParent};
use crate::status::{IllegalTransition, Transition};

mod changes;
mod damage;

/// Counts the wakeups.
#[derive(Debug, Default)]
struct WakeCounter(AtomicU32);

impl WakeCounter {
    fn wakeups(&self) -> u32 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl WakeParent for &WakeCounter {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn lines(count: usize) -> &'static [ScoreboardLine] {
    Box::leak((0..count).map(|_line| ScoreboardLine::new()).collect::<Box<[ScoreboardLine]>>())
}

fn scoreboard(slots: u32) -> Scoreboard {
    let count = lines_for(slots).expect("a valid number of slots");
    Scoreboard::format(lines(count), slots, at(0)).expect("there are enough lines")
}

fn at(secs: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_secs(1000 + secs))
}

const fn slot(number: u32) -> SlotNumber {
    SlotNumber::new(number)
}

fn counter() -> &'static WakeCounter {
    Box::leak(Box::default())
}

fn take_seat(
    scoreboard: &Scoreboard,
    number: u32,
    waker: &'static WakeCounter,
) -> Seat<&'static WakeCounter> {
    let generation = scoreboard.open_slot(slot(number), at(1)).expect("the slot is empty");
    Seat::take(scoreboard.reader(), slot(number), generation, 700 + number, at(2), waker)
        .expect("the slot was opened")
}

fn changes(scoreboard: &Scoreboard) -> Vec<u32> {
    let mut slots = Vec::new();
    scoreboard.drain_changes(|slot| slots.push(slot.get()));
    slots
}

fn text(label: &[u8]) -> Label {
    Label::Text(LabelText::cut(label))
}

fn damage(scoreboard: &Scoreboard, number: u32, word: usize, value: u64) {
    let line = scoreboard.line(slot(number)).expect("the slot exists");
    line.words[word].store(value, Ordering::Relaxed);
}

#[test]
fn the_life_of_a_child_is_recorded_in_its_slot() {
    let scoreboard = scoreboard(4);
    let board = scoreboard.reader();
    let generation = scoreboard.open_slot(slot(2), at(1)).unwrap();
    let ordered = board.read(slot(2));
    assert_eq!((ordered.status, ordered.pid), (Some(Status::Forking), 0));
    assert_eq!((ordered.generation, ordered.started_at, ordered.since), (generation, at(1), at(1)));

    let seat = Seat::take(board, slot(2), generation, 77, at(2), counter()).unwrap();
    assert_eq!((board.read(slot(2)).pid, board.read(slot(2)).started_at), (77, at(2)));
    assert_eq!(seat.report(Status::Fresh, at(3)), Ok(Transition::BecameReady));
    assert_eq!(seat.report(Status::Serving, at(4)), Ok(Transition::RequestStarted));
    assert_eq!(seat.report(Status::Long, at(5)), Ok(Transition::Reclassified));
    assert_eq!(seat.report(Status::Waiting, at(6)), Ok(Transition::RequestFinished));
    assert_eq!(seat.report(Status::Long, at(7)), Ok(Transition::RequestStarted));
    seat.set_label(b"GET /");
    assert_eq!((seat.status(), seat.requests()), (Status::Long, 2));
    assert_eq!(board.letters(), "  l ");
    assert_eq!(board.empty_slots(), 3);

    let last = scoreboard.close_slot(slot(2), at(9));
    let expected = SlotEntry {
        slot: slot(2),
        status: Some(Status::Long),
        pid: 77,
        generation,
        started_at: at(2),
        since: at(7),
        requests: 2,
        label: text(b"GET /"),
        heartbeat: None,
        deadline: None,
        fault: None,
    };
    assert_eq!(last, expected);
    let empty = board.read(slot(2));
    assert_eq!((empty.status, empty.pid, empty.requests), (Some(Status::Empty), 0, 0));
    assert_eq!(empty.label, text(b""));
    assert_eq!(scoreboard.close_slot(slot(2), at(10)), empty);
    assert_eq!(scoreboard.open_slot(slot(2), at(11)), Ok(generation.next()));
}

#[test]
fn an_illegal_transition_changes_nothing() {
    let scoreboard = scoreboard(1);
    let seat = take_seat(&scoreboard, 0, counter());
    seat.report(Status::Fresh, at(3)).unwrap();
    let _ = changes(&scoreboard);
    let before = scoreboard.read(slot(0));
    for to in [Status::Empty, Status::Forking, Status::Forked, Status::Fresh, Status::Waiting] {
        let error = IllegalTransition { from: Status::Fresh, to };
        assert_eq!(seat.report(to, at(9)), Err(error.into()));
        assert_eq!(scoreboard.read(slot(0)), before);
    }
    assert_eq!(changes(&scoreboard), []);
    let taken = IllegalTransition { from: Status::Fresh, to: Status::Forking };
    assert_eq!(scoreboard.open_slot(slot(0), at(9)), Err(taken.into()));
}

#[test]
fn a_child_cannot_write_to_a_slot_with_another_owner() {
    let scoreboard = scoreboard(1);
    let late = take_seat(&scoreboard, 0, counter());
    let _last = scoreboard.close_slot(slot(0), at(3));
    let closed = ReportError::Closed { slot: slot(0) };
    assert_eq!(late.report(Status::Fresh, at(4)), Err(closed));
    let present = take_seat(&scoreboard, 0, counter());
    present.set_label(b"mine");
    let before = scoreboard.read(slot(0));
    let error = late.report(Status::Serving, at(5)).unwrap_err();
    let (own, current) = (late.generation(), present.generation());
    assert_eq!(error, ReportError::StaleGeneration { slot: slot(0), own, current });
    assert_eq!(
        error.to_string(),
        "cannot write to slot 0: it belongs to generation 2, not to generation 1"
    );
    late.set_label(b"theirs");
    assert_eq!(changes(&scoreboard), [0], "the parent compares the line with its record");
    assert_eq!(scoreboard.read(slot(0)), before);
}

#[test]
fn a_seat_can_be_taken_only_once_and_only_with_the_generation_of_its_slot() {
    let scoreboard = scoreboard(1);
    let board = scoreboard.reader();
    let take = |generation| Seat::take(board, slot(0), generation, 1, at(1), counter()).map(drop);
    let unordered = IllegalTransition { from: Status::Empty, to: Status::Forked };
    assert_eq!(take(Generation::new(0)), Err(unordered.into()), "the slot was not opened");
    let generation = scoreboard.open_slot(slot(0), at(1)).unwrap();
    assert!(matches!(take(generation.next()), Err(ReportError::StaleGeneration { .. })));
    assert_eq!(take(generation), Ok(()));
    let twice = IllegalTransition { from: Status::Forked, to: Status::Forked };
    assert_eq!(take(generation), Err(twice.into()));
}

#[test]
fn a_torn_label_is_reported_and_repaired_when_its_slot_is_closed() {
    let scoreboard = scoreboard(1);
    let seat = take_seat(&scoreboard, 0, counter());
    seat.set_label(b"before");
    let guard = scoreboard.line(slot(0)).unwrap().words[slot_word::GUARD].load(Ordering::Relaxed);
    damage(&scoreboard, 0, slot_word::GUARD, guard + (1 << 8));
    assert_eq!(scoreboard.read(slot(0)).label, Label::BeingWritten);
    let last = scoreboard.close_slot(slot(0), at(3));
    assert_eq!((last.label, last.fault), (Label::BeingWritten, Some(SlotFault::TornLabel)));
    let next = take_seat(&scoreboard, 0, counter());
    assert_eq!(scoreboard.read(slot(0)).label, text(b""));
    next.set_label(b"after");
    assert_eq!(scoreboard.read(slot(0)).label, text(b"after"));
    assert_eq!(scoreboard.close_slot(slot(0), at(4)).fault, None);
}

#[test]
fn a_slot_that_does_not_exist_causes_no_panic() {
    let scoreboard = scoreboard(2);
    let none = slot(2);
    let entry = scoreboard.read(none);
    assert_eq!((entry.status, entry.fault), (Some(Status::Empty), Some(SlotFault::NoSuchSlot)));
    assert_eq!(scoreboard.close_slot(none, at(1)), entry);
    let error = ReportError::NoSuchSlot { slot: none };
    assert_eq!(scoreboard.open_slot(none, at(1)), Err(error));
    let taken = Seat::take(scoreboard.reader(), none, Generation::new(1), 1, at(1), counter());
    assert_eq!(taken.map(drop), Err(error));
}

#[test]
fn the_header_has_the_values_that_the_parent_wrote() {
    let scoreboard = scoreboard(5);
    let board = scoreboard.reader();
    assert_eq!((board.slots(), board.visible_slots(), board.started_at()), (5, 5, at(0)));
    for phase in Phase::ALL {
        scoreboard.set_phase(phase);
        assert_eq!(board.phase(), phase);
    }
    scoreboard.set_visible_slots(2);
    assert_eq!(board.letters(), "  ");
    let _seat = take_seat(&scoreboard, 3, counter());
    assert_eq!(board.letters(), "   f");
    scoreboard.set_visible_slots(9);
    assert_eq!(board.visible_slots(), 5);
    board.header().words[header_word::PHASE].store(300, Ordering::Relaxed);
    assert_eq!(board.phase(), Phase::Stopped);
    assert_eq!(scoreboard.phase(), Phase::Stopped, "the last phase that the parent has set");
}

#[test]
fn only_formatted_memory_can_be_opened() {
    let open = |lines| ScoreboardReader::open(lines).map(|board| board.slots());
    let memory = lines(lines_for(8).unwrap());
    assert_eq!(open(&[]), Err(ScoreboardError::TooShort { lines: 0, needed: 1 }));
    assert_eq!(open(memory), Err(ScoreboardError::Foreign { found: 0 }));
    let scoreboard = Scoreboard::format(memory, 8, at(0)).unwrap();
    let _seat = take_seat(&scoreboard, 7, counter());
    assert_eq!(ScoreboardReader::open(memory).unwrap().letters(), "       f");
    assert_eq!(open(&memory[..138]), Err(ScoreboardError::TooShort { lines: 138, needed: 139 }));
    for slots in [0, 65_537, u64::MAX] {
        memory[0].words[header_word::SLOTS].store(slots, Ordering::Relaxed);
        assert_eq!(open(memory), Err(ScoreboardError::Slots { slots }));
    }
}

#[test]
fn the_number_of_lines_depends_on_the_number_of_slots() {
    assert_eq!([1, 8, 1024, 1025].map(|slots| lines_for(slots).unwrap()), [132, 139, 1155, 1157]);
    assert_eq!(lines_for(MAX_SLOTS), Ok(65_536 + 128 + 66));
    assert_eq!(lines_for(0), Err(ScoreboardError::Slots { slots: 0 }));
    assert_eq!(lines_for(MAX_SLOTS + 1), Err(ScoreboardError::Slots { slots: 65_537 }));
    let error = Scoreboard::format(lines(3), 1, at(0)).map(drop).unwrap_err();
    assert_eq!(
        error.to_string(),
        "too small for a scoreboard: 3 lines of 128 bytes, but 132 are needed"
    );
}

#[test]
fn memory_that_contains_other_data_can_be_formatted() {
    let memory = lines(lines_for(2).unwrap());
    for word in memory.iter().flat_map(|line| &line.words) {
        word.store(u64::MAX, Ordering::Relaxed);
    }
    let scoreboard = Scoreboard::format(memory, 2, at(0)).unwrap();
    assert_eq!((scoreboard.letters().as_str(), scoreboard.empty_slots()), ("  ", 2));
    assert_eq!(changes(&scoreboard), []);
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
}

#[test]
fn a_generation_wraps_around() {
    let scoreboard = scoreboard(1);
    let record = scoreboard.record.get(slot(0)).unwrap();
    let generation = Generation::new(0x00ff_ffff);
    scoreboard.record.set(slot(0), SlotRecord { generation, ..record });
    assert_eq!(scoreboard.open_slot(slot(0), at(1)), Ok(Generation::new(0)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn memory_with_any_content_can_be_read(
        words in prop::collection::vec(any::<u64>(), 6 * 16),
        slots in 1_u64..4,
    ) {
        let memory = lines(HEADER_LINES + 6);
        fill(memory, &words);
        memory[0].words[header_word::MAGIC].store(MAGIC, Ordering::Relaxed);
        memory[0].words[header_word::SLOTS].store(slots, Ordering::Relaxed);
        let board = ScoreboardReader::open(memory).unwrap();
        prop_assert_eq!(board.entries().count() as u64, slots);
        let _ = (board.letters(), board.phase(), board.started_at(), board.empty_slots(), board.visible_slots());
    }
}

/// Overwrites the header and all lines after it with these words, repeating them.
fn fill(memory: &[ScoreboardLine], words: &[u64]) {
    let used = memory.iter().enumerate().filter(|(nth, _)| *nth == 0 || *nth >= HEADER_LINES);
    let targets = used.flat_map(|(_, line)| &line.words);
    for (word, value) in targets.zip(words.iter().cycle()) {
        word.store(*value, Ordering::Relaxed);
    }
}

#[test]
fn a_deadline_is_reset_when_the_request_ends_and_a_heartbeat_when_the_slot_is_closed() {
    let scoreboard = scoreboard(1);
    let seat = take_seat(&scoreboard, 0, counter());
    let read = || scoreboard.read(slot(0));
    assert_eq!((read().heartbeat, read().deadline), (None, None));
    seat.heartbeat(at(3));
    seat.report(Status::Serving, at(3)).expect("a legal transition");
    seat.extend_deadline(at(9));
    assert_eq!((read().heartbeat, read().deadline), (Some(at(3)), Some(at(9))));
    seat.report(Status::Long, at(4)).expect("a legal transition");
    assert_eq!(read().deadline, Some(at(9)), "the request is the same");
    seat.report(Status::Waiting, at(5)).expect("a legal transition");
    assert_eq!(read().deadline, None);
    scoreboard.close_slot(slot(0), at(6));
    assert_eq!(read().heartbeat, None);
    seat.heartbeat(at(7));
    scoreboard.open_slot(slot(0), at(8)).expect("the slot is empty");
    seat.heartbeat(at(9));
    seat.extend_deadline(at(99));
    assert_eq!((read().heartbeat, read().deadline), (None, None), "the slot has another owner");
}

#[test]
fn a_slot_keeps_the_last_four_exit_causes() {
    use crate::exit_cause::{ExitCause, RecycleReason};
    let scoreboard = scoreboard(2);
    assert_eq!(scoreboard.exit_causes(slot(0)), []);
    let causes = [
        ExitCause::Done,
        ExitCause::Retired,
        ExitCause::OutOfMemory,
        ExitCause::Exited(70),
        ExitCause::Recycled(RecycleReason::Memory),
    ];
    for cause in causes {
        scoreboard.open_slot(slot(0), at(1)).expect("the slot is empty");
        scoreboard.close_slot(slot(0), at(2));
        scoreboard.record_exit(slot(0), cause);
    }
    let last_first: Vec<ExitCause> = causes.into_iter().rev().take(4).collect();
    assert_eq!(scoreboard.exit_causes(slot(0)), last_first);
    assert_eq!(scoreboard.exit_causes(slot(1)), []);
    assert_eq!(scoreboard.exit_causes(slot(2)), [], "the slot does not exist");
}
