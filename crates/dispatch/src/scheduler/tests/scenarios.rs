//! Fixed sequences of events, each with the decisions that the scheduler must make.

use daemon_core::{Generation, SlotNumber, StopMode};

use super::super::*;
use super::simulation::{MISDEEDS, Misdeed, Outcome, SLOTS, Simulation};
use crate::answer::{LimitKind, Rejection, RequestState};

fn ids(keys: &[JobKey]) -> Vec<u64> {
    keys.iter().map(|key| key.id).collect()
}

fn failure(sim: &Simulation, key: JobKey) -> &Failure {
    match &sim.answers[&key.id] {
        Outcome::Failure(failure) => failure,
        Outcome::Value => panic!("request {} has a value", key.id),
    }
}

/// Runs a request that takes no time. Afterwards the scheduler expects further tasks of the same
/// method to be short, and sends them ahead, that is, to a worker that is still running another
/// task.
fn run_short_request(sim: &mut Simulation) {
    sim.admit(Simulation::default_options());
    sim.start(0);
    sim.finish(0);
}

#[test]
fn each_request_goes_to_the_worker_that_has_been_idle_the_longest() {
    let mut sim = Simulation::new(100);
    (0..3).for_each(|slot| sim.start_worker(slot));
    let keys: Vec<JobKey> =
        (0..3).map(|_request| sim.admit(Simulation::default_options())).collect();
    for (slot, key) in keys.iter().enumerate() {
        assert_eq!(sim.start(slot), Some(key.id));
    }
    sim.finish(1);
    sim.finish(0);
    let next = [sim.admit(Simulation::default_options()), sim.admit(Simulation::default_options())];
    assert_eq!([sim.start(1), sim.start(0)].map(Option::unwrap).to_vec(), ids(&next));
}

#[test]
fn each_request_goes_to_the_worker_that_became_idle_last() {
    let mut sim = Simulation::with_idle_order(100, IdleOrder::MostRecent);
    (0..3).for_each(|slot| sim.start_worker(slot));
    let first = sim.admit(Simulation::default_options());
    assert_eq!(sim.start(2), Some(first.id), "the worker that was ready last");
    let second = sim.admit(Simulation::default_options());
    assert_eq!(sim.start(1), Some(second.id));
    sim.finish(2);
    sim.finish(1);
    for _request in 0..3 {
        let next = sim.admit(Simulation::default_options());
        assert_eq!(sim.start(1), Some(next.id), "one task at a time stays with one worker");
        sim.finish(1);
    }
    let keys: Vec<JobKey> =
        (0..3).map(|_request| sim.admit(Simulation::default_options())).collect();
    assert_eq!([1, 2, 0].map(|slot| sim.start(slot).unwrap()).to_vec(), ids(&keys));
}

#[test]
fn an_unresponsive_worker_gets_a_task_only_if_no_other_is_idle() {
    for (order, next) in [(IdleOrder::MostRecent, 1), (IdleOrder::LongestIdle, 0)] {
        let mut sim = Simulation::with_idle_order(100, order);
        (0..3).for_each(|slot| sim.start_worker(slot));
        sim.scheduler.workers.mark_unresponsive(if next == 1 { 2 } else { 1 });
        let key = sim.admit(Simulation::default_options());
        assert_eq!(sim.start(next), Some(key.id), "{order:?}");
    }
}

#[test]
fn tasks_of_unknown_or_long_duration_are_not_sent_ahead() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    for _request in 0..10 {
        sim.admit(Simulation::default_options());
    }
    assert_eq!(sim.scheduler.stats().in_flight, 1);
    sim.start(0);
    sim.advance(Duration::from_millis(5));
    sim.finish(0);
    assert_eq!(sim.scheduler.stats().in_flight, 1, "the method is slow");
}

