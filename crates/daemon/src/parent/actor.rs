//! The daemon actor in the parent. It turns messages, signals and reports into calls to the
//! supervisor, and the supervisor's events into broadcasts, answers and log records.

mod events;
mod report;
mod wakeups;

use std::os::fd::AsFd;

use actix::{Actor, Addr, AsyncContext, Context, SpawnHandle};
use daemon_core::{MonotonicTime, Signal, StopMode};
use daemon_forkserver::{Transfer, now};
use daemon_sys::detach::ReadinessNotifier;
use daemon_sys::pidfile::PidFile;
use futures::channel::oneshot;
use slog::{Logger, error, info};

use super::foreign::ForeignChildren;
use super::origin::Origin;
use super::process_control::ForkServerControl;
use super::registration::StatusUpdates;
use super::stop::ShutdownStage;
use super::supervisor::Supervisor;
use crate::babysitter::{BabysitterActor, BabysitterConfig};
use crate::child::ProcessContext;
use crate::control::ControlServer;
use crate::error::DaemonError;
use crate::messages::DaemonStart;
use crate::sessions::{RetainedEvents, Sessions};
use crate::settings::OnHup;
use crate::watch::Watch;
use wakeups::WakeSource;

/// The parts from which a [`DaemonActor`] is created.
pub(crate) struct Parent<R> {
    pub(crate) context: ProcessContext,
    pub(crate) log: Logger,
    pub(crate) on_hup: OnHup,
    pub(crate) readiness: Option<ReadinessNotifier>,
    pub(crate) pidfile: Option<PidFile>,
    pub(crate) supervision: Option<Supervision<R>>,
    pub(crate) babysit: BabysitterConfig,
}

/// The supervisor, and the process control that carries out its decisions.
pub(crate) struct Supervision<R> {
    pub(crate) supervisor: Supervisor<R>,
    pub(crate) processes: ForkServerControl<R>,
}

/// The actor of the daemon in the parent process.
///
/// The actor owns the registry of children and the fork server that forks them. After a stop
/// command ([`Shutdown`](crate::Shutdown), TERM, INT or QUIT), the actor stops when all children,
/// all foreign children and the fork server have exited.
pub struct DaemonActor<R: Transfer> {
    pub(super) context: ProcessContext,
    pub(super) log: Logger,
    on_hup: OnHup,
    pub(super) readiness: Option<ReadinessNotifier>,
    pub(super) pidfile: Option<PidFile>,
    pub(super) supervision: Option<Supervision<R>>,
    pub(super) sessions: Sessions,
    pub(super) retained: RetainedEvents,
    pub(super) foreign: ForeignChildren,
    pub(super) babysitter_config: Option<BabysitterConfig>,
    pub(super) babysitter: Option<Addr<BabysitterActor>>,
    pub(super) stopping: Option<StopMode>,
    pub(super) shutdown_stage: ShutdownStage,
    /// The time at which the actor stops even if answers on the control socket are still pending.
    pub(super) answers_deadline: Option<MonotonicTime>,
    pub(super) failure: Option<DaemonError>,
    pub(super) waiting_for_stop: Vec<oneshot::Sender<Result<(), DaemonError>>>,
    pub(super) control: Option<ControlServer>,
    /// Whether and when the daemon next updates the status text of the service that it is
    /// registered with.
    pub(super) status_updates: StatusUpdates,
    timer: Option<(MonotonicTime, SpawnHandle)>,
    /// Whether the status changes of children will be read after a delay.
    is_wakeup_scheduled: bool,
    started: MonotonicTime,
}

impl<R: Transfer> std::fmt::Debug for DaemonActor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonActor").field("alias", &self.context.alias).finish_non_exhaustive()
    }
}

impl<R: Transfer + Send> DaemonActor<R> {
    pub(crate) fn new(parent: Parent<R>, control: Option<ControlServer>) -> Self {
        let Parent { context, log, on_hup, readiness, pidfile, supervision, babysit } = parent;
        DaemonActor {
            context,
            log,
            on_hup,
            readiness,
            pidfile,
            supervision,
            sessions: Sessions::default(),
            retained: RetainedEvents::default(),
            foreign: ForeignChildren::default(),
            babysitter_config: Some(babysit),
            babysitter: None,
            stopping: None,
            shutdown_stage: ShutdownStage::NotStopping,
            answers_deadline: None,
            failure: None,
            waiting_for_stop: Vec::new(),
            control,
            status_updates: StatusUpdates::Off,
            timer: None,
            is_wakeup_scheduled: false,
            started: now(),
        }
    }

