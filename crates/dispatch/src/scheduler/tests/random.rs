//! Tests with random events in random order. Each request gets exactly one answer.

use proptest::prelude::*;

use daemon_core::StopMode;

use super::super::*;
use super::simulation::{MISDEEDS, Misdeed, Outcome, SLOTS, Simulation};

#[derive(Debug, Clone)]
enum RandomEvent {
    Admit {
        priority: i8,
        lane: u8,
        attempts: u32,
        hard: bool,
        terminate: bool,
        method: u16,
    },
    StartWorker(usize),
    StartTask(usize),
    Finish(usize),
    Exit(usize),
    Drain(usize),
    Cancel {
        which: usize,
        terminate: Option<bool>,
    },
    Advance(u64),
    SetOperatorPause(bool),
    /// A worker sends its last answer again.
    Repeat(usize),
    /// The operator's pause ends, and each worker starts and finishes a task.
    Resume,
    /// A worker does something that it must not do.
    Misbehave(usize, Misdeed),
}

/// Random events, and misdeeds of workers among them.
fn hostile_event() -> impl Strategy<Value = RandomEvent> {
    let misdeed = (0..SLOTS, proptest::sample::select(MISDEEDS.to_vec()))
        .prop_map(|(slot, misdeed)| RandomEvent::Misbehave(slot, misdeed));
    prop_oneof![10 => event(), 1 => misdeed]
}

fn event() -> impl Strategy<Value = RandomEvent> {
    let slot = 0..SLOTS;
    prop_oneof![
        8 => (-1_i8..2, 0_u8..3, 1_u32..4, any::<bool>(), any::<bool>(), 0_u16..3).prop_map(
            |(priority, lane, attempts, hard, terminate, method)| {
                RandomEvent::Admit { priority, lane, attempts, hard, terminate, method }
            }
        ),
        3 => slot.clone().prop_map(RandomEvent::StartWorker),
        8 => slot.clone().prop_map(RandomEvent::StartTask),
        8 => slot.clone().prop_map(RandomEvent::Finish),
        1 => slot.clone().prop_map(RandomEvent::Exit),
        1 => slot.clone().prop_map(RandomEvent::Drain),
        2 => (any::<usize>(), any::<Option<bool>>())
            .prop_map(|(which, terminate)| RandomEvent::Cancel { which, terminate }),
        3 => (0_u64..5_000_000).prop_map(RandomEvent::Advance),
        1 => any::<bool>().prop_map(RandomEvent::SetOperatorPause),
        1 => slot.prop_map(RandomEvent::Repeat),
        1 => Just(RandomEvent::Resume),
    ]
}

fn if_dropped(terminate: bool) -> IfRunning {
    if terminate { IfRunning::Terminate } else { IfRunning::LetFinish }
}

fn idle_order() -> impl Strategy<Value = IdleOrder> {
    proptest::sample::select(vec![IdleOrder::MostRecent, IdleOrder::LongestIdle])
}