#[test]
fn short_tasks_are_sent_ahead_and_revoked_if_they_wait_behind_a_long_task() {
    let mut sim = Simulation::new(1000);
    sim.start_worker(0);
    run_short_request(&mut sim);
    for _request in 0..40 {
        sim.admit(Simulation::default_options());
    }
    sim.start(0);
    sim.finish(0);
    let ahead = sim.scheduler.stats().in_flight;
    assert!(ahead > 10, "{ahead} tasks are sent ahead");
    sim.start(0);
    sim.advance(STALL_LIMIT);
    assert_eq!(sim.scheduler.stats().in_flight, 1);
    sim.start_worker(1);
    assert!(sim.start(1).is_some());
    assert_eq!(sim.scheduler.stats().reclaimed, ahead as u64 - 1);
}

#[test]
fn an_idle_worker_gets_a_task_that_was_sent_ahead_to_another_worker() {
    let mut sim = Simulation::new(1000);
    sim.start_worker(0);
    run_short_request(&mut sim);
    let keys: Vec<JobKey> =
        (0..3).map(|_request| sim.admit(Simulation::default_options())).collect();
    sim.start(0);
    sim.finish(0);
    sim.start_worker(1);
    assert_eq!(sim.start(0), Some(keys[1].id));
    assert_eq!(sim.start(1), Some(keys[2].id));
}

#[test]
fn the_exit_of_a_worker_loses_only_the_task_that_it_had_started() {
    let mut sim = Simulation::new(1000);
    sim.start_worker(0);
    run_short_request(&mut sim);
    let keys: Vec<JobKey> =
        (0..20).map(|_request| sim.admit(Simulation::default_options())).collect();
    sim.start(0);
    sim.finish(0);
    assert_eq!(sim.start(0), Some(keys[1].id));
    sim.exit(0);
    assert!(matches!(failure(&sim, keys[1]), Failure::WorkerLost { .. }));
    assert_eq!(sim.answers.len(), 3);
    sim.start_worker(1);
    let mut order = Vec::new();
    while let Some(id) = sim.start(1) {
        order.push(id);
        sim.finish(1);
    }
    assert_eq!(order, ids(&keys[2..]), "the order has not changed");
}

#[test]
fn a_task_that_kills_its_workers_becomes_a_dead_letter_after_its_last_attempt() {
    let mut sim = Simulation::new(100);
    let poison = sim.admit(JobOptions { attempts: 3, ..Simulation::default_options() });
    let other = sim.admit(Simulation::default_options());
    for _attempt in 0..3 {
        sim.start_worker(0);
        assert_eq!(sim.start(0), Some(poison.id));
        sim.exit(0);
    }
    assert!(matches!(failure(&sim, poison), Failure::DeadLettered { attempts: 3, .. }));
    sim.start_worker(0);
    assert_eq!(sim.start(0), Some(other.id));
    assert_eq!(sim.scheduler.stats().retried, 2);
}

#[test]
fn a_hard_limit_kills_the_worker_and_fails_the_request_immediately() {
    let mut sim = Simulation::new(100);
    let limit = UNRESPONSIVE_AFTER / 10;
    let key = sim.admit(JobOptions { hard: Some(limit), ..Simulation::default_options() });
    sim.start_worker(0);
    assert!(sim.scheduler.wake_at().is_some());
    sim.advance(UNRESPONSIVE_AFTER / 2);
    assert!(sim.answers.is_empty(), "the limit counts from the start of the task");
    sim.start(0);
    let due = sim.scheduler.next_check(sim.now).unwrap();
    assert_eq!(due, sim.now + limit);
    sim.advance(limit);
    assert!(matches!(failure(&sim, key), Failure::TimedOut { kind: LimitKind::Hard, .. }));
    assert_eq!(sim.killed.len(), 1);
    assert_eq!(sim.scheduler.state_of(0), Some(workers::WorkerState::BeingKilled));
    assert!(sim.finish(0).is_none(), "an aborted task has no answer");
    let next = sim.admit(Simulation::default_options());
    sim.exit(0);
    sim.start_worker(0);
    assert_eq!(sim.start(0), Some(next.id));
}

