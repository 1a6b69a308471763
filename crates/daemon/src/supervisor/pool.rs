//! How many children a pool has: its size, its growth and shrinking, and the rolling replacement of
//! its children.

use daemon_core::{
    Counts, DemandScaler, FailureReason, MonotonicTime, Pool, PoolDecision, Resize, RollingReplace,
    RollingStep, StatusKind, StopReason, default_max_unavailable,
};
use daemon_forkserver::ChildId;
use daemon_sys::process::Signal;

use super::backlog::PendingRequest;
use super::children::{LastRequest, Registry};
use super::{Effect, ProcessControl, Strategy, Supervisor};
use crate::events::DaemonEvent;
use crate::messages::{CommandError, DaemonReload, ReloadStarted, Resized};
use crate::model::SharedRequestFactory;

/// The rule for the size of a pool.
#[derive(Debug)]
pub(crate) enum Sizing {
    /// Keeps the number of spare children between two limits.
    Spares(Pool),
    /// Grows the pool with the number of tasks that wait for a child.
    Demand {
        /// Decides how many children to fork and to retire.
        scaler: DemandScaler,
        /// The last reported number of tasks that wait for a child.
        queue_depth: u32,
    },
}

impl Sizing {
    pub(crate) fn decide(&mut self, counts: &Counts, now: MonotonicTime) -> PoolDecision {
        match self {
            Sizing::Spares(pool) => pool.decide(counts, now),
            Sizing::Demand { scaler, queue_depth } => scaler.decide(counts, *queue_depth, now),
        }
    }

    pub(crate) fn max_children(&self) -> u32 {
        match self {
            Sizing::Spares(pool) => pool.rules().max_children,
            Sizing::Demand { scaler, .. } => scaler.rules().max_children,
        }
    }

    /// Returns the minimum number of idle children according to the rule.
    pub(crate) fn min_idle(&self) -> u32 {
        match self {
            Sizing::Spares(pool) => pool.rules().min_spare,
            Sizing::Demand { queue_depth, .. } => u32::from(*queue_depth > 0),
        }
    }

    /// Changes the limits for spare children, or the number of children of a fixed pool, or
    /// `max_children` of a pool that is sized by demand. The last two can be at most the number of
    /// slots.
    fn resize(&mut self, resize: Resize, slots: u32) -> Result<Resized, CommandError> {
        let (wanted, resized) = match self {
            Sizing::Spares(pool) => {
                let resized = pool.resize(resize, slots).map(|rules| match rules.is_fixed() {
                    true => only(rules.max_children),
                    false => Resized {
                        min_spare: rules.min_spare,
                        max_spare: rules.max_spare,
                        max_children: rules.max_children,
                    },
                });
                (resize.apply(pool.rules().max_spare), resized)
            }
            Sizing::Demand { scaler, .. } => {
                let wanted = resize.apply(scaler.rules().max_children);
                (wanted, scaler.resize(resize, slots).map(|rules| only(rules.max_children)))
            }
        };
        resized.map_err(|error| CommandError::Size { wanted, reason: error.to_string() })
    }
}

/// Returns the sizes of a daemon that has no limits for spare children.
fn only(max_children: u32) -> Resized {
    Resized { min_spare: 0, max_spare: 0, max_children }
}

/// Returns the new `max_children` of a post-forking daemon. It must be at least 1 and at most the
/// number of slots.
fn resize_post_fork(now: u32, slots: u32, resize: Resize) -> Result<u32, CommandError> {
    let wanted = resize.apply(now);
    let refuse = |reason| Err(CommandError::Size { wanted, reason });
    match wanted {
        0 => refuse("a post-forking daemon needs at least 1 child".to_owned()),
        _ if wanted > slots => refuse(format!("the scoreboard has {slots} slots")),
        _ => Ok(wanted),
    }
}

/// The number of reloads, and the reload in progress.
#[derive(Debug, Default)]
pub(crate) struct ReloadState {
    generation: u32,
    /// The number of children when the reload started; `None` when no reload is in progress.
    target: Option<u32>,
}

/// The next step of a reload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReloadStep {
    Fork(u32),
    Retire(Vec<ChildId>),
    Nothing,
    /// All children that were forked before the reload have exited or are leaving. Returned once
    /// per reload.
    Done,
}

