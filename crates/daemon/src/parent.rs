//! The parent process: the daemon's actor, which turns messages into calls of the supervisor, and
//! the supervisor's effects into broadcasts, log records and answers.

mod effects;
mod files;
mod handlers;
mod oom_kills;
mod operator;
mod process_control;

use std::os::fd::AsFd;
use std::pin::pin;
use std::thread;

use actix::{Actor, Addr, AsyncContext, Context, Message, SpawnHandle, StreamHandler, System};
use daemon_core::{ArmResult, LogLimit, LogThrottle, MonotonicTime, StopMode};
use daemon_forkserver::{Transfer, now};
use daemon_service::ServiceActor;
use daemon_sys::detach::ReadinessNotifier;
use daemon_sys::stdio::SavedStderr;
use futures::channel::oneshot;
use futures::future::{Either, select};
use slog::{Logger, crit};
use tokio::sync::mpsc::unbounded_channel;

use crate::babysitter::{BabysitterActor, BabysitterConfig};
use crate::child::ProcessContext;
use crate::control::{ControlServer, ControlSocket};
use crate::error::DaemonError;
use crate::events::{EventStream, Events};
use crate::panics::{self, Panic};
use crate::settings::OnHup;
use crate::start_files::StartFiles;
use crate::supervisor::Supervisor;
use crate::watch::Watch;
use operator::Operator;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use oom_kills::parse_oom_kills;
pub(crate) use process_control::Processes;

/// The parts from which a [`DaemonActor`] is created.
pub(crate) struct Parent<R> {
    pub(crate) context: ProcessContext,
    pub(crate) log: Logger,
    pub(crate) on_hup: OnHup,
    pub(crate) readiness: Option<ReadinessNotifier>,
    pub(crate) files: Option<StartFiles>,
    pub(crate) terminal: Option<SavedStderr>,
    pub(crate) supervisor: Supervisor<R>,
    pub(crate) processes: Processes<R>,
    pub(crate) babysit: BabysitterConfig,
    pub(crate) control: Option<ControlSocket>,
    /// Used when the daemon has stopped.
    pub(crate) stopped: oneshot::Sender<()>,
}

/// Whether the status text of a service is updated, and when the next update is sent.
#[derive(Debug)]
enum StatusUpdates {
    /// The daemon is not registered with a service.
    Off,
    /// The next change is sent to this service at once.
    Ready(Addr<ServiceActor>),
    /// The next update is sent to this service at the end of the current interval.
    Throttled(Addr<ServiceActor>),
}

/// The actor of the daemon in the parent process.
///
/// The actor owns the registry of children and the fork server that forks them. After a stop
/// command ([`Shutdown`](crate::Shutdown), TERM, INT or QUIT), the actor stops when all children,
/// all foreign children and the fork server have exited.
pub struct DaemonActor<R: Transfer> {
    context: ProcessContext,
    log: Logger,
    on_hup: OnHup,
    /// Present until the daemon is ready.
    readiness: Option<ReadinessNotifier>,
    /// Why the daemon does not become ready.
    not_ready: Option<String>,
    files: Option<StartFiles>,
    /// The former standard error. It is restored if the daemon does not become ready.
    terminal: Option<SavedStderr>,
    /// Limits the records about files that were removed.
    files_log: LogThrottle,
    /// Limits the records about failed forks.
    forks_log: LogLimit,
    /// Limits the records about the fork backoff.
    backoff_log: LogLimit,
    supervisor: Supervisor<R>,
    processes: Processes<R>,
    events: Events,
    babysitter_config: Option<BabysitterConfig>,
    babysitter: Option<Addr<BabysitterActor>>,
    /// The first error after which the daemon could not continue.
    failure: Option<DaemonError>,
    waiting_for_stop: Vec<oneshot::Sender<Result<(), DaemonError>>>,
    /// Used at the end. If the actor panics, this is dropped instead.
    stopped: Option<oneshot::Sender<()>>,
    control: Option<ControlServer>,
    /// Whether and when the daemon next updates the status text of the service that it is
    /// registered with.
    status_updates: StatusUpdates,
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
    pub(crate) fn start(parent: Parent<R>) -> Addr<Self> {
        Self::create(|ctx| {
            let (operator, log) = (Operator(ctx.address()), parent.log);
            DaemonActor {
                context: parent.context,
                on_hup: parent.on_hup,
                readiness: parent.readiness,
                not_ready: None,
                files: parent.files,
                terminal: parent.terminal,
                files_log: LogThrottle::default(),
                forks_log: LogLimit::default(),
                backoff_log: LogLimit::default(),
                supervisor: parent.supervisor,
                processes: parent.processes,
                events: Events::default(),
                babysitter_config: Some(parent.babysit),
                babysitter: None,
                failure: None,
                waiting_for_stop: Vec::new(),
                stopped: Some(parent.stopped),
                control: parent.control.map(|socket| socket.serve(operator, log.clone())),
                log,
                status_updates: StatusUpdates::Off,
                timer: None,
                is_wakeup_scheduled: false,
                started: now(),
            }
        })
    }