#[test]
fn a_task_that_was_sent_ahead_times_out_at_its_hard_limit() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    run_short_request(&mut sim);
    let hard = Some(STALL_LIMIT / 2);
    let keys = [None, None, hard]
        .map(|hard| sim.admit(JobOptions { hard, ..Simulation::default_options() }));
    for _before in 0..2 {
        sim.start(0);
        sim.finish(0);
    }
    assert_eq!(sim.start(0), Some(keys[2].id));
    assert_eq!(sim.scheduler.wake_at(), Some(sim.now + STALL_LIMIT / 2));
    sim.advance(STALL_LIMIT / 2);
    assert!(matches!(failure(&sim, keys[2]), Failure::TimedOut { kind: LimitKind::Hard, .. }));
}

#[test]
fn cancel_reports_whether_a_task_was_dequeued_is_still_running_or_was_terminated() {
    let mut sim = Simulation::new(100);
    let queued = sim.admit(Simulation::default_options());
    assert_eq!(sim.cancel(queued, None), CancelOutcome::Dequeued);
    assert_eq!(failure(&sim, queued), &Failure::Cancelled { state: RequestState::Queued });
    assert_eq!(sim.cancel(queued, None), CancelOutcome::Unknown);
    sim.start_worker(0);
    let sent = sim.admit(Simulation::default_options());
    assert_eq!(sim.cancel(sent, None), CancelOutcome::Dequeued);
    assert_eq!(sim.start(0), None, "the task was revoked");
    let running = sim.admit(Simulation::default_options());
    sim.start(0);
    assert_eq!(sim.cancel(running, None), CancelOutcome::StillRunning);
    sim.finish(0);
    assert_eq!(sim.answers[&running.id], Outcome::Value);
    let ended = sim.admit(Simulation::default_options());
    sim.start(0);
    assert_eq!(sim.cancel(ended, Some(IfRunning::Terminate)), CancelOutcome::Terminated);
    assert_eq!(failure(&sim, ended), &Failure::Cancelled { state: RequestState::Running });
    assert_eq!(sim.killed.len(), 1);
}

#[test]
fn an_answer_of_an_earlier_attempt_is_dropped() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    let first = sim.admit(JobOptions { attempts: 2, ..Simulation::default_options() });
    sim.start(0);
    let late = sim.workers[0].as_ref().unwrap().running.unwrap();
    sim.exit(0);
    sim.start_worker(0);
    sim.start(0);
    sim.deliver(0, late);
    assert!(sim.answers.is_empty());
    assert_eq!(sim.scheduler.stats().late, 1);
    sim.finish(0);
    assert_eq!(sim.answers[&first.id], Outcome::Value);
}

#[test]
fn a_lane_with_a_limit_of_one_runs_its_requests_one_after_the_other() {
    let mut sim = Simulation::new(100);
    (0..SLOTS).for_each(|slot| sim.start_worker(slot));
    let accounts = JobOptions { lane: sim.lane("accounts"), ..Simulation::default_options() };
    let keys: Vec<JobKey> = (0..3).map(|_request| sim.admit(accounts)).collect();
    for key in keys {
        let slots: Vec<usize> = (0..SLOTS).filter(|slot| sim.start(*slot).is_some()).collect();
        assert_eq!(slots.len(), 1);
        assert_eq!(sim.started.last(), Some(&key.id));
        sim.finish(slots[0]);
    }
}

#[test]
fn a_pause_revokes_sent_tasks_and_no_further_task_is_sent() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    let first = sim.admit(Simulation::default_options());
    sim.set_operator_pause(OperatorPause::On);
    let second = sim.admit(Simulation::default_options());
    assert_eq!(sim.start(0), None);
    assert_eq!(sim.scheduler.unassigned(), 0, "no worker is needed while paused");
    sim.set_operator_pause(OperatorPause::Off);
    assert_eq!(sim.start(0), Some(first.id));
    sim.finish(0);
    assert_eq!(sim.start(0), Some(second.id));
}

