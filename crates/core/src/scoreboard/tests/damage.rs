//! Tests what the parent and a child do when other code writes to the scoreboard.

use super::*;
use crate::exit_cause::ExitCause;

fn state(scoreboard: &Scoreboard, number: u32) -> SlotState {
    let line = scoreboard.line(slot(number)).expect("the slot exists");
    SlotState::unpack(line.words[slot_word::STATE].load(Ordering::Relaxed))
}

fn damage_state(scoreboard: &Scoreboard, number: u32, change: impl Fn(SlotState) -> SlotState) {
    let damaged = change(state(scoreboard, number));
    damage(scoreboard, number, slot_word::STATE, damaged.pack());
}

#[test]
fn a_damaged_line_is_shown_reported_and_repaired() {
    let scoreboard = scoreboard(3);
    let seat = take_seat(&scoreboard, 0, counter());
    scoreboard.set_pid(slot(0), 700);
    seat.report(Status::Waiting, at(2)).expect_err("forked cannot become waiting");
    seat.report(Status::Serving, at(3)).unwrap();
    let whole = scoreboard.observe_slot(slot(0), at(4));
    assert_eq!(scoreboard.take_faults(), FaultCount::default());
    type Change = fn(SlotState) -> SlotState;
    let own = seat.generation();
    let changes: [(Change, SlotFault); 4] = [
        (|state| SlotState { code: 0x99, ..state }, SlotFault::InvalidStatus(0x99)),
        (
            |state| SlotState { generation: Generation::new(77), ..state },
            SlotFault::WrongGeneration { own, found: Generation::new(77) },
        ),
        (|state| SlotState { pid: 1, ..state }, SlotFault::WrongPid { found: 1 }),
        (
            |state| state.with(Status::Empty),
            SlotFault::ImpossibleStatus { status: Status::Empty, last: Status::Serving },
        ),
    ];
    for (change, fault) in changes {
        damage_state(&scoreboard, 0, change);
        assert_eq!(scoreboard.letters(), "?  ");
        assert_eq!(scoreboard.empty_slots(), 2);
        let entry = scoreboard.observe_slot(slot(0), at(5));
        assert_eq!(entry, SlotEntry { fault: Some(fault), ..whole });
        assert_eq!(scoreboard.take_faults().last, Some((slot(0), fault)));
        assert_eq!(scoreboard.letters(), "r  ");
        assert_eq!(scoreboard.observe_slot(slot(0), at(6)), whole);
    }
    damage(&scoreboard, 0, slot_word::REQUESTS, u64::MAX);
    let fault = SlotFault::ImpossibleRequests(u64::MAX);
    assert_eq!(scoreboard.observe_slot(slot(0), at(7)).fault, Some(fault));
    assert_eq!(scoreboard.observe_slot(slot(0), at(7)), whole);
}

#[test]
fn a_plausible_wrong_number_of_requests_is_corrected_by_the_next_report() {
    for wrong in [65_536, 0] {
        let scoreboard = scoreboard(1);
        let seat = take_seat(&scoreboard, 0, counter());
        seat.report(Status::Serving, at(3)).unwrap();
        assert_eq!(scoreboard.observe_slot(slot(0), at(4)).requests, 1);
        damage(&scoreboard, 0, slot_word::REQUESTS, wrong);
        assert_eq!(scoreboard.observe_slot(slot(0), at(5)).requests, wrong);
        seat.report(Status::Waiting, at(6)).unwrap();
        let corrected = scoreboard.observe_slot(slot(0), at(7));
        assert_eq!((corrected.status, corrected.requests), (Some(Status::Waiting), 1));
        assert_eq!(scoreboard.observe_slot(slot(0), at(8)).fault, None);
        assert_eq!(scoreboard.take_faults().lines, 1, "the smaller number is damage");
    }
}

#[test]
fn damage_of_a_free_slot_is_repaired_and_costs_no_slot() {
    let scoreboard = scoreboard(2);
    let (first, second) = (slot(0), slot(1));
    let wild = SlotState { code: 5, generation: Generation::new(9), pid: 4711 };
    for number in [0, 1] {
        damage(&scoreboard, number, slot_word::STATE, wild.pack());
        damage(&scoreboard, number, slot_word::REQUESTS, 12);
    }
    assert_eq!((scoreboard.letters().as_str(), scoreboard.empty_slots()), ("  ", 2));
    let entry = scoreboard.observe_slot(first, at(1));
    assert_eq!((entry.status, entry.pid, entry.requests), (Some(Status::Empty), 0, 0));
    assert_eq!(state(&scoreboard, 0), SlotState::of(Status::Empty, Generation::new(0), 0));
    assert_eq!(scoreboard.open_slot(first, at(2)), Ok(Generation::new(1)));
    assert_eq!(scoreboard.open_slot(second, at(2)), Ok(Generation::new(1)), "not repaired before");
    assert_eq!(scoreboard.take_faults().lines, 2);
    assert_eq!(scoreboard.read(second).requests, 0);
}

