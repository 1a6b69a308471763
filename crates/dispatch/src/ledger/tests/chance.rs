//! Whatever happens, in whatever order: one answer each.

use proptest::prelude::*;

use daemon_core::StopMode;

use super::super::*;
use super::stage::{Answered, SLOTS, Stage};

#[derive(Debug, Clone)]
enum Event {
    Admit {
        priority: i8,
        lane: u8,
        attempts: u32,
        hard: bool,
        terminate: bool,
        method: u16,
    },
    Join(usize),
    Begin(usize),
    End(usize),
    Dies(usize),
    Leaves(usize),
    Cancel {
        which: usize,
        terminate: Option<bool>,
    },
    Later(u64),
    OperatorPause(bool),
    /// An answer that was given is given again.
    Again(usize),
    Drain,
}

fn event() -> impl Strategy<Value = Event> {
    let slot = 0..SLOTS;
    prop_oneof![
        8 => (-1_i8..2, 0_u8..3, 1_u32..4, any::<bool>(), any::<bool>(), 0_u16..3).prop_map(
            |(priority, lane, attempts, hard, terminate, method)| {
                Event::Admit { priority, lane, attempts, hard, terminate, method }
            }
        ),
        3 => slot.clone().prop_map(Event::Join),
        8 => slot.clone().prop_map(Event::Begin),
        8 => slot.clone().prop_map(Event::End),
        1 => slot.clone().prop_map(Event::Dies),
        1 => slot.clone().prop_map(Event::Leaves),
        2 => (any::<usize>(), any::<Option<bool>>())
            .prop_map(|(which, terminate)| Event::Cancel { which, terminate }),
        3 => (0_u64..5_000_000).prop_map(Event::Later),
        1 => any::<bool>().prop_map(Event::OperatorPause),
        1 => slot.prop_map(Event::Again),
        1 => Just(Event::Drain),
    ]
}

fn if_dropped(terminate: bool) -> IfRunning {
    if terminate { IfRunning::Terminate } else { IfRunning::LetFinish }
}

fn play(events: Vec<Event>) -> Stage {
    let mut stage = Stage::new(1000);
    let lanes = [LaneId::COMMON, stage.lane("books"), stage.lane("mail")];
    let mut attempts_of = std::collections::HashMap::new();
    let mut last = [None; SLOTS];
    for event in events {
        match event {
            Event::Admit { priority, lane, attempts, hard, terminate, method } => {
                if stage.ledger.is_open() {
                    let key = stage.admit(Order {
                        method,
                        priority,
                        lane: lanes[usize::from(lane)],
                        hard: hard.then_some(Duration::from_millis(4)),
                        attempts,
                        if_dropped: if_dropped(terminate),
                    });
                    attempts_of.insert(key.id, attempts);
                }
            }
            Event::Join(slot) => stage.join(slot),
            Event::Begin(slot) => drop(stage.begin(slot)),
            Event::End(slot) => last[slot] = stage.end(slot).or(last[slot]),
            Event::Dies(slot) => stage.dies(slot),
            Event::Leaves(slot) => stage.leaves(slot),
            Event::Cancel { which, terminate } => {
                if !stage.admitted.is_empty() {
                    let key = stage.admitted[which % stage.admitted.len()];
                    stage.cancel(key, terminate.map(if_dropped));
                }
            }
            Event::Later(nanos) => stage.later(Duration::from_nanos(nanos)),
            Event::OperatorPause(hold) => {
                stage.hold(if hold { OperatorPause::On } else { OperatorPause::Off })
            }
            Event::Again(slot) => {
                if let Some(task) = last[slot] {
                    stage.tell(slot, task);
                }
            }
            Event::Drain => {
                stage.hold(OperatorPause::Off);
                for slot in 0..SLOTS {
                    stage.begin(slot);
                    stage.end(slot);
                }
            }
        }
        let tally = stage.ledger.tally();
        let answered = stage.answers.len();
        assert_eq!(stage.admitted.len(), answered + tally.queued + tally.in_flight, "{tally:?}");
    }
    for (id, died) in &stage.died_over {
        assert!(died <= &attempts_of[id], "it was tried more often than it may");
    }
    stage
}

/// The end: what is begun is done, then everything goes.
fn finish(stage: &mut Stage) {
    stage.stop(StopMode::Immediate);
    for slot in 0..SLOTS {
        stage.end(slot);
        stage.dies(slot);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn each_request_is_answered_exactly_once(
        events in proptest::collection::vec(event(), 0..200),
    ) {
        let mut stage = play(events);
        finish(&mut stage);
        for key in &stage.admitted {
            prop_assert!(stage.answers.contains_key(&key.id), "{key:?} has no answer");
        }
        prop_assert_eq!(stage.answers.len(), stage.admitted.len());
        prop_assert!(stage.ledger.is_empty());
    }

    #[test]
    fn nothing_is_begun_twice_unless_a_worker_has_died_over_it(
        events in proptest::collection::vec(event(), 0..200),
    ) {
        let stage = play(events);
        let mut times = std::collections::HashMap::<RequestId, u32>::new();
        for id in &stage.begun {
            *times.entry(*id).or_default() += 1;
        }
        for (id, begun) in times {
            let died = stage.died_over.get(&id).copied().unwrap_or_default();
            prop_assert!(begun <= died + 1, "{id} was begun {begun} times, {died} died over it");
        }
    }

    #[test]
    fn what_was_begun_by_nobody_is_never_lost(
        events in proptest::collection::vec(event(), 0..200),
    ) {
        let mut stage = play(events);
        finish(&mut stage);
        for (id, answered) in &stage.answers {
            let is_lost = matches!(
                answered,
                Answered::Failure(Failure::WorkerLost { .. } | Failure::DeadLettered { .. })
            );
            prop_assert!(!is_lost || stage.died_over.contains_key(id), "{id} is {answered:?}");
        }
    }

    #[test]
    fn with_workers_that_work_everything_is_done(
        events in proptest::collection::vec(event(), 0..200),
    ) {
        let mut stage = play(events);
        stage.hold(OperatorPause::Off);
        for slot in 0..SLOTS {
            stage.dies(slot);
            stage.join(slot);
        }
        let mut idle = 0;
        while !stage.ledger.is_empty() {
            let before = stage.answers.len();
            for slot in 0..SLOTS {
                stage.begin(slot);
                stage.end(slot);
                if stage.workers[slot].as_ref().is_some_and(|worker| worker.doomed) {
                    stage.dies(slot);
                    stage.join(slot);
                }
            }
            idle = if stage.answers.len() == before { idle + 1 } else { 0 };
            prop_assert!(idle < 10, "nothing goes on: {:?}", stage.ledger.tally());
        }
    }
}