fn run(order: IdleOrder, events: Vec<RandomEvent>) -> Simulation {
    let mut sim = Simulation::with_idle_order(1000, order);
    let lanes = [LaneId::DEFAULT, sim.lane("accounts"), sim.lane("mail")];
    let mut attempts_of = std::collections::HashMap::new();
    let mut last = [None; SLOTS];
    for event in events {
        match event {
            RandomEvent::Admit { priority, lane, attempts, hard, terminate, method } => {
                if sim.scheduler.is_accepting() {
                    let key = sim.admit(JobOptions {
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
            RandomEvent::StartWorker(slot) => sim.start_worker(slot),
            RandomEvent::StartTask(slot) => drop(sim.start(slot)),
            RandomEvent::Finish(slot) => last[slot] = sim.finish(slot).or(last[slot]),
            RandomEvent::Exit(slot) => sim.exit(slot),
            RandomEvent::Drain(slot) => sim.drain(slot),
            RandomEvent::Cancel { which, terminate } => {
                if !sim.admitted.is_empty() {
                    let key = sim.admitted[which % sim.admitted.len()];
                    sim.cancel(key, terminate.map(if_dropped));
                }
            }
            RandomEvent::Advance(nanos) => sim.advance(Duration::from_nanos(nanos)),
            RandomEvent::SetOperatorPause(is_on) => {
                sim.set_operator_pause(if is_on { OperatorPause::On } else { OperatorPause::Off });
            }
            RandomEvent::Repeat(slot) => {
                if let Some(task) = last[slot] {
                    sim.deliver(slot, task);
                }
            }
            RandomEvent::Misbehave(slot, misdeed) => {
                sim.start(slot);
                sim.misbehave(slot, misdeed);
            }
            RandomEvent::Resume => {
                sim.set_operator_pause(OperatorPause::Off);
                for slot in 0..SLOTS {
                    sim.start(slot);
                    sim.finish(slot);
                }
            }
        }
        let stats = sim.scheduler.stats();
        let answered = sim.answers.len();
        assert_eq!(sim.admitted.len(), answered + stats.queued + stats.in_flight, "{stats:?}");
    }
    for (id, exits) in &sim.exits_during {
        assert!(exits <= &attempts_of[id], "request {id} had more attempts than allowed");
    }
    sim
}

/// Stops the scheduler. Each worker finishes its running task and then exits.
fn shut_down(sim: &mut Simulation) {
    sim.stop(StopMode::Immediate);
    for slot in 0..SLOTS {
        sim.finish(slot);
        sim.exit(slot);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn each_request_is_answered_exactly_once(
        order in idle_order(),
        events in proptest::collection::vec(event(), 0..200),
    ) {
        let mut sim = run(order, events);
        shut_down(&mut sim);
        for key in &sim.admitted {
            prop_assert!(sim.answers.contains_key(&key.id), "{key:?} has no answer");
        }
        prop_assert_eq!(sim.answers.len(), sim.admitted.len());
        prop_assert!(sim.scheduler.is_empty());
    }

    #[test]
    fn a_request_is_started_again_only_if_its_worker_exited(
        order in idle_order(),
        events in proptest::collection::vec(event(), 0..200),
    ) {
        let sim = run(order, events);
        let mut times = std::collections::HashMap::<u64, u32>::new();
        for id in &sim.started {
            *times.entry(*id).or_default() += 1;
        }
        for (id, started) in times {
            let exits = sim.exits_during.get(&id).copied().unwrap_or_default();
            prop_assert!(
                started <= exits + 1,
                "request {id} was started {started} times, {exits} workers exited while running it"
            );
        }
    }

    #[test]
    fn a_request_that_was_not_started_is_never_lost(
        order in idle_order(),
        events in proptest::collection::vec(event(), 0..200),
    ) {
        let mut sim = run(order, events);
        shut_down(&mut sim);
        for (id, outcome) in &sim.answers {
            let is_lost = matches!(
                outcome,
                Outcome::Failure(Failure::WorkerLost { .. } | Failure::DeadLettered { .. })
            );
            prop_assert!(
                !is_lost || sim.exits_during.contains_key(id),
                "request {id} is {outcome:?}"
            );
        }
    }

    #[test]
    fn no_request_waits_for_a_worker_that_misbehaves(
        order in idle_order(),
        events in proptest::collection::vec(hostile_event(), 0..200),
    ) {
        let mut sim = run(order, events);
        sim.set_operator_pause(OperatorPause::Off);
        // No worker does anything. Only the time passes, and killed workers exit.
        sim.run_for(Duration::from_secs(4) + UNRESPONSIVE_MAX);
        for slot in 0..SLOTS {
            let Some(worker) = &sim.workers[slot] else { continue };
            let running = worker.running.filter(|_task| !worker.is_stopped);
            let honest = usize::from(running.is_some());
            let mut in_flight = sim.scheduler.workers.in_flight(slot);
            // A task of a worker that was killed may have been sent to this worker recently.
            in_flight.retain(|sent| {
                let waited = sim.now.saturating_since(sent.sent);
                sent.started.is_some() || waited > UNRESPONSIVE_AFTER + UNRESPONSIVE_MAX
            });
            let is_stopped_in_task = worker.is_stopped && worker.running.is_some();
            // A worker may run a task without a limit as long as it likes.
            prop_assert!(
                in_flight.len() <= honest + usize::from(is_stopped_in_task),
                "{worker:?} has {in_flight:?}"
            );
            for sent in in_flight {
                let record = sim.scheduler.records.get(sent.key).unwrap();
                prop_assert_eq!(record.options.hard, None, "{:?} has {:?}", worker, sent);
            }
        }
        // All other requests are answered by other workers.
        for slot in 0..SLOTS {
            sim.exit(slot);
            sim.start_worker(slot);
        }
        let mut idle = 0;
        while !sim.scheduler.is_empty() {
            let before = sim.answers.len();
            for slot in 0..SLOTS {
                sim.start(slot);
                sim.finish(slot);
            }
            idle = if sim.answers.len() == before { idle + 1 } else { 0 };
            prop_assert!(idle < 10, "no progress: {:?}", sim.scheduler.stats());
        }
        prop_assert_eq!(sim.answers.len(), sim.admitted.len());
    }

    #[test]
    fn workers_that_run_their_tasks_answer_all_requests(
        order in idle_order(),
        events in proptest::collection::vec(event(), 0..200),
    ) {
        let mut sim = run(order, events);
        sim.set_operator_pause(OperatorPause::Off);
        for slot in 0..SLOTS {
            sim.exit(slot);
            sim.start_worker(slot);
        }
        let mut idle = 0;
        while !sim.scheduler.is_empty() {
            let before = sim.answers.len();
            for slot in 0..SLOTS {
                sim.start(slot);
                sim.finish(slot);
                if sim.workers[slot].as_ref().is_some_and(|worker| worker.is_stopped) {
                    sim.exit(slot);
                    sim.start_worker(slot);
                }
            }
            idle = if sim.answers.len() == before { idle + 1 } else { 0 };
            prop_assert!(idle < 10, "no progress: {:?}", sim.scheduler.stats());
        }
    }
}
