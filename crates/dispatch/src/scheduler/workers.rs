//! The scheduler's view of the workers: which are idle, which tasks they have in flight, and which
//! are unresponsive.

use std::collections::VecDeque;
use std::time::Duration;

use actix_daemon::{ChildId, Pid};
use daemon_core::{MonotonicTime, Owner};

use super::{ANSWER_MAX, IN_FLIGHT_MAX, JobKey, LEAVE_MAX, WorkerKillReason};

/// Which of several idle workers receives a task, see
/// [`DispatcherBuilder::idle_order`](crate::DispatcherBuilder::idle_order).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdleOrder {
    /// The worker that became idle last. Its memory is most likely still in the processor's caches.
    /// If tasks come one at a time, one worker runs all of them.
    #[default]
    MostRecent,
    /// The worker that has been idle longest, as in `POE::Component::PreforkDispatch`. All workers
    /// run about the same number of tasks.
    LongestIdle,
}

/// A task that has been sent to a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    /// The number of this task among the tasks of its slot. It selects the task's claim cell in
    /// shared memory.
    pub(super) turn: u64,
    pub(super) key: JobKey,
    /// The expected run time, if it is known.
    estimate: Option<Duration>,
    pub(super) sent: MonotonicTime,
    /// When the task was started, if it was observed as started.
    pub(super) started: Option<MonotonicTime>,
    /// When the task was first observed as finished, while its answer was missing.
    finished: Option<MonotonicTime>,
}

/// What a worker does with a task, as far as the parent can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskProgress {
    /// The worker has not started the task, so the task can be revoked.
    NotStarted,
    /// The worker runs the task since this time.
    Started(MonotonicTime),
    /// The worker has finished the task, which was first observed at this time.
    Finished(MonotonicTime),
    /// The task's claim is damaged, so the worker cannot finish the task.
    Damaged,
}

impl InFlight {
    /// Combines the contents of the task's claim, which the worker can write, with what was
    /// observed before. A task that was observed as started is never regarded as not started again.
    /// A start time is not before the task was sent, and not after it was first observed.
    fn observe(&mut self, owner: Owner, now: MonotonicTime) -> TaskProgress {
        match (owner, self.started, self.finished) {
            (Owner::Sender, None, None) => TaskProgress::NotStarted,
            (Owner::Worker(_), Some(started), None) => TaskProgress::Started(started),
            (Owner::Worker(claimed), None, None) => {
                let started = claimed.min(now).max(self.sent);
                self.started = Some(started);
                TaskProgress::Started(started)
            }
            (Owner::Finished, _, _) => {
                self.started.get_or_insert(now);
                TaskProgress::Finished(*self.finished.get_or_insert(now))
            }
            (Owner::Sender | Owner::Worker(_) | Owner::Unknown, _, _) => {
                self.started.get_or_insert(now);
                TaskProgress::Damaged
            }
        }
    }

    /// Returns when the answer of a finished task must have arrived.
    pub(super) fn answer_due(&self) -> Option<MonotonicTime> {
        self.finished.map(|finished| finished + ANSWER_MAX)
    }

    /// Returns when the task reaches its hard limit, as far as is known now.
    pub(super) fn limit_at(
        &self,
        owner: Owner,
        limit: Duration,
        now: MonotonicTime,
    ) -> MonotonicTime {
        let started = self.started.unwrap_or(match owner {
            Owner::Worker(claimed) => claimed.min(now).max(self.sent),
            Owner::Sender | Owner::Finished | Owner::Unknown => now,
        });
        started + limit
    }
}

/// Whether a worker runs tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerState {
    /// The worker has been forked and has not reported that it is ready.
    Starting,
    /// The worker accepts tasks.
    Active,
    /// The worker finishes the task that it has started, and accepts no further tasks.
    Draining,
    /// The worker is being killed.
    BeingKilled,
}

