//! The life of the daemon as one state machine: start, run, stop.
//!
//! ```text
//! Starting -> Running -> Draining -> Killing -> Closing -> Stopped
//! ```
//!
//! A stop can begin in each state before `Draining`. `Killing` is left out if everything ends
//! within the grace period. If the fork server is lost before `Closing`, the state
//! `ForkServerLost` takes the place of the states up to `Stopped`.

use std::fmt;
use std::time::Duration;

use daemon_core::{MonotonicTime, Phase, StopMode, StopReason};
use daemon_sys::process::Signal;

use super::{Effect, ProcessControl, Strategy, Supervisor};
use crate::error::DaemonError;
use crate::events::DaemonEvent;
use crate::messages::ShutdownReason;

/// The time between QUIT and KILL in an immediate stop.
const QUIT_GRACE: Duration = Duration::from_millis(500);
/// The time within which the fork server must report the exits of the children that it was asked to
/// kill, and within which it must exit when it is asked to.
const FORK_SERVER_RESPONSE_MAX: Duration = Duration::from_secs(5);
/// The interval at which the parent checks whether the fork server, which was asked to exit, has
/// exited. While the fork server may wait for what children have started, the interval is
/// [`ORPHAN_CHECK_INTERVAL`]. The end of its link cannot tell, because the program may have copied
/// the link's descriptor to another process.
const REAP_INTERVAL: Duration = Duration::from_millis(1);
/// The interval at which the parent checks whether the children of a lost fork server are gone. The
/// parent must poll, because these processes are not its own children.
const ORPHAN_CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// The start fails when this many consecutive children have died before they were ready and no
/// child was ever ready.
const BOOT_FAILURES_MAX: u32 = 5;

/// The state of the daemon's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// The initial children start.
    Starting(Boot),
    /// The initial children were ready.
    Running,
    /// Sessions, children and foreign children were asked to stop.
    Draining(Drain),
    /// The children and the foreign children were killed.
    Killing {
        /// If the fork server has not reported the exits of the children by this time, it is
        /// unresponsive. `None` if only foreign children are left.
        report_by: Option<MonotonicTime>,
    },
    /// All children, sessions and foreign children are gone. The fork server was asked to exit.
    Closing {
        /// When the fork server is killed; `None` after that, or if there is no fork server.
        kill_at: Option<MonotonicTime>,
        /// The end of the grace period, until which the fork server may wait for the processes that
        /// children have started. It reports that it does.
        until: MonotonicTime,
        /// When to check again whether the fork server has exited; `None` if it is gone, and only
        /// a foreign child that was registered late is left.
        reap_at: Option<MonotonicTime>,
    },
    /// The fork server is gone or unresponsive, and its children were asked to stop.
    ForkServerLost(Orphans),
    /// Nothing is left but the parent.
    Stopped,
}

/// The progress of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boot {
    /// The number of children that must be ready.
    initial: u32,
    /// The number of children that have become ready.
    ready: u32,
    /// The number of consecutive children that have died before they were ready.
    failures: u32,
    deadline: MonotonicTime,
}

/// A stop whose grace period has not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drain {
    pub(crate) mode: StopMode,
    pub(crate) by: Origin,
    /// The end of the grace period.
    until: MonotonicTime,
    /// Whether all sessions have answered the shutdown, or are no longer waited for. Until then
    /// they may hand over requests that they accepted before.
    is_answered: bool,
}

/// The children of a lost fork server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orphans {
    kill_at: MonotonicTime,
    /// When the parent stops waiting for processes that KILL does not end: zombies that init does
    /// not reap, and processes in uninterruptible sleep.
    give_up_at: MonotonicTime,
    check_at: MonotonicTime,
}

/// What caused a stop or a command, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A signal to the parent.
    Signal(daemon_core::Signal),
    /// A message of a session, of the control socket or of the service manager.
    Message,
    /// A failure, after which the daemon cannot continue.
    Failure,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Signal(signal) => signal.name(),
            Origin::Message => "message",
            Origin::Failure => "failure",
        })
    }
}

fn shutdown_reason(mode: StopMode) -> ShutdownReason {
    match mode {
        StopMode::Graceful => ShutdownReason::Stopping,
        StopMode::Immediate => ShutdownReason::StoppingNow,
    }
}