#[test]
fn a_graceful_stop_runs_accepted_requests_and_an_immediate_stop_loses_a_running_one() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    let [running, waiting] = [(); 2].map(|()| sim.admit(Simulation::default_options()));
    sim.start(0);
    sim.stop(StopMode::Graceful);
    assert!(!sim.scheduler.is_accepting());
    sim.finish(0);
    assert_eq!(sim.start(0), Some(waiting.id));
    assert_eq!(sim.answers[&running.id], Outcome::Value);
    sim.stop(StopMode::Immediate);
    sim.exit(0);
    assert!(matches!(failure(&sim, waiting), Failure::WorkerLost { .. }));
    assert!(sim.scheduler.is_empty());
}

#[test]
fn a_draining_worker_gets_no_further_task() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    sim.start_worker(1);
    sim.drain(0);
    let key = sim.admit(Simulation::default_options());
    assert_eq!(sim.start(1), Some(key.id));
}

#[test]
fn a_task_keeps_its_claim_while_many_tasks_behind_it_are_sent_and_revoked() {
    let mut sim = Simulation::new(1000);
    sim.start_worker(0);
    run_short_request(&mut sim);
    let keys: Vec<JobKey> =
        (0..40).map(|_request| sim.admit(Simulation::default_options())).collect();
    assert_eq!(sim.start(0), Some(keys[0].id));
    sim.finish(0);
    assert_eq!(sim.start(0), Some(keys[1].id));
    for _time in 0..20 {
        // Each round sends tasks ahead and revokes them. Each sent task uses up a turn, that is, a
        // number that selects the task's claim.
        sim.set_operator_pause(OperatorPause::On);
        sim.scheduler.workers.record_answer(0);
        sim.set_operator_pause(OperatorPause::Off);
    }
    assert!(sim.scheduler.stats().reclaimed > 2 * IN_FLIGHT_MAX as u64);
    assert!(sim.finish(0).is_some(), "the claim is not aborted");
    assert_eq!(sim.answers[&keys[1].id], Outcome::Value);
}

#[test]
fn a_task_that_its_worker_does_not_start_goes_to_an_idle_worker() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    let key = sim.admit(Simulation::default_options());
    sim.start_worker(1);
    sim.advance(UNRESPONSIVE_AFTER - Duration::from_millis(1));
    assert_eq!(sim.start(1), None, "worker 0 may still start the task");
    sim.advance(Duration::from_millis(1));
    assert_eq!(sim.start(1), Some(key.id));
    assert_eq!(sim.start(0), None, "another worker has the task");
    sim.finish(1);
    assert_eq!(sim.answers[&key.id], Outcome::Value);
    assert!(sim.killed.is_empty());
    // Worker 0 has been idle longer than worker 1, but is unresponsive.
    let next = sim.admit(Simulation::default_options());
    assert_eq!(sim.start(1), Some(next.id));
    let last = sim.admit(Simulation::default_options());
    assert_eq!(sim.start(0), Some(last.id), "no other worker is idle");
    sim.finish(0);
    sim.finish(1);
    let next = sim.admit(Simulation::default_options());
    assert_eq!(sim.start(0), Some(next.id), "worker 0 is responsive again after its answer");
}

#[test]
fn a_task_that_its_worker_does_not_start_keeps_its_position_in_the_queue() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    let first = sim.admit(Simulation::default_options());
    sim.start_worker(1);
    let second = sim.admit(Simulation::default_options());
    assert_eq!(sim.start(1), Some(second.id));
    sim.advance(UNRESPONSIVE_AFTER);
    let third = sim.admit(Simulation::default_options());
    sim.finish(1);
    assert_eq!(sim.start(1), Some(first.id));
    sim.finish(1);
    assert_eq!(sim.start(1), Some(third.id));
    sim.finish(1);
    assert_eq!(sim.answers.len(), 3);
}