#[derive(Debug)]
struct WorkerRecord {
    child: ChildId,
    pid: Pid,
    state: WorkerState,
    /// The tasks that were sent to the worker and not answered yet, in the order in which they are
    /// run.
    in_flight: VecDeque<InFlight>,
    /// When the oldest task in flight became the oldest.
    oldest_since: MonotonicTime,
    expected_load: Duration,
    /// The number of tasks in flight whose run time is not known.
    without_estimate: usize,
    has_recently_answered: bool,
    /// Whether the worker did not start a task in time. It then gets tasks only if no other worker
    /// is idle.
    is_unresponsive: bool,
    /// When and why the worker is killed if it does not do before what it must do next.
    deadline: Option<(MonotonicTime, WorkerKillReason)>,
    /// When the worker is killed if it has not completed the message that it has begun.
    message_due: Option<MonotonicTime>,
    /// Whether the parent reads an answer that has arrived. Meanwhile the other answers wait, so
    /// they cannot be late.
    is_being_read: bool,
}

impl WorkerRecord {
    /// Kills the worker at this time, unless it is killed earlier.
    fn require(&mut self, at: MonotonicTime, reason: WorkerKillReason) {
        if self.deadline.is_none_or(|(before, _reason)| at < before) {
            self.deadline = Some((at, reason));
        }
    }

    /// Returns whether tasks wait behind the oldest task. A task that was observed as started does
    /// not wait.
    fn has_waiting_tasks(&self) -> bool {
        self.in_flight.iter().skip(1).any(|sent| sent.started.is_none())
    }

    fn is_message_overdue(&self, now: MonotonicTime) -> bool {
        self.message_due.is_some_and(|due| due <= now)
    }

    fn add(&mut self, sent: InFlight, now: MonotonicTime) {
        if self.in_flight.is_empty() {
            self.oldest_since = now;
        }
        match sent.estimate {
            Some(estimate) => {
                // Workers report the run times that estimates are made of.
                self.expected_load = self.expected_load.saturating_add(estimate);
            }
            None => self.without_estimate += 1,
        }
        self.in_flight.push_back(sent);
    }

    fn remove(&mut self, turn: u64) -> Option<InFlight> {
        let at = self.in_flight.iter().position(|sent| sent.turn == turn)?;
        let sent = self.in_flight.remove(at)?;
        match sent.estimate {
            Some(estimate) => self.expected_load = self.expected_load.saturating_sub(estimate),
            None => self.without_estimate = self.without_estimate.saturating_sub(1),
        }
        Some(sent)
    }
}

/// All workers, indexed by slot.
#[derive(Debug)]
pub(super) struct WorkerTable {
    slots: Vec<Option<WorkerRecord>>,
    /// The turn of the next task in each slot. Turns are not reused by a later worker in the slot.
    next_turn: Vec<u64>,
    /// Slots of idle workers, the longest idle first.
    idle: VecDeque<usize>,
    idle_order: IdleOrder,
    recently_answered: Vec<usize>,
    /// The number of active workers.
    active: usize,
    /// The number of tasks in flight that are not their worker's oldest.
    ahead: usize,
    /// The number of unresponsive workers.
    unresponsive: usize,
}

impl WorkerTable {
    pub(super) fn new(slots: usize, idle_order: IdleOrder) -> WorkerTable {
        WorkerTable {
            slots: (0..slots).map(|_slot| None).collect(),
            next_turn: vec![1; slots],
            idle: VecDeque::new(),
            idle_order,
            recently_answered: Vec::new(),
            active: 0,
            ahead: 0,
            unresponsive: 0,
        }
    }

    fn get(&self, slot: usize) -> Option<&WorkerRecord> {
        self.slots.get(slot)?.as_ref()
    }