    /// Runs `act` on the supervisor, then processes the supervisor's events. Returns `None` without
    /// running `act` if the daemon has no children (the model `Solo`).
    pub(super) fn with_supervisor<T>(
        &mut self,
        ctx: &mut Context<Self>,
        act: impl FnOnce(&mut Supervisor<R>, &mut ForkServerControl<R>, MonotonicTime) -> T,
    ) -> Option<T> {
        let supervision = self.supervision.as_mut()?;
        let result = act(&mut supervision.supervisor, &mut supervision.processes, now());
        self.process_events(ctx);
        Some(result)
    }

    /// Processes the supervisor's events, and updates the scoreboard, the timer and the status text
    /// of the service.
    pub(super) fn process_events(&mut self, ctx: &mut Context<Self>) {
        let Some(supervision) = &mut self.supervision else { return };
        let scoreboard = supervision.processes.fork_server.scoreboard();
        scoreboard.set_phase(supervision.supervisor.phase());
        scoreboard.set_visible_slots(supervision.supervisor.max_children());
        let faults = scoreboard.take_faults();
        supervision.supervisor.on_scoreboard_faults(&faults, now());
        let events = supervision.supervisor.take_events();
        let lost = supervision.processes.lost.take();
        for event in events {
            self.emit(event, ctx);
        }
        // The new phase and a lost fork server are handled last, so that sessions receive every
        // child's exit before the daemon stops.
        self.broadcast_phase(ctx);
        if let Some(lost) = lost {
            self.on_fork_server_lost(&lost, ctx);
        }
        self.set_timer(ctx);
        self.update_service_status(ctx);
    }

    /// Logs the error and stops the daemon immediately. After the stop,
    /// [`WaitUntilStopped`](crate::messages::WaitUntilStopped) returns the error.
    pub(super) fn fail(&mut self, error: DaemonError, ctx: &mut Context<Self>) {
        error!(self.log, "daemon failed"; "error" => error.to_string());
        if let Some(readiness) = self.readiness.take() {
            readiness.notify_failure(&error.to_string());
        }
        self.failure.get_or_insert(error);
        self.stop(StopMode::Immediate, Origin::Failure, ctx);
    }

    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let wake =
            self.supervision.as_ref().and_then(|supervision| supervision.supervisor.next_wake());
        let current = self.timer.as_ref().map(|(time, _handle)| *time);
        if wake == current {
            return;
        }
        if let Some((_time, handle)) = self.timer.take() {
            ctx.cancel_future(handle);
        }
        if let Some(time) = wake {
            let pause = time.saturating_since(now());
            let handle = ctx.run_later(pause, |daemon, ctx| {
                daemon.timer = None;
                daemon.with_supervisor(ctx, Supervisor::reconcile);
            });
            self.timer = Some((time, handle));
        }
    }

    pub(super) fn reopen_logs(&mut self, ctx: &mut Context<Self>) {
        match self.on_hup {
            OnHup::ReopenLogs => info!(self.log, "reopening logs"; "by" => Signal::Hup.name()),
            OnHup::Reload => {
                info!(self.log, "reopening logs and reloading"; "by" => Signal::Hup.name());
                self.with_supervisor(ctx, Supervisor::reload);
            }
        }
        if let Err(error) = self.reopen(ctx) {
            error!(self.log, "cannot reopen the log file"; "error" => error.to_string());
        }
    }
}

impl<R: Transfer + Send> Actor for DaemonActor<R> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(supervision) = &self.supervision {
            let fork_server = &supervision.processes.fork_server;
            let watches =
                Watch::readable(fork_server.as_fd(), WakeSource::ForkServer).and_then(|link| {
                    Ok((link, Watch::readable(fork_server.wakeup().as_fd(), WakeSource::Children)?))
                });
            match watches {
                Ok((link, wakeup)) => {
                    ctx.add_stream(link);
                    ctx.add_stream(wakeup);
                }
                Err(source) => {
                    let action = "watch the fork server";
                    self.fail(DaemonError::Runtime { action, source }, ctx);
                    return;
                }
            }
        }
        // Request the first forks before the sessions start, so that the fork server forks the
        // children while the sessions start.
        self.with_supervisor(ctx, Supervisor::reconcile);
        self.arm_wakeup(ctx);
        self.start_babysitter(ctx);
        self.retained.start = Some(DaemonStart);
        if self.supervision.is_none() {
            self.broadcast_phase(ctx);
            self.on_ready();
        }
    }
}