#[test]
fn an_unresponsive_worker_is_killed_at_the_hard_limit_and_another_worker_runs_the_task() {
    let hard = UNRESPONSIVE_AFTER * 2;
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    let limited = sim.admit(JobOptions { hard: Some(hard), ..Simulation::default_options() });
    sim.advance(UNRESPONSIVE_AFTER);
    assert!(sim.killed.is_empty(), "no other worker exists, and the limit has not passed");
    sim.advance(UNRESPONSIVE_AFTER);
    assert_eq!(sim.killed.len(), 1);
    assert!(sim.answers.is_empty(), "the task is not lost");
    sim.exit(0);
    sim.start_worker(0);
    assert_eq!(sim.start(0), Some(limited.id));
    sim.finish(0);
    assert_eq!(sim.answers[&limited.id], Outcome::Value);
}

/// Lets a worker misbehave after it has started a task, and returns the time until the task's
/// request was answered, and the answer. The worker exits as soon as it is killed.
fn misbehave(misdeed: Misdeed, hard: Option<Duration>) -> (Duration, Outcome) {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    let key = sim.admit(JobOptions { hard, ..Simulation::default_options() });
    match misdeed {
        Misdeed::StartInTheFuture | Misdeed::StartInThePast => {}
        _in_its_task => drop(sim.start(0)),
    }
    let begun = sim.now;
    sim.misbehave(0, misdeed);
    sim.reap();
    for _step in 0..10_000 {
        if let Some(outcome) = sim.answers.get(&key.id) {
            return (sim.now.saturating_since(begun), outcome.clone());
        }
        sim.run_for(Duration::from_millis(10));
    }
    panic!("{misdeed:?} with the limit {hard:?}: no answer");
}

#[test]
fn a_request_is_answered_within_a_bound_whatever_its_worker_does() {
    let hard = Duration::from_millis(300);
    // A task that its worker gives back is answered by another worker.
    for misdeed in MISDEEDS.into_iter().filter(|misdeed| *misdeed != Misdeed::OfferAgain) {
        let (time, outcome) = misbehave(misdeed, Some(hard));
        let bound = hard + UNRESPONSIVE_AFTER + ANSWER_MAX + Duration::from_millis(50);
        assert!(time <= bound, "{misdeed:?}: answered after {time:?}");
        let is_hard =
            outcome == Outcome::Failure(Failure::TimedOut { kind: LimitKind::Hard, limit: hard });
        let is_lost = matches!(outcome, Outcome::Failure(Failure::WorkerLost { .. }));
        assert!(is_hard || is_lost, "{misdeed:?}: {outcome:?}");
        // A worker that lies about its start is stopped neither much later nor much earlier.
        match misdeed {
            Misdeed::Stop | Misdeed::StartInTheFuture | Misdeed::StartInThePast => {
                assert!(is_hard && time >= hard, "{misdeed:?}: {outcome:?} after {time:?}");
            }
            _other => {}
        }
    }
}

#[test]
fn without_a_limit_a_request_is_lost_soon_if_its_answer_cannot_come() {
    let table = [
        (Misdeed::StopBeforeAnswer, UNRESPONSIVE_AFTER + ANSWER_MAX),
        (Misdeed::DamageClaim, UNRESPONSIVE_AFTER),
        (Misdeed::AbortItself, UNRESPONSIVE_AFTER),
        (Misdeed::CloseLink, CLOSED_MAX),
        (Misdeed::BreakLink, Duration::ZERO),
        (Misdeed::BeginMessage, ANSWER_MAX),
    ];
    for (misdeed, bound) in table {
        let (time, outcome) = misbehave(misdeed, None);
        assert!(time <= bound + Duration::from_millis(50), "{misdeed:?}: after {time:?}");
        let is_lost = matches!(outcome, Outcome::Failure(Failure::WorkerLost { .. }));
        assert!(is_lost, "{misdeed:?}: {outcome:?}");
    }
}