impl Lifecycle {
    /// Returns the first state of a daemon with this number of initial children.
    pub(super) fn starting(initial: u32, deadline: MonotonicTime) -> Lifecycle {
        Lifecycle::Starting(Boot { initial, ready: 0, failures: 0, deadline })
    }

    /// Returns the phase that operators, sessions and children see.
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Lifecycle::Starting(_) => Phase::Starting,
            Lifecycle::Running => Phase::Running,
            Lifecycle::Draining(_)
            | Lifecycle::Killing { .. }
            | Lifecycle::Closing { .. }
            | Lifecycle::ForkServerLost(_) => Phase::Stopping,
            Lifecycle::Stopped => Phase::Stopped,
        }
    }

    /// Returns the phase that decides whether a request is admitted. Requests that a session
    /// accepted before the stop are still served, so until all sessions have answered the shutdown
    /// requests are admitted as in a running daemon.
    pub(super) fn admission_phase(&self) -> Phase {
        if let Lifecycle::Draining(Drain { is_answered: false, .. }) = self {
            return Phase::Running;
        }
        self.phase()
    }

    /// Returns the mode of a stop in progress; `None` if the daemon is not stopping.
    pub(crate) fn stop_mode(&self) -> Option<StopMode> {
        match self {
            Lifecycle::Starting(_) | Lifecycle::Running => None,
            Lifecycle::Draining(drain) => Some(drain.mode),
            Lifecycle::Killing { .. }
            | Lifecycle::Closing { .. }
            | Lifecycle::ForkServerLost(_)
            | Lifecycle::Stopped => Some(StopMode::Immediate),
        }
    }

    /// Returns the reason for which sessions shut down; `None` if the daemon is not stopping.
    pub(crate) fn shutdown_reason(&self) -> Option<ShutdownReason> {
        self.stop_mode().map(shutdown_reason)
    }

    /// Returns the time at which the state has to be checked even if no event arrives.
    pub(super) fn deadline(&self) -> Option<MonotonicTime> {
        match self {
            Lifecycle::Starting(boot) => Some(boot.deadline),
            Lifecycle::Draining(drain) => Some(drain.until),
            Lifecycle::Killing { report_by } => *report_by,
            Lifecycle::Closing { reap_at, .. } => *reap_at,
            Lifecycle::ForkServerLost(orphans) => Some(orphans.check_at),
            Lifecycle::Running | Lifecycle::Stopped => None,
        }
    }

    /// Returns whether this state may follow. A state never returns to an earlier one.
    pub(super) fn may_become(&self, next: &Lifecycle) -> bool {
        match (self, next) {
            (Lifecycle::Starting(_), Lifecycle::Running) => true,
            (Lifecycle::Starting(_) | Lifecycle::Running, Lifecycle::Draining(_)) => true,
            (Lifecycle::Draining(now), Lifecycle::Draining(next)) => {
                (now.mode, next.mode) == (StopMode::Graceful, StopMode::Immediate)
            }
            (Lifecycle::Draining(_), Lifecycle::Killing { .. } | Lifecycle::Closing { .. }) => true,
            (Lifecycle::Killing { .. }, Lifecycle::Closing { .. }) => true,
            (
                Lifecycle::Starting(_)
                | Lifecycle::Running
                | Lifecycle::Draining(_)
                | Lifecycle::Killing { .. },
                Lifecycle::ForkServerLost(_),
            ) => true,
            (Lifecycle::Closing { .. } | Lifecycle::ForkServerLost(_), Lifecycle::Stopped) => true,
            (
                Lifecycle::Starting(_)
                | Lifecycle::Running
                | Lifecycle::Draining(_)
                | Lifecycle::Killing { .. }
                | Lifecycle::Closing { .. }
                | Lifecycle::ForkServerLost(_)
                | Lifecycle::Stopped,
                _,
            ) => false,
        }
    }

    /// Returns the state in words, for the answer to `Peek` and for the log.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Lifecycle::Starting(_) => "starting, waiting for the initial children",
            Lifecycle::Running => "running",
            Lifecycle::Draining(_) => "stopping, waiting for children and sessions",
            Lifecycle::Killing { .. } => "stopping, waiting for killed processes",
            Lifecycle::Closing { .. } => "stopping, waiting for the fork server",
            Lifecycle::ForkServerLost(_) => {
                "stopping, waiting for the children of a lost fork server"
            }
            Lifecycle::Stopped => "stopped",
        }
    }
}