    fn get_mut(&mut self, slot: usize) -> Option<&mut WorkerRecord> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Adds a worker that has been forked. It must be ready at `ready_by`. Does nothing if the slot
    /// is not free, because the exit of its former worker has not been reported yet.
    pub(super) fn forked(
        &mut self,
        child: ChildId,
        pid: Pid,
        ready_by: MonotonicTime,
        now: MonotonicTime,
    ) {
        let Some(entry) = self.slots.get_mut(child.slot.index()) else { return };
        if entry.is_some() {
            return;
        }
        *entry = Some(WorkerRecord {
            child,
            pid,
            state: WorkerState::Starting,
            in_flight: VecDeque::new(),
            oldest_since: now,
            expected_load: Duration::ZERO,
            without_estimate: 0,
            has_recently_answered: false,
            is_unresponsive: false,
            deadline: Some((ready_by, WorkerKillReason::NotReady)),
            message_due: None,
            is_being_read: false,
        });
    }

    /// Handles a worker that accepts tasks.
    pub(super) fn ready(&mut self, child: ChildId) {
        let slot = child.slot.index();
        let Some(worker) = self.get_mut(slot).filter(|worker| worker.child == child) else {
            return;
        };
        if worker.state == WorkerState::Starting {
            (worker.state, worker.deadline) = (WorkerState::Active, None);
            self.active += 1;
            self.idle.push_back(slot);
        }
    }

    fn set_state(&mut self, slot: usize, state: WorkerState) {
        let Some(worker) = self.get_mut(slot) else { return };
        let before = std::mem::replace(&mut worker.state, state);
        if before == WorkerState::Active {
            self.active -= 1;
            self.idle.retain(|idle| *idle != slot);
        }
    }

    pub(super) fn drain(&mut self, slot: usize, now: MonotonicTime) {
        match self.get(slot).map(|worker| worker.state) {
            Some(WorkerState::Starting | WorkerState::Active) => {
                self.set_state(slot, WorkerState::Draining);
                self.expect_exit(slot, now);
            }
            Some(WorkerState::Draining | WorkerState::BeingKilled) | None => {}
        }
    }

    /// Sets the time at which a draining worker must have exited, if it has no tasks.
    fn expect_exit(&mut self, slot: usize, now: MonotonicTime) {
        let Some(worker) = self.get_mut(slot) else { return };
        if worker.state == WorkerState::Draining && worker.in_flight.is_empty() {
            worker.require(now + LEAVE_MAX, WorkerKillReason::NotLeft);
        }
    }

    /// Kills a draining worker at this time if it has not exited.
    pub(super) fn require_exit(
        &mut self,
        slot: usize,
        at: MonotonicTime,
        reason: WorkerKillReason,
    ) {
        let Some(worker) = self.get_mut(slot) else { return };
        match worker.state {
            WorkerState::Draining => worker.require(at, reason),
            WorkerState::Starting | WorkerState::Active | WorkerState::BeingKilled => {}
        }
    }

    /// Sets or clears the time at which the worker must have completed its message.
    pub(super) fn set_message_due(&mut self, slot: usize, due: Option<MonotonicTime>) {
        if let Some(worker) = self.get_mut(slot) {
            worker.message_due = due;
        }
    }

    /// Sets whether the parent reads an answer of the worker.
    pub(super) fn set_being_read(&mut self, slot: usize, is_being_read: bool) {
        let Some(worker) = self.get_mut(slot) else { return };
        worker.is_being_read = is_being_read;
        for sent in &mut worker.in_flight {
            // The answers that waited have their full time again.
            sent.finished = None;
        }
    }

    /// Marks a worker as being killed. Returns its pid if it was not marked before.
    pub(super) fn mark_killed(&mut self, slot: usize) -> Option<Pid> {
        let worker = self.get(slot)?;
        let (pid, state) = (worker.pid, worker.state);
        self.set_state(slot, WorkerState::BeingKilled);
        if let Some(worker) = self.get_mut(slot) {
            (worker.deadline, worker.message_due) = (None, None);
        }
        (state != WorkerState::BeingKilled).then_some(pid)
    }