    /// Runs `act` on the supervisor, then handles the supervisor's effects, and updates the
    /// scoreboard, the timer and the status text of the service.
    fn with_supervisor<T>(
        &mut self,
        ctx: &mut Context<Self>,
        act: impl FnOnce(&mut Supervisor<R>, &mut Processes<R>, MonotonicTime) -> T,
    ) -> T {
        let (supervisor, processes) = (&mut self.supervisor, &mut self.processes);
        let result = act(supervisor, processes, now());
        supervisor.publish(processes);
        if let Some(fork_server) = &processes.fork_server {
            let scoreboard = fork_server.scoreboard();
            scoreboard.set_visible_slots(supervisor.max_children());
            supervisor.on_scoreboard_faults(&scoreboard.take_faults(), now());
        }
        // Last, so that sessions receive every child's exit before the daemon stops.
        if let Some(lost) = processes.lost.take() {
            supervisor.on_fork_server_lost(lost.to_string(), processes, now());
        }
        for effect in supervisor.take_effects() {
            self.handle_effect(effect, ctx);
        }
        self.set_timer(ctx);
        self.update_service_status(ctx);
        result
    }

    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let wake = self.supervisor.next_wake();
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

    fn watch_fork_server(&self, ctx: &mut Context<Self>) -> std::io::Result<()> {
        if let Some(fork_server) = &self.processes.fork_server {
            ctx.add_stream(Watch::readable(fork_server.as_fd(), WakeSource::ForkServer)?);
            ctx.add_stream(Watch::readable(fork_server.wakeup().as_fd(), WakeSource::Children)?);
        }
        Ok(())
    }

    /// Starts the babysitter, if the daemon has children.
    fn start_babysitter(&mut self, ctx: &Context<Self>) {
        let fork_server = self.processes.fork_server.as_ref();
        let Some((fork_server, config)) = fork_server.zip(self.babysitter_config.take()) else {
            return;
        };
        let (actions, log) = (ctx.address().recipient(), self.log.clone());
        let babysitter = BabysitterActor::new(config, actions, fork_server.board(), log);
        self.babysitter = Some(babysitter.start());
    }

    /// Reads the status changes of children. If there were changes, reads again after a delay,
    /// which limits the rate of wakeups under any load. If there were none, re-arms the wakeup.
    fn handle_child_wakeup(&mut self, ctx: &mut Context<Self>) {
        let Some(fork_server) = &self.processes.fork_server else { return };
        fork_server.wakeup().clear();
        self.is_wakeup_scheduled = false;
        let has_changed = self.with_supervisor(ctx, |supervisor, processes, now| {
            let has_changed = read_changes(supervisor, processes);
            if has_changed {
                supervisor.reconcile(processes, now);
            }
            has_changed
        });
        if has_changed {
            self.handle_child_wakeup_later(ctx);
        } else {
            self.arm_wakeup(ctx);
        }
    }

    fn handle_child_wakeup_later(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.is_wakeup_scheduled, true) {
            ctx.run_later(self.supervisor.wakeup_delay(), Self::handle_child_wakeup);
        }
    }

    fn arm_wakeup(&mut self, ctx: &mut Context<Self>) {
        let fork_server = self.processes.fork_server.as_ref();
        let Some(fork_server) = fork_server.filter(|_| self.supervisor.uses_statuses()) else {
            return;
        };
        match fork_server.scoreboard().arm_wakeup() {
            ArmResult::Armed => {}
            ArmResult::ChangesPending => self.handle_child_wakeup_later(ctx),
        }
    }

    /// Reads the status changes of children, then the reports of the fork server. In the opposite
    /// order, the report of an exit would clear the child's slot before its last status is read.
    fn handle_fork_server_wakeup(&mut self, ctx: &mut Context<Self>) {
        self.with_supervisor(ctx, |supervisor, processes, now| {
            read_changes(supervisor, processes);
            let mut events = Vec::new();
            // Reports that arrived before the link was lost are valid, so collect them even if the
            // flush fails.
            processes.command(|fork_server| {
                let flushed = fork_server.flush();
                fork_server.collect(&mut events).and(flushed)
            });
            for event in events {
                supervisor.on_fork_server_event(event, processes, now);
            }
            supervisor.reconcile(processes, now);
        });
        // A child can disarm the wakeup without waking the parent, so arm it again.
        self.arm_wakeup(ctx);
    }

    /// Reads the whole scoreboard, and repairs what other code has damaged.
    fn sweep_scoreboard(&mut self, ctx: &mut Context<Self>) {
        self.with_supervisor(ctx, |supervisor, processes, now| {
            if let Some(fork_server) = &processes.fork_server {
                fork_server.scoreboard().sweep(now, |entry| {
                    if supervisor.uses_statuses() {
                        supervisor.on_status_change(entry);
                    }
                });
            }
            supervisor.reconcile(processes, now);
        });
        self.arm_wakeup(ctx);
    }
}