impl<R: 'static> Supervisor<R> {
    /// Enters another state. This is the only place where the state changes to another one.
    fn enter(&mut self, next: Lifecycle, processes: &mut impl ProcessControl<R>) {
        debug_assert!(self.life.may_become(&next), "{:?} is followed by {next:?}", self.life);
        let before = self.phase();
        self.life = next.clone();
        let phase = self.phase();
        processes.publish(phase, self.pause);
        self.effects.push(Effect::Entered(next));
        if phase != before {
            self.effects.push(Effect::Event(DaemonEvent::Phase { phase }));
        }
    }

    /// Returns the number of initial children that are neither ready nor starting. A starting pool
    /// also forks replacements for initial children that have failed.
    pub(super) fn missing_initial(&self) -> u32 {
        let Lifecycle::Starting(boot) = &self.life else { return 0 };
        boot.initial.saturating_sub(boot.ready + self.registry.counts().starting())
    }

    /// Lowers the number of initial children if the pool has become smaller.
    pub(super) fn limit_initial(&mut self, max_children: u32) {
        if let Lifecycle::Starting(boot) = &mut self.life {
            boot.initial = boot.initial.min(max_children);
        }
    }

    /// Records that a child has become ready.
    pub(super) fn on_child_ready(&mut self) {
        self.backoff.child_ready();
        if let Lifecycle::Starting(boot) = &mut self.life {
            boot.ready += 1;
            boot.failures = 0;
        }
    }

    /// Records that a child has died before it was ready. Returns the reason why the start fails,
    /// if it does.
    pub(super) fn on_boot_failure(&mut self, cause: &impl fmt::Display) -> Option<String> {
        let Lifecycle::Starting(boot) = &mut self.life else { return None };
        boot.failures += 1;
        (boot.failures >= BOOT_FAILURES_MAX && boot.ready == 0).then(|| {
            format!(
                "the initial children failed to start: {} failures in a row, the last one: {cause}",
                boot.failures
            )
        })
    }

    /// Moves on to `Running` when the initial children are ready. Fails the start if they are not
    /// ready in time.
    pub(super) fn check_boot(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let Lifecycle::Starting(Boot { initial, ready, deadline, .. }) = self.life else { return };
        if ready >= initial {
            self.enter(Lifecycle::Running, processes);
        } else if now >= deadline {
            let reason = format!(
                "the initial children did not become ready in time: {ready} of {initial} are ready"
            );
            self.fail(DaemonError::NotReady(reason), StopMode::Immediate, processes, now);
        }
    }

    /// Stops the daemon, because it cannot continue.
    pub(crate) fn fail(
        &mut self,
        error: DaemonError,
        mode: StopMode,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        self.effects.push(Effect::Failed(error));
        self.stop(mode, Origin::Failure, processes, now);
    }

    /// Starts a graceful or an immediate stop, or makes a graceful stop that is in progress
    /// immediate. Any other repeated stop is ignored.
    pub(crate) fn stop(
        &mut self,
        mode: StopMode,
        by: Origin,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let is_first = self.life.stop_mode().is_none();
        let is_running = matches!(self.life, Lifecycle::Running);
        let (until, is_answered) = match mode {
            StopMode::Graceful => (now + self.grace, false),
            StopMode::Immediate => (now + QUIT_GRACE, true),
        };
        let drain = Lifecycle::Draining(Drain { mode, by, until, is_answered });
        if !self.life.may_become(&drain) {
            return;
        }
        self.enter(drain, processes);
        if is_first {
            let reason = shutdown_reason(mode);
            self.effects.push(Effect::Event(DaemonEvent::Shutdown { reason }));
        }
        match mode {
            StopMode::Graceful => {
                if is_running {
                    self.fork_last_child(processes, now);
                }
                // First, so that the connections that wait at the listener are where children that
                // stop look for them.
                self.release_pool(processes);
                self.registry.mark_all_stopping(StopReason::Stopping);
                processes.signal_all(Signal::Term);
                processes.signal_foreign(Signal::Term);
            }
            StopMode::Immediate => {
                self.return_waiting();
                self.registry.mark_all_stopping(StopReason::StoppedNow);
                processes.signal_all(Signal::Quit);
                processes.signal_foreign(Signal::Kill);
                self.release_pool(processes);
            }
        }
        self.reconcile(processes, now);
    }

    /// Releases the fork server of a stopping pool, which forks no more children.
    fn release_pool(&mut self, processes: &mut impl ProcessControl<R>) {
        match self.strategy {
            Strategy::PreFork { .. } => self.release(processes),
            Strategy::Solo | Strategy::PostFork(_) => {}
        }
    }

    /// Records that all sessions have answered the shutdown, so no more requests arrive.
    pub(crate) fn on_sessions_answered(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        if let Lifecycle::Draining(drain) = &mut self.life {
            drain.is_answered = true;
        }
        self.reconcile(processes, now);
    }

    /// Handles a foreign child that was registered: if the daemon is stopping already, it is
    /// stopped like the others.
    pub(crate) fn on_foreign_added(&mut self, processes: &mut impl ProcessControl<R>) {
        match &self.life {
            Lifecycle::Starting(_) | Lifecycle::Running => {}
            Lifecycle::Draining(Drain { mode: StopMode::Graceful, .. })
            | Lifecycle::ForkServerLost(_) => processes.signal_foreign(Signal::Term),
            Lifecycle::Draining(Drain { mode: StopMode::Immediate, .. })
            | Lifecycle::Killing { .. }
            | Lifecycle::Closing { .. }
            | Lifecycle::Stopped => processes.signal_foreign(Signal::Kill),
        }
    }

    /// Notifies the fork server once that no more children will be forked. The fork server then
    /// closes its listeners.
    fn release(&mut self, processes: &mut impl ProcessControl<R>) {
        if !std::mem::replace(&mut self.is_released, true) {
            processes.release();
        }
    }

    /// Returns all waiting requests to their senders.
    fn return_waiting(&mut self) {
        if let Strategy::PostFork(backlog) = &mut self.strategy {
            backlog.clear();
        }
    }

    /// Forks children for the requests that were accepted before the daemon began to stop. After
    /// KILL was sent, returns these requests to their senders instead.
    pub(super) fn serve_remaining(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let is_answered = if let Lifecycle::Draining(drain) = &self.life {
            drain.is_answered
        } else {
            self.return_waiting();
            true
        };
        match self.backoff.blocked_until(now) {
            Some(until) if self.waiting() > 0 => self.retry = Some(until),
            Some(_) | None => {
                self.fork_for_pending(processes, now);
                // A pending fork can fail and put its request back into the backlog.
                if let Strategy::PostFork(backlog) = &self.strategy
                    && backlog.is_served()
                    && is_answered
                {
                    self.release(processes);
                }
            }
        }
    }

    /// Continues the stop if all processes that it waits for are gone, or a deadline has passed.
    pub(super) fn check_stopped(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let no_children = self.registry.counts().children() == 0 && self.waiting() == 0;
        let is_empty = no_children && !processes.has_foreign();
        match &mut self.life {
            Lifecycle::Draining(drain) if is_empty && drain.is_answered => {
                let left = drain.until.saturating_since(now);
                self.close(left, processes, now);
            }
            Lifecycle::Draining(drain) if now >= drain.until => {
                let report_by = (!no_children).then_some(now + FORK_SERVER_RESPONSE_MAX);
                self.enter(Lifecycle::Killing { report_by }, processes);
                self.return_waiting();
                processes.signal_all(Signal::Kill);
                processes.signal_foreign(Signal::Kill);
                self.check_stopped(processes, now);
            }
            Lifecycle::Killing { .. } if is_empty => self.close(Duration::ZERO, processes, now),
            Lifecycle::Killing { report_by } if no_children => *report_by = None,
            // A rogue that was given up counts again, because the operator has killed it.
            Lifecycle::Killing { report_by: report_by @ None } => {
                *report_by = Some(now + FORK_SERVER_RESPONSE_MAX);
            }
            Lifecycle::Killing { report_by: Some(time) } if now >= *time => {
                let error = "the fork server does not report the exits of its children".to_owned();
                self.lose_fork_server(error, Signal::Kill, processes, now);
                self.check_stopped(processes, now);
            }
            Lifecycle::Closing { kill_at, reap_at, until: _ } => {
                if kill_at.is_some_and(|time| now >= time) {
                    *kill_at = None;
                    processes.signal_orphans(Signal::Kill);
                }
                if reap_at.is_some_and(|time| now >= time) {
                    let is_gone = processes.reap_fork_server();
                    let is_soon = kill_at.is_none_or(|at| at <= now + FORK_SERVER_RESPONSE_MAX);
                    let interval = if is_soon { REAP_INTERVAL } else { ORPHAN_CHECK_INTERVAL };
                    *reap_at = (!is_gone).then_some(now + interval);
                }
                if reap_at.is_none() && !processes.has_foreign() {
                    self.enter(Lifecycle::Stopped, processes);
                }
            }
            Lifecycle::ForkServerLost(orphans) if now >= orphans.check_at => {
                orphans.check_at = now + ORPHAN_CHECK_INTERVAL;
                let are_gone = processes.orphans_are_gone() && !processes.has_foreign();
                if are_gone || now >= orphans.give_up_at {
                    self.enter(Lifecycle::Stopped, processes);
                } else if now >= orphans.kill_at {
                    processes.signal_orphans(Signal::Kill);
                    processes.signal_foreign(Signal::Kill);
                }
            }
            Lifecycle::Starting(_)
            | Lifecycle::Running
            | Lifecycle::Draining(_)
            | Lifecycle::Killing { .. }
            | Lifecycle::ForkServerLost(_)
            | Lifecycle::Stopped => {}
        }
    }

    /// Asks the fork server to exit. Before, it ends what the children have started, for which the
    /// rest of the grace period is left.
    fn close(
        &mut self,
        left: Duration,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let kill_at = match self.strategy {
            Strategy::Solo => None,
            Strategy::PreFork { .. } | Strategy::PostFork(_) => {
                Some(now + FORK_SERVER_RESPONSE_MAX)
            }
        };
        processes.shut_down(left);
        let until = now + left;
        self.enter(Lifecycle::Closing { kill_at, until, reap_at: Some(now) }, processes);
        self.check_stopped(processes, now);
    }

    /// Handles the report that the fork server waits for the processes that children have started.
    pub(super) fn on_ending_descendants(&mut self, processes: u32) {
        self.effects.push(Effect::EndingDescendants(processes));
        if let Lifecycle::Closing { kill_at: Some(kill_at), until, .. } = &mut self.life {
            *kill_at = *until + FORK_SERVER_RESPONSE_MAX;
        }
    }

    /// Handles the end of the link to the fork server. If the fork server was asked to exit, this
    /// is expected. Otherwise it is an error, and the parent stops the children itself.
    pub(crate) fn on_fork_server_lost(
        &mut self,
        error: String,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        match &mut self.life {
            Lifecycle::Closing { reap_at, .. } => {
                *reap_at = reap_at.map(|_later| now);
                self.reconcile(processes, now);
            }
            Lifecycle::Starting(_)
            | Lifecycle::Running
            | Lifecycle::Draining(_)
            | Lifecycle::Killing { .. } => {
                self.lose_fork_server(error, Signal::Term, processes, now);
                self.reconcile(processes, now);
            }
            Lifecycle::ForkServerLost(_) | Lifecycle::Stopped => {}
        }
    }

    /// Signals the children of the lost fork server, and returns all waiting requests to their
    /// senders, because no child can be forked any more.
    fn lose_fork_server(
        &mut self,
        error: String,
        signal: Signal,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let pending = processes.take_pending();
        if let Strategy::PostFork(backlog) = &mut self.strategy {
            for (child, request) in pending {
                backlog.return_unforked(child, request, &error);
            }
        }
        self.return_waiting();
        self.effects.push(Effect::Failed(DaemonError::ForkServerLost(error)));
        // Before the phase changes: children that still read `running` do not serve the backlog.
        processes.signal_orphans(signal);
        processes.signal_foreign(signal);
        let kill_at = now + self.grace;
        let give_up_at = kill_at + FORK_SERVER_RESPONSE_MAX;
        self.enter(
            Lifecycle::ForkServerLost(Orphans { kill_at, give_up_at, check_at: now }),
            processes,
        );
        let reason = ShutdownReason::StoppingNow;
        self.effects.push(Effect::Event(DaemonEvent::Shutdown { reason }));
    }
}