#[test]
fn a_slot_is_closed_with_the_last_plausible_values() {
    let scoreboard = scoreboard(1);
    let seat = take_seat(&scoreboard, 0, counter());
    seat.report(Status::Serving, at(3)).unwrap();
    let whole = scoreboard.observe_slot(slot(0), at(4));
    for word in 0..crate::line::WORDS {
        damage(&scoreboard, 0, word, u64::MAX);
    }
    let last = scoreboard.close_slot(slot(0), at(5));
    let lasting = (last.status, last.generation, last.requests, last.since);
    assert_eq!(lasting, (whole.status, whole.generation, whole.requests, whole.since));
    assert_eq!((scoreboard.letters().as_str(), scoreboard.empty_slots()), (" ", 1));
    assert_eq!(scoreboard.open_slot(slot(0), at(6)), Ok(whole.generation.next()));
}

#[test]
fn a_child_whose_line_is_erased_takes_its_seat_and_reports() {
    let scoreboard = scoreboard(1);
    let generation = scoreboard.open_slot(slot(0), at(1)).unwrap();
    let erase = || {
        for word in 0..crate::line::WORDS {
            damage(&scoreboard, 0, word, 0);
        }
    };
    erase();
    let seat = Seat::take(scoreboard.reader(), slot(0), generation, 700, at(2), counter()).unwrap();
    assert_eq!(state(&scoreboard, 0), SlotState::of(Status::Forked, generation, 700));
    for status in [Status::Fresh, Status::Serving, Status::Waiting] {
        erase();
        seat.report(status, at(3)).unwrap();
        assert_eq!(state(&scoreboard, 0), SlotState::of(status, generation, 700));
    }
    let entry = scoreboard.reader().read(slot(0));
    assert_eq!((entry.requests, entry.pid), (1, 700));
}

#[test]
fn the_next_report_of_the_child_repairs_its_line() {
    let scoreboard = scoreboard(1);
    let seat = take_seat(&scoreboard, 0, counter());
    seat.report(Status::Fresh, at(3)).unwrap();
    seat.report(Status::Serving, at(4)).unwrap();
    damage_state(&scoreboard, 0, |state| SlotState { code: 200, pid: 3, ..state });
    damage(&scoreboard, 0, slot_word::REQUESTS, 1 << 40);
    assert_eq!(seat.report(Status::Waiting, at(5)), Ok(Transition::RequestFinished));
    let entry = scoreboard.reader().read(slot(0));
    assert_eq!((entry.status, entry.pid, entry.requests), (Some(Status::Waiting), 700, 1));
    damage_state(&scoreboard, 0, |state| state.with(Status::Serving));
    seat.heartbeat(at(6));
    assert_eq!(scoreboard.reader().read(slot(0)).status, Some(Status::Waiting));
}

#[test]
fn a_report_to_a_line_with_a_damaged_generation_makes_the_parent_repair_it() {
    let (scoreboard, waker) = (scoreboard(1), counter());
    let seat = take_seat(&scoreboard, 0, waker);
    seat.report(Status::Fresh, at(3)).unwrap();
    let _ = changes(&scoreboard);
    scoreboard.observe_slot(slot(0), at(3));
    assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
    damage_state(&scoreboard, 0, |state| SlotState { generation: Generation::new(9), ..state });
    assert!(matches!(
        seat.report(Status::Serving, at(4)),
        Err(ReportError::StaleGeneration { .. })
    ));
    assert_eq!((seat.status(), waker.wakeups()), (Status::Serving, 1));
    assert_eq!(changes(&scoreboard), [0]);
    assert_eq!(scoreboard.observe_slot(slot(0), at(5)).status, Some(Status::Fresh));
    seat.heartbeat(at(6));
    assert_eq!(scoreboard.observe_slot(slot(0), at(6)).status, Some(Status::Serving));
}

#[test]
fn times_in_the_future_and_before_the_last_observation_are_limited() {
    let scoreboard = scoreboard(1);
    let seat = take_seat(&scoreboard, 0, counter());
    seat.report(Status::Serving, at(3)).unwrap();
    seat.heartbeat(at(3));
    scoreboard.observe_slot(slot(0), at(4));
    for nanos in [0, u64::MAX] {
        damage(&scoreboard, 0, slot_word::SINCE, nanos);
        damage(&scoreboard, 0, slot_word::STARTED_AT, nanos);
        damage(&scoreboard, 0, slot_word::HEARTBEAT, nanos);
        damage(&scoreboard, 0, slot_word::DEADLINE, nanos);
        let entry = scoreboard.observe_slot(slot(0), at(9));
        assert_eq!(entry.since, at(3), "the status has not changed");
        assert_eq!((entry.started_at, entry.heartbeat), (at(2), Some(at(3))));
        assert_eq!(entry.deadline, None, "more than 24 hours away");
    }
    seat.report(Status::Waiting, at(10_000)).unwrap();
    assert_eq!(scoreboard.observe_slot(slot(0), at(20)).since, at(20));
    seat.report(Status::Serving, at(0)).unwrap();
    assert_eq!(scoreboard.observe_slot(slot(0), at(30)).since, at(20));
}