#[test]
fn a_task_that_its_worker_gives_back_is_given_to_another_worker_unless_its_start_was_observed() {
    for is_observed in [false, true] {
        let mut sim = Simulation::new(100);
        sim.start_worker(0);
        let key = sim.admit(Simulation::default_options());
        sim.start(0);
        if is_observed {
            sim.advance(Duration::from_millis(1));
        }
        sim.misbehave(0, Misdeed::OfferAgain);
        sim.start_worker(1);
        sim.run_for(UNRESPONSIVE_AFTER * 2);
        assert_eq!(sim.start(1), (!is_observed).then_some(key.id));
        assert_eq!(sim.killed.len(), usize::from(is_observed));
    }
}

#[test]
fn a_worker_that_starts_all_its_tasks_at_once_does_not_keep_the_timer_running() {
    let mut sim = Simulation::new(1000);
    sim.start_worker(0);
    run_short_request(&mut sim);
    for _request in 0..20 {
        sim.admit(Simulation::default_options());
    }
    sim.start(0);
    sim.finish(0);
    assert!(sim.scheduler.stats().in_flight > 2);
    let inbox = sim.workers[0].as_ref().unwrap().inbox.clone();
    for _task in inbox {
        sim.start(0);
        sim.workers[0].as_mut().unwrap().running = None;
    }
    // Fails if the timer fires without a pause.
    sim.run_for(Duration::from_secs(60));
}

#[test]
fn a_worker_that_announces_that_it_leaves_and_stays_is_killed() {
    for (misdeed, bound) in [(Misdeed::LeaveAndStay, LEAVE_MAX), (Misdeed::CloseLink, CLOSED_MAX)] {
        let mut sim = Simulation::new(100);
        sim.start_worker(0);
        sim.misbehave(0, misdeed);
        let key = sim.admit(Simulation::default_options());
        sim.run_for(bound - Duration::from_millis(10));
        assert!(sim.killed.is_empty(), "{misdeed:?}");
        sim.run_for(Duration::from_millis(20));
        assert_eq!(sim.killed.len(), 1, "{misdeed:?}");
        sim.start_worker(0);
        assert_eq!(sim.start(0), Some(key.id));
    }
}

#[test]
fn a_worker_that_leaves_may_finish_its_task_and_close_its_link_before_it_exits() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    sim.admit(Simulation::default_options());
    sim.start(0);
    sim.drain(0);
    sim.run_for(LEAVE_MAX * 2);
    assert!(sim.killed.is_empty(), "the task has no limit");
    assert!(sim.finish(0).is_some());
    sim.misbehave(0, Misdeed::CloseLink);
    sim.run_for(LEAVE_MAX - Duration::from_millis(10));
    assert!(sim.killed.is_empty());
}

#[test]
fn a_worker_that_is_never_ready_is_killed() {
    let mut sim = Simulation::new(100);
    let child = ChildId { slot: SlotNumber::new(1), generation: Generation::new(7) };
    let ready_by = sim.now + Duration::from_secs(30);
    sim.scheduler.worker_forked(child, Pid::from_raw(9).unwrap(), ready_by, sim.now);
    let key = sim.admit(Simulation::default_options());
    sim.run_for(Duration::from_secs(29));
    assert!(sim.killed.is_empty());
    sim.run_for(Duration::from_secs(2));
    assert_eq!(sim.killed.iter().copied().collect::<Vec<_>>(), [9]);
    assert!(!sim.answers.contains_key(&key.id), "the request waits for another worker");
}

#[test]
fn a_worker_that_starts_no_task_is_killed_even_without_a_limit() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    let key = sim.admit(Simulation::default_options());
    sim.run_for(UNRESPONSIVE_MAX - Duration::from_millis(10));
    assert!(sim.killed.is_empty());
    sim.run_for(UNRESPONSIVE_AFTER);
    assert_eq!(sim.killed.len(), 1);
    sim.start_worker(0);
    assert_eq!(sim.start(0), Some(key.id), "the task is not lost");
}