    /// Observes a task in flight. Returns `None` if the worker does not have the task.
    pub(super) fn observe(
        &mut self,
        slot: usize,
        turn: u64,
        owner: Owner,
        now: MonotonicTime,
    ) -> Option<TaskProgress> {
        let in_flight = &mut self.get_mut(slot)?.in_flight;
        Some(in_flight.iter_mut().find(|sent| sent.turn == turn)?.observe(owner, now))
    }

    /// Records that a task in flight could not be revoked, so the worker has started it.
    pub(super) fn note_started(
        &mut self,
        slot: usize,
        turn: u64,
        owner: Owner,
        now: MonotonicTime,
    ) {
        let Some(worker) = self.get_mut(slot) else { return };
        if let Some(sent) = worker.in_flight.iter_mut().find(|sent| sent.turn == turn)
            && sent.observe(owner, now) == TaskProgress::NotStarted
        {
            sent.started = Some(now);
        }
    }

    /// Returns why a worker must be killed now, apart from its tasks.
    pub(super) fn overdue(&self, slot: usize, now: MonotonicTime) -> Option<WorkerKillReason> {
        let worker = self.get(slot)?;
        if worker.is_message_overdue(now) {
            return Some(WorkerKillReason::UnfinishedMessage);
        }
        worker.deadline.filter(|(at, _reason)| *at <= now).map(|(_at, reason)| reason)
    }

    /// Returns the workers that are about to be killed because a message is missing. The message
    /// may have arrived without having been read.
    pub(super) fn with_overdue_messages(&self, now: MonotonicTime) -> Vec<ChildId> {
        let is_overdue = |(_slot, worker): &(usize, &WorkerRecord)| {
            let deadline = worker.deadline.is_some_and(|(at, _reason)| at <= now);
            let mut missing = worker.in_flight.iter().filter_map(InFlight::answer_due);
            deadline || worker.is_message_overdue(now) || missing.any(|due| due <= now)
        };
        self.all().filter(is_overdue).map(|(_slot, worker)| worker.child).collect()
    }

    /// Returns whether the answer of this observed task may be missing: the parent does not read
    /// another answer of the worker.
    pub(super) fn is_being_read(&self, slot: usize) -> bool {
        self.get(slot).is_some_and(|worker| worker.is_being_read)
    }

    /// Returns the earliest time at which something that the worker owes is overdue, apart from
    /// time limits of its tasks.
    pub(super) fn due(&self, slot: usize) -> Option<MonotonicTime> {
        let worker = self.get(slot)?;
        let answers = match (worker.is_being_read, worker.state) {
            (true, _) | (_, WorkerState::BeingKilled) => None,
            (false, WorkerState::Starting | WorkerState::Active | WorkerState::Draining) => {
                // A worker answers in order. Other finished tasks are looked at once a second.
                worker.in_flight.front().and_then(InFlight::answer_due)
            }
        };
        let deadline = worker.deadline.map(|(at, _reason)| at);
        deadline.into_iter().chain(worker.message_due).chain(answers).min()
    }

    /// Removes a worker that has exited. Returns its tasks in flight, the oldest first.
    pub(super) fn remove(&mut self, child: ChildId) -> Option<VecDeque<InFlight>> {
        let slot = child.slot.index();
        if self.get(slot)?.child != child {
            return None;
        }
        self.set_state(slot, WorkerState::Draining);
        self.set_unresponsive(slot, false);
        let in_flight = self.slots.get_mut(slot)?.take()?.in_flight;
        self.ahead -= in_flight.len().saturating_sub(1);
        Some(in_flight)
    }

    /// Removes a task that the worker has answered.
    pub(super) fn complete(
        &mut self,
        slot: usize,
        turn: u64,
        now: MonotonicTime,
    ) -> Option<JobKey> {
        let key = self.take_out(slot, turn, now)?;
        if let Some(worker) = self.get_mut(slot) {
            worker.oldest_since = now;
        }
        self.set_unresponsive(slot, false);
        self.record_answer(slot);
        Some(key)
    }

