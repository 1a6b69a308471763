//! Forks and retires children while the daemon runs.

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
    /// Forks and retires children as the rules of the model decide.
    pub(super) fn adjust_pool(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        if let Some(until) = self.backoff.blocked_until(now) {
            if until > self.backoff_reported_until {
                self.backoff_reported_until = until;
                self.events.extend(self.backoff.state(now).map(SupervisorEvent::ForkBackoff));
            }
            self.retry = Some(until);
            return;
        }
        match &mut self.strategy {
            Strategy::PostFork(_) => self.fork_for_pending(processes, now),
            Strategy::PreFork { sizing, request_factory } => {
                let request_factory = request_factory.clone();
                let decision = sizing.decide(self.registry.counts(), now);
                let PoolDecision { fork, retire, recheck_at } = decision;
                let (max_children, min_idle) = (sizing.max_children(), sizing.min_idle());
                self.recheck_at = recheck_at;
                let counts = self.registry.counts();
                let starting = counts.starting();
                // A starting pool also forks replacements for initial children that have failed.
                let missing = match self.phase {
                    Phase::Starting => self.initial.saturating_sub(self.ready + starting),
                    Phase::Running | Phase::Stopping | Phase::Stopped => 0,
                };
                let room = max_children.saturating_sub(counts.children());
                let fork = self.backoff.allowed_forks(fork.max(missing.min(room)), starting, now);
                self.fork_children(fork, &request_factory, processes, now);
                self.retire(retire, processes);
                self.check_max_children(max_children, min_idle, now);
                self.continue_reload(&request_factory, max_children, processes, now);
            }
        }
    }

    /// Requests the forks of this many children. Stops at the first error. Returns the number of
    /// forks that were requested.
    pub(super) fn fork_children(
        &mut self,
        children: u32,
        request_factory: &SharedRequestFactory<R>,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> u32 {
        for requested in 0..children {
            let request = match request_factory.make_request() {
                Ok(request) => request,
                Err(error) => {
                    let reason = format!("cannot make the request of a new child: {error}");
                    self.events.push(SupervisorEvent::ForkFailed(reason));
                    self.backoff.fork_failed(FailureReason::NotAttempted, now);
                    self.retry = self.backoff.blocked_until(now);
                    return requested;
                }
            };
            match processes.fork(request) {
                Ok(child) => {
                    self.registry.add(child, self.reload.generation(), now);
                    request_factory.fork_requested(child);
                }
                Err(error) => {
                    self.events.push(SupervisorEvent::ForkFailed(error.reason.to_string()));
                    return requested;
                }
            }
        }
        children
    }

    /// Retires this many idle children, starting with those that have been idle longest.
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

    /// Asks a child to exit after its current request. The child then counts as leaving.
    pub(super) fn stop_child(
        &mut self,
        child: ChildId,
        reason: StopReason,
        processes: &mut impl ProcessControl<R>,
    ) {
        self.registry.mark_stopping(child, reason);
        processes.signal(child, Signal::Term);
    }

    /// Carries out all steps of a reload that are possible now.
    pub(super) fn continue_reload(
        &mut self,
        request_factory: &SharedRequestFactory<R>,
        max_children: u32,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        loop {
            match self.reload.next_step(&self.registry, max_children) {
                ReloadStep::Fork(children) => {
                    let starting = self.registry.counts().starting();
                    let allowed = self.backoff.allowed_forks(children, starting, now);
                    // If only some of the forks were requested, the next event continues the
                    // reload.
                    if self.fork_children(allowed, request_factory, processes, now) < children {
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

    /// If the pool is at its maximum and has too few idle children, counts and reports this.
    pub(super) fn check_max_children(
        &mut self,
        max_children: u32,
        min_idle: u32,
        now: MonotonicTime,
    ) {
        let counts = self.registry.counts();
        let spare = counts.idle() + counts.starting();
        let short = counts.children() >= max_children && spare < min_idle;
        match (short, self.max_children_reported) {
            (true, false) => {
                self.counters.max_children_reached += 1;
                self.max_children_reported = true;
                match &self.strategy {
                    // A pool that is sized by demand belongs to a dispatcher, for which it is
                    // normal that all children are busy. Therefore no event is emitted.
                    Strategy::PreFork { sizing: Sizing::Demand { .. }, .. } => {}
                    Strategy::PreFork { sizing: Sizing::Spares(_), .. } | Strategy::PostFork(_) => {
                        self.emit_max_children_reached(max_children, spare, min_idle, now);
                    }
                }
            }
            (false, true) if counts.children() < max_children => self.max_children_reported = false,
            (true, true) | (false, _) => {}
        }
    }

    /// Emits [`SupervisorEvent::MaxChildrenReached`], but throttled, because a pool under load can
    /// reach its maximum many times a minute.
    pub(super) fn emit_max_children_reached(
        &mut self,
        max_children: u32,
        spare: u32,
        min_spare: u32,
        now: MonotonicTime,
    ) {
        if self.max_children_log.should_log(now) {
            self.events.push(SupervisorEvent::MaxChildrenReached {
                max_children,
                spare,
                min_spare,
            });
        }
    }

    /// Requests forks for the waiting requests.
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
            // After a failure, a single child tests whether forks succeed again.
            if self.backoff.allowed_forks(1, counts.starting(), now) == 0 {
                return;
            }
            let Some(pending) = backlog.pop(counts.children()) else {
                return;
            };
            let PendingRequest { request, reply, turn } = pending;
            match processes.fork(request) {
                Ok(child) => {
                    self.registry.add(child, 0, now);
                    backlog.fork_requested(child, reply, turn);
                }
                Err(error) => {
                    self.events.push(SupervisorEvent::ForkFailed(error.reason.to_string()));
                    if backlog.on_fork_error(error, reply, turn) == ForkLoop::Stop {
                        return;
                    }
                }
            }
        }
    }

    /// Moves from `Starting` to `Running` when the initial children are ready. Fails the start if
    /// they are not ready in time.
    pub(super) fn check_boot(&mut self, now: MonotonicTime) {
        if self.phase != Phase::Starting {
            return;
        }
        if self.ready >= self.initial {
            self.phase = Phase::Running;
            self.events.push(SupervisorEvent::Ready);
        } else if now >= self.boot_deadline {
            let reason = format!(
                "the initial children did not become ready in time: {} of {} are ready",
                self.ready, self.initial
            );
            self.start_failure.get_or_insert(reason);
            self.boot_deadline = now + Duration::from_secs(3600);
        }
    }
}