#[test]
fn an_answer_is_not_late_while_the_parent_reads_an_answer_of_the_same_worker() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    let hard = Some(Duration::from_secs(1));
    let key = sim.admit(JobOptions { hard, ..Simulation::default_options() });
    sim.start(0);
    let child = sim.workers[0].as_ref().unwrap().child;
    let task = sim.workers[0].as_ref().unwrap().running.unwrap();
    sim.misbehave(0, Misdeed::StopBeforeAnswer);
    sim.scheduler.set_being_read(child, true, sim.now);
    sim.run_for(Duration::from_secs(60));
    assert!(sim.killed.is_empty() && sim.answers.is_empty());
    sim.scheduler.set_being_read(child, false, sim.now);
    sim.deliver(0, task);
    assert_eq!(sim.answers[&key.id], Outcome::Value);
}

#[test]
fn a_task_that_cannot_be_sent_is_answered_and_its_worker_gets_the_next_one() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    let key = sim.admit(Simulation::default_options());
    let worker = sim.workers[0].as_mut().unwrap();
    let task = worker.inbox.pop_front().unwrap();
    let failure = Failure::from(Rejection::ShuttingDown);
    sim.scheduler.not_sendable(0, task.turn, failure.clone(), sim.now);
    sim.advance(Duration::ZERO);
    assert_eq!(sim.answers[&key.id], Outcome::Failure(failure));
    let next = sim.admit(Simulation::default_options());
    assert_eq!(sim.start(0), Some(next.id));
}

#[test]
fn only_an_answer_to_a_task_in_flight_is_expected() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    sim.admit(Simulation::default_options());
    sim.start(0);
    let worker = sim.workers[0].as_ref().unwrap();
    let (child, task) = (worker.child, worker.running.unwrap());
    let other = ChildId { generation: Generation::new(99), ..child };
    let check = |sim: &Simulation, child, turn, id, attempt| {
        sim.scheduler.check_answer(child, turn, id, attempt)
    };
    let (turn, id) = (task.turn, task.id);
    assert_eq!(check(&sim, child, turn, id, 1), AnswerCheck::Expected);
    for (child, turn, id, attempt) in [
        (other, turn, id, 1),
        (child, turn + 64, id, 1),
        (child, turn, id + 1, 1),
        (child, turn, id, 2),
    ] {
        assert_eq!(check(&sim, child, turn, id, attempt), AnswerCheck::Unexpected);
    }
    sim.finish(0);
    assert_eq!(check(&sim, child, turn, id, 1), AnswerCheck::Unexpected, "it is answered");
    sim.scheduler.link_broken(child, sim.now);
    assert_eq!(check(&sim, child, turn, id, 1), AnswerCheck::Late, "the worker is being killed");
}

#[test]
fn a_run_time_that_a_worker_reports_is_not_longer_than_the_parent_has_waited() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    sim.admit(Simulation::default_options());
    sim.start(0);
    sim.now = sim.now + Duration::from_millis(3);
    let worker = sim.workers[0].as_ref().unwrap();
    let (child, task) = (worker.child, worker.running.unwrap());
    let answered = sim.scheduler.answered(child, task.turn, task.id, 1, Duration::MAX, sim.now);
    assert_eq!(answered.unwrap().1.run_time, Duration::from_millis(3));
}

#[test]
fn a_worker_is_not_killed_if_it_starts_its_task_just_before_its_hard_limit_is_checked() {
    let mut sim = Simulation::new(100);
    sim.start_worker(0);
    let limited =
        sim.admit(JobOptions { hard: Some(UNRESPONSIVE_AFTER), ..Simulation::default_options() });
    sim.now = sim.now + UNRESPONSIVE_AFTER;
    sim.start(0);
    sim.advance(Duration::ZERO);
    assert!(sim.killed.is_empty());
    sim.finish(0);
    assert_eq!(sim.answers[&limited.id], Outcome::Value);
}