    /// Records that the worker has answered since the last assignment.
    pub(super) fn record_answer(&mut self, slot: usize) {
        let Some(worker) = self.get_mut(slot) else { return };
        if !std::mem::replace(&mut worker.has_recently_answered, true) {
            self.recently_answered.push(slot);
        }
    }

    /// Removes a task in flight. A worker without tasks becomes idle.
    pub(super) fn take_out(
        &mut self,
        slot: usize,
        turn: u64,
        now: MonotonicTime,
    ) -> Option<JobKey> {
        let worker = self.get_mut(slot)?;
        let sent = worker.remove(turn)?;
        let (state, is_empty) = (worker.state, worker.in_flight.is_empty());
        match state {
            _any if !is_empty => self.ahead -= 1,
            WorkerState::Active => self.idle.push_back(slot),
            WorkerState::Draining => self.expect_exit(slot, now),
            WorkerState::Starting | WorkerState::BeingKilled => {}
        }
        Some(sent.key)
    }

    /// Adds a task in flight. Returns its turn and the worker's pid.
    pub(super) fn add(
        &mut self,
        slot: usize,
        key: JobKey,
        estimate: Option<Duration>,
        now: MonotonicTime,
    ) -> Option<(u64, Pid)> {
        let mut turn = *self.next_turn.get(slot)?;
        let worker = self.get_mut(slot)?;
        // Skip turns whose claim cell is used by a task in flight. A task can still be in flight
        // when the turns reach its cell again, if the tasks that were sent after it were revoked.
        let cell = |turn: u64| turn % IN_FLIGHT_MAX as u64;
        while worker.in_flight.iter().any(|sent| cell(sent.turn) == cell(turn)) {
            turn += 1;
        }
        let was_idle = worker.in_flight.is_empty();
        let (started, finished) = (None, None);
        worker.add(InFlight { turn, key, estimate, sent: now, started, finished }, now);
        let pid = worker.pid;
        if let Some(next) = self.next_turn.get_mut(slot) {
            *next = turn + 1;
        }
        if was_idle {
            if self.idle.back() == Some(&slot) {
                self.idle.pop_back();
            } else if self.idle.front() == Some(&slot) {
                self.idle.pop_front();
            } else {
                self.idle.retain(|idle| *idle != slot);
            }
        } else {
            self.ahead += 1;
        }
        Some((turn, pid))
    }

    /// Returns the slot of the idle worker that receives the next task. An unresponsive worker is
    /// returned only if no other worker is idle.
    pub(super) fn next_idle(&self) -> Option<usize> {
        let is_responsive = |slot: &&usize| !self.is_unresponsive(**slot);
        let idle = &self.idle;
        match self.idle_order {
            IdleOrder::MostRecent => idle.iter().rev().find(is_responsive).or(idle.back()),
            IdleOrder::LongestIdle => idle.iter().find(is_responsive).or(idle.front()),
        }
        .copied()
    }

    fn set_unresponsive(&mut self, slot: usize, is_unresponsive: bool) {
        let Some(worker) = self.get_mut(slot) else { return };
        match (std::mem::replace(&mut worker.is_unresponsive, is_unresponsive), is_unresponsive) {
            (false, true) => self.unresponsive += 1,
            (true, false) => self.unresponsive -= 1,
            (false, false) | (true, true) => {}
        }
    }

    /// Marks a worker as unresponsive, because it did not start its task in time.
    pub(super) fn mark_unresponsive(&mut self, slot: usize) {
        self.set_unresponsive(slot, true);
    }

    pub(super) fn is_unresponsive(&self, slot: usize) -> bool {
        self.get(slot).is_some_and(|worker| worker.is_unresponsive)
    }

    pub(super) fn find(&self, slot: usize, turn: u64) -> Option<&InFlight> {
        self.get(slot)?.in_flight.iter().find(|sent| sent.turn == turn)
    }

    pub(super) fn in_flight(&self, slot: usize) -> Vec<InFlight> {
        self.get(slot).map(|worker| worker.in_flight.iter().copied().collect()).unwrap_or_default()
    }