/// Passes the changed slots of the scoreboard to the supervisor. Returns whether there were any.
fn read_changes<R: Transfer>(supervisor: &mut Supervisor<R>, processes: &Processes<R>) -> bool {
    let mut has_changed = false;
    if let Some(fork_server) = &processes.fork_server {
        let (scoreboard, time) = (fork_server.scoreboard(), now());
        scoreboard.drain_changes(|slot| {
            has_changed = true;
            supervisor.on_status_change(&scoreboard.observe_slot(slot, time));
        });
    }
    has_changed
}

/// The exit code of a System whose daemon's actor has panicked.
const ACTOR_LOST: i32 = 1;

/// Installs the panic hook of the parent, and ends the daemon after a panic in this thread that is
/// not contained. If the daemon's actor itself has panicked, stops the System.
pub(crate) fn end_on_panic<R: Transfer + Send>(
    daemon: Addr<DaemonActor<R>>,
    stopped: oneshot::Receiver<()>,
    log: Logger,
) {
    let (sender, mut panics) = unbounded_channel();
    let thread = thread::current().id();
    panics::install_hook(&log, move |panic| {
        if thread::current().id() == thread {
            // This fails if the daemon has stopped.
            let _ = sender.send(panic);
        }
    });
    actix_rt::spawn(async move {
        let mut stopped = pin!(stopped);
        loop {
            match select(pin!(panics.recv()), stopped.as_mut()).await {
                Either::Left((Some(panic), _)) => daemon.do_send(Panicked(panic)),
                Either::Left((None, _)) | Either::Right((Ok(()), _)) => return,
                Either::Right((Err(oneshot::Canceled), _)) => {
                    crit!(log, "daemon lost, ending"; "error" => %DaemonError::ActorLost);
                    System::current().stop_with_code(ACTOR_LOST);
                    return;
                }
            }
        }
    });
}

impl<R: Transfer + Send> Actor for DaemonActor<R> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Err(source) = self.watch_fork_server(ctx) {
            let error = DaemonError::Runtime { action: "watch the fork server", source };
            self.with_supervisor(ctx, |supervisor, processes, now| {
                supervisor.fail(error, StopMode::Immediate, processes, now);
            });
            return;
        }
        // Request the first forks before the sessions start, so that the fork server forks the
        // children while the sessions start.
        self.with_supervisor(ctx, Supervisor::reconcile);
        self.arm_wakeup(ctx);
        self.start_babysitter(ctx);
    }
}

/// What woke the parent: the link to the fork server, or the wakeup that children trigger.
#[derive(Debug, Clone, Copy)]
enum WakeSource {
    ForkServer,
    Children,
}

impl<R: Transfer + Send> StreamHandler<WakeSource> for DaemonActor<R> {
    fn handle(&mut self, source: WakeSource, ctx: &mut Self::Context) {
        match source {
            WakeSource::ForkServer => self.handle_fork_server_wakeup(ctx),
            WakeSource::Children => self.handle_child_wakeup(ctx),
        }
    }

    fn finished(&mut self, _ctx: &mut Self::Context) {}
}

/// Sent to the actor when code in the parent has panicked and nothing else would do its work.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub(crate) struct Panicked(pub(crate) Panic);

/// Sent to the actor when all sessions of the parent have answered `DaemonShutdown`.
#[derive(Message)]
#[rtype(result = "()")]
struct SessionsAnswered;

/// Returns a stream of the daemon's events, which begins with those that describe the current
/// state.
#[derive(Message, Debug)]
#[rtype(result = "EventStream")]
struct OpenStream;