#[test]
fn a_sweep_finds_damage_that_no_child_has_marked() {
    let scoreboard = scoreboard(4);
    let _seat = take_seat(&scoreboard, 1, counter());
    scoreboard.set_phase(Phase::Running);
    let header = scoreboard.header();
    for word in [header_word::PHASE, header_word::OPERATOR_PAUSE, header_word::MAGIC] {
        header.words[word].store(u64::MAX, Ordering::Relaxed);
    }
    damage(&scoreboard, 1, slot_word::STATE, u64::MAX);
    damage(&scoreboard, 3, slot_word::STATE, u64::MAX);
    assert_eq!(scoreboard.operator_pause(), OperatorPause::Off, "the parent trusts its record");
    let mut statuses = Vec::new();
    scoreboard.sweep(at(5), |entry| statuses.extend(entry.status));
    let expected = [Status::Empty, Status::Forking, Status::Empty, Status::Empty];
    assert_eq!(statuses, expected, "the child was not observed after it took its seat");
    let faults = scoreboard.take_faults();
    assert_eq!((faults.lines, faults.header_words), (2, 3));
    let reader = scoreboard.reader();
    assert_eq!((reader.phase(), reader.operator_pause()), (Phase::Running, OperatorPause::Off));
    scoreboard.sweep(at(6), |_entry| {});
    assert!(scoreboard.take_faults().is_zero());
}

#[test]
fn a_damaged_wakeup_wakes_the_parent_once_too_often_instead_of_never() {
    let (scoreboard, waker) = (scoreboard(1), counter());
    let seat = take_seat(&scoreboard, 0, waker);
    let _ = changes(&scoreboard);
    for (round, damaged) in (0..).zip([0, 7, u64::MAX, 0x1234_5678_9abc_def0]) {
        assert_eq!(scoreboard.arm_wakeup(), ArmResult::Armed);
        scoreboard.wakeup().0.store(damaged, Ordering::Relaxed);
        let to = if round % 2 == 0 { Status::Serving } else { Status::Long };
        seat.report(to, at(3 + round)).unwrap();
        assert_eq!((waker.wakeups(), changes(&scoreboard)), (1, vec![0]), "{damaged:#x}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_scoreboard_with_any_content_keeps_its_slots_and_its_children(
        words in prop::collection::vec(any::<u64>(), 6 * 16),
        small in any::<bool>(),
        seated in 0_u32..3,
    ) {
        let memory = lines(lines_for(3).unwrap());
        let scoreboard = Scoreboard::format(memory, 3, at(0)).unwrap();
        let seats: Vec<_> =
            (0..seated).map(|number| take_seat(&scoreboard, number, counter())).collect();
        for seat in &seats {
            seat.report(Status::Serving, at(3)).unwrap();
            scoreboard.set_pid(seat.slot(), 700 + seat.slot().get());
        }
        scoreboard.sweep(at(4), |_entry| {});
        // Small values are more often plausible.
        let words: Vec<u64> = words.iter().map(|word| if small { word % 16 } else { *word }).collect();
        fill(memory, &words);
        let mut changed = 0;
        scoreboard.drain_changes(|slot| {
            changed += 1;
            let _ = scoreboard.observe_slot(slot, at(5));
        });
        prop_assert!(changed <= 3);
        let _ = scoreboard.arm_wakeup();
        scoreboard.sweep(at(5), |_entry| {});
        prop_assert_eq!(scoreboard.empty_slots(), 3 - seated);
        for seat in &seats {
            let entry = scoreboard.observe_slot(seat.slot(), at(6));
            prop_assert_eq!((entry.pid, entry.generation), (700 + seat.slot().get(), seat.generation()));
            prop_assert!(entry.since >= at(3) && entry.since <= at(6));
            // A line may plausibly show that the child leaves, or a wrong number of requests. Its
            // next report corrects that, also for the parent.
            seat.report(Status::Long, at(7)).unwrap();
            prop_assert_eq!(scoreboard.reader().read(seat.slot()).status, Some(Status::Long));
            let _corrected = scoreboard.observe_slot(seat.slot(), at(7));
            let entry = scoreboard.observe_slot(seat.slot(), at(7));
            prop_assert_eq!((entry.status, entry.requests), (Some(Status::Long), seat.requests()));
            prop_assert_eq!(entry.fault.filter(|fault| fault.is_damage()), None);
        }
        for seat in &seats {
            let _last = scoreboard.close_slot(seat.slot(), at(8));
            scoreboard.record_exit(seat.slot(), ExitCause::Done);
        }
        prop_assert_eq!((scoreboard.empty_slots(), scoreboard.reader().empty_slots()), (3, 3));
        for number in 0..3 {
            prop_assert!(scoreboard.open_slot(slot(number), at(9)).is_ok());
        }
        prop_assert_eq!(scoreboard.reader().letters(), "FFF");
    }
}