    pub(super) fn oldest(&self, slot: usize) -> Option<InFlight> {
        self.get(slot)?.in_flight.front().copied()
    }

    /// Returns whether a task behind this one was observed as started.
    pub(super) fn has_started_later(&self, slot: usize, turn: u64) -> bool {
        let Some(worker) = self.get(slot) else { return false };
        let mut later = worker.in_flight.iter().skip_while(|sent| sent.turn != turn).skip(1);
        later.any(|sent| sent.started.is_some())
    }

    pub(super) fn is_oldest(&self, slot: usize, turn: u64) -> bool {
        self.oldest(slot).is_some_and(|oldest| oldest.turn == turn)
    }

    pub(super) fn in_flight_count(&self, slot: usize) -> usize {
        self.get(slot).map_or(0, |worker| worker.in_flight.len())
    }

    /// Returns the expected run time of all tasks in flight at a worker. Returns `None` if the time
    /// is not known or the worker accepts no tasks.
    pub(super) fn expected_load(&self, slot: usize) -> Option<Duration> {
        let worker = self.get(slot)?;
        (worker.without_estimate == 0 && worker.state == WorkerState::Active)
            .then_some(worker.expected_load)
    }

    /// Returns the number of active workers.
    pub(super) fn count(&self) -> usize {
        self.active
    }

    pub(super) fn child(&self, slot: usize) -> Option<ChildId> {
        self.get(slot).map(|worker| worker.child)
    }

    /// Returns two pairs of the number of tasks sent ahead and the number of unresponsive workers.
    /// The first pair was counted incrementally, the second pair is counted now.
    #[cfg(test)]
    pub(super) fn counts(&self) -> [(usize, usize); 2] {
        let extra = |(_, worker): (usize, &WorkerRecord)| worker.in_flight.len().saturating_sub(1);
        let unresponsive = self.all().filter(|(_, worker)| worker.is_unresponsive);
        [(self.ahead, self.unresponsive), (self.all().map(extra).sum(), unresponsive.count())]
    }

    pub(super) fn state(&self, slot: usize) -> Option<WorkerState> {
        self.get(slot).map(|worker| worker.state)
    }