impl ReloadState {
    /// Returns the number of reloads so far. A child whose fork is requested now is marked with
    /// this number.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Starts a reload of a pool with this many children. If a reload is in progress, the
    /// new reload takes its place.
    pub(crate) fn start(&mut self, children: u32) {
        self.generation += 1;
        self.target = Some(children);
    }

    /// Returns the next step. Scans the pool only while a reload is in progress.
    pub(crate) fn next_step(&mut self, registry: &Registry, max_children: u32) -> ReloadStep {
        let Some(target) = self.target else {
            return ReloadStep::Nothing;
        };
        let mut idle = Vec::new();
        let mut busy = Vec::new();
        let mut rolling = RollingReplace {
            old_idle: 0,
            old_busy: 0,
            starting: 0,
            ready: 0,
            leaving: 0,
            target,
            max_children,
            max_unavailable: default_max_unavailable(target),
        };
        for record in registry.records() {
            match (record.seen.kind(), record.reload_generation < self.generation) {
                (StatusKind::Leaving | StatusKind::Vacant, _) => rolling.leaving += 1,
                (StatusKind::Idle, true) => idle.push(record.child),
                (StatusKind::Starting | StatusKind::Busy, true) => busy.push(record.child),
                (StatusKind::Starting, false) => rolling.starting += 1,
                (StatusKind::Idle | StatusKind::Busy, false) => rolling.ready += 1,
            }
        }
        rolling.old_idle = u32::try_from(idle.len()).unwrap_or(u32::MAX);
        rolling.old_busy = u32::try_from(busy.len()).unwrap_or(u32::MAX);
        match rolling.next_step() {
            RollingStep::Fork(children) => ReloadStep::Fork(children),
            RollingStep::Retire(children) => {
                ReloadStep::Retire(idle.into_iter().chain(busy).take(children as usize).collect())
            }
            RollingStep::Wait => ReloadStep::Nothing,
            RollingStep::Done => {
                self.target = None;
                ReloadStep::Done
            }
        }
    }
}

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
                self.effects.extend(self.backoff.state(now).map(Effect::ForkBackoff));
            }
            self.retry = Some(until);
            return;
        }
        match &mut self.strategy {
            Strategy::Solo => {}
            Strategy::PostFork(_) => self.fork_for_pending(processes, now),
            Strategy::PreFork { sizing, request_factory, .. } => {
                let request_factory = request_factory.clone();
                let decision = sizing.decide(self.registry.counts(), now);
                let PoolDecision { fork, retire, recheck_at } = decision;
                let (max_children, min_idle) = (sizing.max_children(), sizing.min_idle());
                self.recheck_at = recheck_at;
                let counts = self.registry.counts();
                let room = max_children.saturating_sub(counts.children());
                // A starting pool also forks replacements for initial children that have failed.
                let fork = fork.max(self.missing_initial().min(room));
                let starting = self.registry.counts().starting();
                let fork = self.backoff.allowed_forks(fork, starting, now);
                self.fork_children(fork, &request_factory, processes, now);
                self.retire(retire, processes);
                self.check_max_children(max_children, min_idle, now);
                self.continue_reload(&request_factory, max_children, processes, now);
            }
        }
    }

    /// Makes sure that a pool has a child for the clients or the tasks that wait when it begins to
    /// stop. If its children exit after a number of requests, all of them may have exited without
    /// the parent's knowledge. If no child is known to serve on, forks one, and so may exceed
    /// `max_children` by one.
    pub(super) fn fork_last_child(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let Strategy::PreFork { sizing, request_factory, quota: Some(quota) } = &self.strategy
        else {
            return;
        };
        let last_request = match sizing {
            Sizing::Spares(_) => LastRequest::FindsStop,
            // A task that was just sent may not have been reported yet. If no child has a task, it
            // is given to an idle one.
            Sizing::Demand { queue_depth: 0, .. } if self.registry.counts().busy() == 0 => return,
            Sizing::Demand { .. } => LastRequest::IsLast,
        };
        let serves_on = |board| self.registry.serves_on(board, *quota, last_request);
        if !processes.board().is_some_and(serves_on) {
            let request_factory = request_factory.clone();
            let starting = self.registry.counts().starting();
            let allowed = self.backoff.allowed_forks(1, starting, now);
            self.fork_children(allowed, &request_factory, processes, now);
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
                    request_factory.fork_failed(None, &error);
                    let reason = format!("cannot make the request of a new child: {error}");
                    self.effects.push(Effect::ForkFailed(reason));
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
                    request_factory.fork_failed(None, &error.reason);
                    self.effects.push(Effect::ForkFailed(error.reason.to_string()));
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
        let idle = processes.board().map(|board| self.registry.longest_idle(board));
        for child in idle.into_iter().flatten().take(children as usize) {
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
                    self.effects
                        .push(Effect::Event(DaemonEvent::Reload { state: DaemonReload::Done }));
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
                    Strategy::Solo | Strategy::PreFork { sizing: Sizing::Demand { .. }, .. } => {}
                    Strategy::PreFork { sizing: Sizing::Spares(_), .. } | Strategy::PostFork(_) => {
                        self.report_max_children(max_children, spare, min_idle, now);
                    }
                }
            }
            (false, true) if counts.children() < max_children => self.max_children_reported = false,
            (true, true) | (false, _) => {}
        }
    }

    /// Collects [`Effect::MaxChildrenReached`], but throttled, because a pool under load can
    /// reach its maximum many times a minute.
    pub(super) fn report_max_children(
        &mut self,
        max_children: u32,
        spare: u32,
        min_spare: u32,
        now: MonotonicTime,
    ) {
        if self.max_children_log.should_log(now) {
            self.effects.push(Effect::MaxChildrenReached { max_children, spare, min_spare });
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
                    self.effects.push(Effect::ForkFailed(error.reason.to_string()));
                    if backlog.on_fork_error(error, reply, turn).is_break() {
                        return;
                    }
                }
            }
        }
    }

    /// Sets the number of dispatcher tasks that wait for a child. Does nothing unless the pool is
    /// sized by demand.
    pub(crate) fn set_queue_depth(
        &mut self,
        depth: u32,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        if let Strategy::PreFork { sizing: Sizing::Demand { queue_depth, .. }, .. } =
            &mut self.strategy
        {
            *queue_depth = depth;
            self.reconcile(processes, now);
        }
    }

    /// Starts to replace all current children.
    pub(crate) fn reload(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<ReloadStarted, CommandError> {
        let Strategy::PreFork { .. } = self.strategy else {
            return Err(CommandError::NoPool { action: "reload" });
        };
        self.check_changeable()?;
        let children = self.registry.counts().children() - self.registry.counts().leaving();
        self.reload.start(children);
        self.effects.push(Effect::ReloadStarted(children));
        let state = DaemonReload::Started;
        self.effects.push(Effect::Event(DaemonEvent::Reload { state }));
        self.reconcile(processes, now);
        Ok(ReloadStarted { children })
    }

    /// Changes the size of the pool, or `max_children` of a post-forking daemon.
    pub(crate) fn resize(
        &mut self,
        resize: Resize,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<Resized, CommandError> {
        if let Strategy::Solo = self.strategy {
            return Err(CommandError::NoPool { action: "resize" });
        }
        self.check_changeable()?;
        let resized = match &mut self.strategy {
            Strategy::Solo => only(0),
            Strategy::PreFork { sizing, .. } => sizing.resize(resize, self.slots)?,
            Strategy::PostFork(backlog) => {
                backlog.max_children = resize_post_fork(backlog.max_children, self.slots, resize)?;
                only(backlog.max_children)
            }
        };
        self.limit_initial(resized.max_children);
        self.reconcile(processes, now);
        Ok(resized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_forking_daemon_is_resized_up_to_its_number_of_slots() {
        assert_eq!(resize_post_fork(3, 16, Resize::More), Ok(4));
        assert_eq!(resize_post_fork(3, 16, Resize::To(16)), Ok(16));
        let refusal = resize_post_fork(3, 16, Resize::To(17)).unwrap_err();
        assert_eq!(refusal.to_string(), "cannot resize to 17: the scoreboard has 16 slots");
    }

    #[test]
    fn a_post_forking_daemon_is_not_resized_to_zero_children() {
        for (now, resize) in [(1, Resize::Fewer), (4, Resize::To(0))] {
            let refusal = resize_post_fork(now, 16, resize).unwrap_err().to_string();
            assert_eq!(refusal, "cannot resize to 0: a post-forking daemon needs at least 1 child");
        }
    }
}
