//! Who is forked and who is retired, while the household lives.

use std::time::Duration;

use daemon_core::{FailureReason, MonotonicTime, Phase, PoolDecision, StopReason};
use daemon_forkserver::ChildId;
use daemon_sys::process::Signal;

use super::{Strategy, Supervisor, SupervisorEvent};
use crate::dispatching::SharedRequestFactory;
use crate::parent::backlog::{ForkLoop, PendingRequest};
use crate::parent::process_control::ProcessControl;
use crate::parent::reload::ReloadStep;
use crate::parent::sizing::Sizing;

impl<R: 'static> Supervisor<R> {
    pub(super) fn adjust_pool(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        if let Some(until) = self.backoff.blocked_until(now) {
            if until > self.backoff_reported_until {
                self.backoff_reported_until = until;
                self.events.push(SupervisorEvent::ForkBackoff(until.saturating_since(now)));
            }
            self.retry = Some(until);
            return;
        }
        match &mut self.strategy {
            Strategy::PostFork(_) => self.fork_for_pending(processes, now),
            Strategy::PreFork { sizing, request_factory } => {
                let request_factory = request_factory.clone();
                let verdict = sizing.decide(self.registry.counts(), now);
                let PoolDecision { fork, retire, recheck_at } = verdict;
                let (most, least) = (sizing.max_children(), sizing.min_idle());
                self.recheck_at = recheck_at;
                let counts = self.registry.counts();
                let starting = counts.starting();
                // A pool that starts is owed its first children, also those that failed to come.
                let owed = match self.phase {
                    Phase::Starting => self.initial.saturating_sub(self.ready + starting),
                    Phase::Running | Phase::Stopping | Phase::Stopped => 0,
                };
                let room = most.saturating_sub(counts.children());
                let fork = self.backoff.allowed_forks(fork.max(owed.min(room)), starting, now);
                self.order(fork, &request_factory, processes, now);
                self.retire(retire, processes);
                self.check_max_children(most, least, now);
                self.roll(&request_factory, most, processes, now);
            }
        }
    }

    /// Orders children, and answers how many it could.
    pub(super) fn order(
        &mut self,
        children: u32,
        request_factory: &SharedRequestFactory<R>,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> u32 {
        for ordered in 0..children {
            let request = match request_factory.make_request() {
                Ok(request) => request,
                Err(error) => {
                    let why = format!("cannot make what a child is born with: {error}");
                    self.events.push(SupervisorEvent::ForkFailed(why));
                    self.backoff.fork_failed(FailureReason::NotAttempted, now);
                    self.retry = self.backoff.blocked_until(now);
                    return ordered;
                }
            };
            match processes.fork(request) {
                Ok(child) => {
                    self.registry.ordered(child, self.reloaded.reload_generation(), now);
                    request_factory.fork_requested(child);
                }
                Err(unforked) => {
                    self.events.push(SupervisorEvent::ForkFailed(unforked.reason.to_string()));
                    return ordered;
                }
            }
        }
        children
    }

    pub(super) fn retire(&mut self, children: u32, processes: &mut impl ProcessControl<R>) {
        if children == 0 {
            return;
        }
        for child in
            self.registry.longest_idle(processes.board()).into_iter().take(children as usize)
        {
            self.stop_child(child, StopReason::Retired, processes);
        }
    }

    /// Has a child leave after the request in hand; from now on it counts as leaving.
    pub(super) fn stop_child(
        &mut self,
        child: ChildId,
        why: StopReason,
        processes: &mut impl ProcessControl<R>,
    ) {
        self.registry.mark_stopping(child, why);
        processes.signal(child, Signal::Term);
    }

    /// A reload goes on, turn by turn.
    pub(super) fn roll(
        &mut self,
        request_factory: &SharedRequestFactory<R>,
        most: u32,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        loop {
            match self.reloaded.step(&self.registry, most) {
                ReloadStep::Fork(children) => {
                    let starting = self.registry.counts().starting();
                    let allowed = self.backoff.allowed_forks(children, starting, now);
                    // Less than asked for: the next event goes on from there.
                    if self.order(allowed, request_factory, processes, now) < children {
                        return;
                    }
                }
                ReloadStep::Retire(children) => {
                    for child in children {
                        self.stop_child(child, StopReason::Retired, processes);
                    }
                }
                ReloadStep::Done => {
                    self.events.push(SupervisorEvent::ReloadFinished);
                    return;
                }
                ReloadStep::Nothing => return,
            }
        }
    }

    /// Tells that the pool is as large as may be, and too small.
    pub(super) fn check_max_children(&mut self, most: u32, least: u32, now: MonotonicTime) {
        let counts = self.registry.counts();
        let spare = counts.idle() + counts.starting();
        let short = counts.children() >= most && spare < least;
        match (short, self.max_children_reported) {
            (true, false) => {
                self.counters.max_children_reached += 1;
                self.max_children_reported = true;
                match &self.strategy {
                    // Who asks for children has said how many there may be, and knows who is busy:
                    // that none is left is an ordinary state.
                    Strategy::PreFork { sizing: Sizing::Demand { .. }, .. } => {}
                    Strategy::PreFork { sizing: Sizing::Spares(_), .. } | Strategy::PostFork(_) => {
                        self.emit_max_children_reached(most, spare, least, now);
                    }
                }
            }
            (false, true) if counts.children() < most => self.max_children_reported = false,
            (true, true) | (false, _) => {}
        }
    }

    /// On a busy day it comes and goes all the time: the log is told of it as of one thing.
    pub(super) fn emit_max_children_reached(
        &mut self,
        most: u32,
        spare: u32,
        min_spare: u32,
        now: MonotonicTime,
    ) {
        if self.full.should_log(now) {
            self.events.push(SupervisorEvent::MaxChildrenReached { most, spare, min_spare });
        }
    }

    pub(super) fn fork_for_pending(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let Strategy::PostFork(backlog) = &mut self.strategy else {
            return;
        };
        loop {
            let counts = self.registry.counts();
            // After a failure one child tries out whether forks succeed again.
            if self.backoff.allowed_forks(1, counts.starting(), now) == 0 {
                return;
            }
            let Some(pending) = backlog.next(counts.children()) else {
                return;
            };
            let PendingRequest { request, reply, turn } = pending;
            match processes.fork(request) {
                Ok(child) => {
                    self.registry.ordered(child, 0, now);
                    backlog.ordered(child, reply, turn);
                }
                Err(unforked) => {
                    self.events.push(SupervisorEvent::ForkFailed(unforked.reason.to_string()));
                    if backlog.on_fork_error(unforked, reply, turn) == ForkLoop::Stop {
                        return;
                    }
                }
            }
        }
    }

    /// Goes from Starting to Running once the initial children are up.
    pub(super) fn check_boot(&mut self, now: MonotonicTime) {
        if self.phase != Phase::Starting {
            return;
        }
        if self.ready >= self.initial {
            self.phase = Phase::Running;
            self.events.push(SupervisorEvent::Ready);
        } else if now >= self.boot_deadline {
            let why = format!(
                "the initial children are not up in time: {} of {} are ready",
                self.ready, self.initial
            );
            self.not_ready.get_or_insert(why);
            self.boot_deadline = now + Duration::from_secs(3600);
        }
    }
}