    pub(super) fn slots(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|slot| self.get(*slot).is_some()).collect()
    }

    fn all(&self) -> impl Iterator<Item = (usize, &WorkerRecord)> {
        let all = self.slots.iter().enumerate();
        all.filter_map(|(slot, entry)| entry.as_ref().map(|worker| (slot, worker)))
    }

    /// Returns each worker's oldest task in flight, and all other tasks of the workers whose oldest
    /// task has been the oldest for at least `limit`.
    pub(super) fn to_check(&self, now: MonotonicTime, limit: Duration) -> Vec<(usize, InFlight)> {
        let tasks = self.all().flat_map(|(slot, worker)| {
            let is_stalled = now.saturating_since(worker.oldest_since) >= limit;
            let count = if is_stalled { IN_FLIGHT_MAX } else { 1 };
            worker.in_flight.iter().take(count).map(move |sent| (slot, *sent))
        });
        tasks.collect()
    }

    /// Returns the tasks in flight that are not their worker's oldest, in the order of their ids.
    /// Visits no worker if there are no such tasks.
    pub(super) fn sent_ahead(&self) -> Vec<(usize, InFlight)> {
        if self.ahead == 0 { Vec::new() } else { self.sent(|_any| 1) }
    }

    /// Returns the tasks in flight at unresponsive workers, in the order of their ids. Visits no
    /// worker if no worker is unresponsive.
    pub(super) fn sent_to_unresponsive(&self) -> Vec<(usize, InFlight)> {
        let from = |worker: &WorkerRecord| if worker.is_unresponsive { 0 } else { IN_FLIGHT_MAX };
        if self.unresponsive == 0 { Vec::new() } else { self.sent(from) }
    }

    /// Returns the tasks in flight at all workers, except the first `from(worker)` tasks of each
    /// worker, in the order of their ids.
    fn sent(&self, from: impl Fn(&WorkerRecord) -> usize) -> Vec<(usize, InFlight)> {
        let tasks = self.all().flat_map(|(slot, worker)| {
            worker.in_flight.iter().skip(from(worker)).map(move |sent| (slot, *sent))
        });
        let mut sent: Vec<(usize, InFlight)> = tasks.collect();
        sent.sort_by_key(|(_slot, sent)| sent.key.id);
        sent
    }

    /// Returns the time since a worker's oldest task in flight became the oldest.
    pub(super) fn oldest_for(&self, slot: usize, now: MonotonicTime) -> Duration {
        self.get(slot).map_or(Duration::ZERO, |worker| now.saturating_since(worker.oldest_since))
    }

    /// Returns the slots of workers whose oldest task has been the oldest for at least `limit`,
    /// while other tasks wait behind it.
    pub(super) fn stalled(&self, now: MonotonicTime, limit: Duration) -> Vec<usize> {
        let is_stalled = |worker: &WorkerRecord| {
            worker.has_waiting_tasks() && now.saturating_since(worker.oldest_since) >= limit
        };
        self.all().filter(|(_, worker)| is_stalled(worker)).map(|(slot, _)| slot).collect()
    }

    /// Returns when this worker's oldest task will have been the oldest for `limit`. Returns `None`
    /// if no other task waits behind it.
    pub(super) fn stalled_at(&self, slot: usize, limit: Duration) -> Option<MonotonicTime> {
        self.get(slot)
            .filter(|worker| worker.has_waiting_tasks())
            .map(|worker| worker.oldest_since + limit)
    }

    /// Returns and clears the slots of the workers that have answered since the last call.
    pub(super) fn take_recently_answered(&mut self) -> Vec<usize> {
        let recently_answered = std::mem::take(&mut self.recently_answered);
        for slot in &recently_answered {
            if let Some(worker) = self.get_mut(*slot) {
                worker.has_recently_answered = false;
            }
        }
        recently_answered
    }

    /// Takes back the list that [`take_recently_answered`](Self::take_recently_answered) returned,
    /// to reuse its allocation. The caller has emptied the list.
    pub(super) fn return_buffer(&mut self, empty: Vec<usize>) {
        if self.recently_answered.is_empty() {
            self.recently_answered = empty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_progress_of_a_task_follows_from_its_claim_and_from_what_was_observed_before() {
        use TaskProgress::{Damaged, Finished, NotStarted, Started};
        let worker = |seconds| Owner::Worker(at(seconds));
        // The task is sent at 10 s and observed at 20 s, 21 s and so on.
        let table: [(&[Owner], TaskProgress); 12] = [
            (&[Owner::Sender], NotStarted),
            (&[Owner::Sender, Owner::Sender], NotStarted),
            (&[worker(15)], Started(at(15))),
            (&[worker(0)], Started(at(10))),
            (&[worker(9999)], Started(at(20))),
            (&[worker(9999), worker(8888)], Started(at(20))),
            (&[worker(15), worker(20), worker(20)], Started(at(15))),
            (&[worker(15), Owner::Finished, Owner::Finished], Finished(at(21))),
            (&[worker(15), Owner::Sender], Damaged),
            (&[Owner::Finished, Owner::Sender], Damaged),
            (&[Owner::Finished, worker(15)], Damaged),
            (&[Owner::Unknown], Damaged),
        ];
        for (owners, expected) in table {
            let key = JobKey { index: 0, id: 1 };
            let (started, finished, estimate) = (None, None, None);
            let mut task = InFlight { turn: 1, key, estimate, sent: at(10), started, finished };
            let observed = (20..).zip(owners).map(|(now, owner)| task.observe(*owner, at(now)));
            assert_eq!(observed.last(), Some(expected), "{owners:?}");
        }
    }
}
