//! The daemon's actor in the parent: it turns what comes into events for the household, and what
//! the household has to tell into broadcasts, answers and log lines.

mod inside;
mod telling;
mod waking;

use std::os::fd::AsFd;

use actix::{Actor, Addr, AsyncContext, Context, SpawnHandle};
use daemon_core::{MonotonicTime, StopMode};
use daemon_forkserver::{Transfer, now};
use daemon_sys::detach::ReadinessNotifier;
use daemon_sys::pidfile::PidFile;
use futures::channel::oneshot;
use slog::{Logger, error, info};

use super::asker::Asker;
use super::foreign::ForeignChildren;
use super::hands::ForkServerHands;
use super::household::Household;
use super::registration::Counting;
use crate::babysitter::{BabysitterActor, Babysitting};
use crate::child::Life;
use crate::control::Control;
use crate::error::DaemonError;
use crate::messages::DaemonStart;
use crate::sessions::{News, Sessions};
use crate::settings::OnHup;
use crate::watch::Watch;
use waking::Woken;

/// What the parent's actor is made of.
pub(crate) struct Parent<R> {
    pub(crate) life: Life,
    pub(crate) log: Logger,
    pub(crate) on_hup: OnHup,
    pub(crate) readiness: Option<ReadinessNotifier>,
    pub(crate) pidfile: Option<PidFile>,
    pub(crate) home: Option<Home<R>>,
    pub(crate) babysit: Babysitting,
}

/// The household, and its hands.
pub(crate) struct Home<R> {
    pub(crate) household: Household<R>,
    pub(crate) hands: ForkServerHands<R>,
}

/// The daemon in the parent process.
///
/// It owns the registry of children and the fork server that forks them. It stops when it is asked to
/// ([`Shutdown`](crate::Shutdown), TERM, INT) and all children are gone.
pub struct DaemonActor<R: Transfer> {
    pub(super) life: Life,
    pub(super) log: Logger,
    on_hup: OnHup,
    pub(super) readiness: Option<ReadinessNotifier>,
    pub(super) pidfile: Option<PidFile>,
    pub(super) home: Option<Home<R>>,
    pub(super) sessions: Sessions,
    pub(super) news: News,
    pub(super) foreign: ForeignChildren,
    pub(super) babysitting: Option<Babysitting>,
    pub(super) babysitter: Option<Addr<BabysitterActor>>,
    pub(super) stopping: Option<StopMode>,
    pub(super) ending: super::stop::Ending,
    /// When answers that are under way are waited for no longer.
    pub(super) last_answers: Option<MonotonicTime>,
    pub(super) failure: Option<DaemonError>,
    pub(super) waiting_for_stop: Vec<oneshot::Sender<Result<(), DaemonError>>>,
    pub(super) control: Option<Control>,
    /// The service that is told of the daemon's counts.
    pub(super) counting: Counting,
    timer: Option<(MonotonicTime, SpawnHandle)>,
    started: MonotonicTime,
}

impl<R: Transfer> std::fmt::Debug for DaemonActor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonActor").field("alias", &self.life.alias).finish_non_exhaustive()
    }
}

impl<R: Transfer + Send> DaemonActor<R> {
    pub(crate) fn new(parent: Parent<R>, control: Option<Control>) -> Self {
        let Parent { life, log, on_hup, readiness, pidfile, home, babysit } = parent;
        DaemonActor {
            life,
            log,
            on_hup,
            readiness,
            pidfile,
            home,
            sessions: Sessions::default(),
            news: News::default(),
            foreign: ForeignChildren::default(),
            babysitting: Some(babysit),
            babysitter: None,
            stopping: None,
            ending: super::stop::Ending::Not,
            last_answers: None,
            failure: None,
            waiting_for_stop: Vec::new(),
            control,
            counting: Counting::Nobody,
            timer: None,
            started: now(),
        }
    }

    /// Has the household act, then tells what there is to tell.
    pub(super) fn with_home<T>(
        &mut self,
        ctx: &mut Context<Self>,
        act: impl FnOnce(&mut Household<R>, &mut ForkServerHands<R>, MonotonicTime) -> T,
    ) -> Option<T> {
        let home = self.home.as_mut()?;
        let result = act(&mut home.household, &mut home.hands, now());
        self.after(ctx);
        Some(result)
    }

    pub(super) fn after(&mut self, ctx: &mut Context<Self>) {
        let Some(home) = &mut self.home else { return };
        let scoreboard = home.hands.fork_server.scoreboard();
        scoreboard.set_phase(home.household.phase());
        scoreboard.show(home.household.max_children());
        let notices = home.household.notices();
        let lost = home.hands.lost.take();
        for notice in notices {
            self.tell(notice, ctx);
        }
        // After what has led to it: who hears that all has ended has heard of each child's end.
        self.tell_the_phase(ctx);
        if let Some(lost) = lost {
            self.fork_server_lost(&lost, ctx);
        }
        self.set_timer(ctx);
        self.tell_the_counts(ctx);
    }

    /// The daemon cannot go on: it stops, and its end will say why.
    pub(super) fn fail(&mut self, error: DaemonError, ctx: &mut Context<Self>) {
        error!(self.log, "{}", error);
        if let Some(readiness) = self.readiness.take() {
            readiness.notify_failure(&error.to_string());
        }
        self.failure.get_or_insert(error);
        self.stop(StopMode::Immediate, Asker::Failure, ctx);
    }

    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let wake = self.home.as_ref().and_then(|home| home.household.next_wake());
        let set = self.timer.as_ref().map(|(time, _handle)| *time);
        if wake == set {
            return;
        }
        if let Some((_time, handle)) = self.timer.take() {
            ctx.cancel_future(handle);
        }
        if let Some(time) = wake {
            let pause = time.saturating_since(now());
            let handle = ctx.run_later(pause, |daemon, ctx| {
                daemon.timer = None;
                daemon.with_home(ctx, Household::settle);
            });
            self.timer = Some((time, handle));
        }
    }

    pub(super) fn reopen_logs(&mut self, ctx: &mut Context<Self>) {
        match self.on_hup {
            OnHup::ReopenLogs => info!(self.log, "hangup: reopening logs"),
            OnHup::Reload => {
                info!(self.log, "hangup: reopening logs, and replacing children");
                self.with_home(ctx, Household::reload);
            }
        }
        if let Err(error) = self.reopen(ctx) {
            error!(self.log, "{}", error);
        }
    }
}

impl<R: Transfer + Send> Actor for DaemonActor<R> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(home) = &self.home {
            let fork_server = &home.hands.fork_server;
            let watches =
                Watch::readable(fork_server.as_fd(), Woken::ByForkServer).and_then(|link| {
                    Ok((link, Watch::readable(fork_server.wakeup().as_fd(), Woken::ByBell)?))
                });
            match watches {
                Ok((link, bell)) => {
                    ctx.add_stream(link);
                    ctx.add_stream(bell);
                }
                Err(source) => {
                    let act = "watch the fork server";
                    self.fail(DaemonError::Runtime { act, source }, ctx);
                    return;
                }
            }
        }
        // The first children are ordered before sessions are told, so that both go on at once.
        self.with_home(ctx, Household::settle);
        self.arm_the_bell(ctx);
        self.start_the_babysitter(ctx);
        self.news.start = Some(DaemonStart);
        if self.home.is_none() {
            self.tell_the_phase(ctx);
            self.up();
        }
    }
}
