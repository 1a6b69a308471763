//! The daemon's actor in the parent: it turns what comes into events for the household, and what
//! the household has to tell into broadcasts, answers and log lines.

use std::os::fd::AsFd;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, SpawnHandle, StreamHandler};
use daemon_core::{Hold, Manner, Moment, Phase, Swing};
use daemon_nursery::{Handover, now};
use daemon_sys::detach::Readiness;
use daemon_sys::pidfile::PidFile;
use futures::channel::oneshot;
use slog::{Logger, debug, error, info, o, warn};

use super::foreign::ForeignChildren;
use super::hands::NurseryHands;
use super::household::{Household, Notice};
use super::registration::Counting;
use crate::babysitter::{BabysitterActor, Babysitting};
use crate::child::Life;
use crate::control::Control;
use crate::error::DaemonError;
use crate::messages::{
    ChildBorn, ChildExited, DaemonAccept, DaemonParent, DaemonPause, DaemonPhase, DaemonReload,
    DaemonStart, Detail,
};
use crate::peek;
use crate::sessions::{News, Sessions};
use crate::settings::OnHup;
use crate::status::{Report, Reporter, View};
use crate::watch::Watch;

/// What the parent's actor is made of.
pub(crate) struct Parent<R> {
    pub(crate) life: Life,
    pub(crate) log: Logger,
    pub(crate) on_hup: OnHup,
    pub(crate) grace: Duration,
    pub(crate) readiness: Option<Readiness>,
    pub(crate) pidfile: Option<PidFile>,
    pub(crate) home: Option<Home<R>>,
    pub(crate) babysit: Babysitting,
}

/// The household, and its hands.
pub(crate) struct Home<R> {
    pub(crate) household: Household<R>,
    pub(crate) hands: NurseryHands<R>,
}

/// The daemon in the parent process.
///
/// It owns the registry of children and the nursery that forks them. It stops when it is asked to
/// ([`Shutdown`](crate::Shutdown), TERM, INT) and all children are gone.
pub struct DaemonActor<R: Handover> {
    pub(super) life: Life,
    pub(super) log: Logger,
    on_hup: OnHup,
    pub(super) grace: Duration,
    pub(super) readiness: Option<Readiness>,
    pub(super) pidfile: Option<PidFile>,
    pub(super) home: Option<Home<R>>,
    pub(super) sessions: Sessions,
    pub(super) news: News,
    pub(super) foreign: ForeignChildren,
    pub(super) babysitting: Option<Babysitting>,
    pub(super) babysitter: Option<Addr<BabysitterActor>>,
    pub(super) stopping: Option<Manner>,
    pub(super) ending: super::stop::Ending,
    /// When answers that are under way are waited for no longer.
    pub(super) last_answers: Option<Moment>,
    pub(super) failure: Option<DaemonError>,
    pub(super) waiting_for_stop: Vec<oneshot::Sender<Result<(), DaemonError>>>,
    pub(super) control: Option<Control>,
    /// The service that is told of the daemon's counts.
    pub(super) counting: Counting,
    timer: Option<(Moment, SpawnHandle)>,
    started: Moment,
}

impl<R: Handover> std::fmt::Debug for DaemonActor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonActor").field("alias", &self.life.alias).finish_non_exhaustive()
    }
}

impl<R: Handover + Send> DaemonActor<R> {
    pub(crate) fn new(parent: Parent<R>, control: Option<Control>) -> Self {
        let Parent { life, log, on_hup, grace, readiness, pidfile, home, babysit } = parent;
        DaemonActor {
            life,
            log,
            on_hup,
            grace,
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
        act: impl FnOnce(&mut Household<R>, &mut NurseryHands<R>, Moment) -> T,
    ) -> Option<T> {
        let home = self.home.as_mut()?;
        let result = act(&mut home.household, &mut home.hands, now());
        self.after(ctx);
        Some(result)
    }

    pub(super) fn after(&mut self, ctx: &mut Context<Self>) {
        let Some(home) = &mut self.home else { return };
        let scoreboard = home.hands.nursery.scoreboard();
        scoreboard.set_phase(home.household.phase());
        scoreboard.show(home.household.max_children());
        let notices = home.household.notices();
        let lost = home.hands.lost.take();
        self.tell_the_phase();
        for notice in notices {
            self.tell(notice, ctx);
        }
        if let Some(lost) = lost {
            self.nursery_lost(&lost, ctx);
        }
        self.set_timer(ctx);
        self.tell_the_counts(ctx);
    }

    /// Tells the phase, if it is another than was told last.
    pub(super) fn tell_the_phase(&mut self) {
        let phase = DaemonPhase(self.phase());
        if self.news.phase != Some(phase) {
            self.news.phase = Some(phase);
            self.tell_the_counts_at_a_turn();
            self.sessions.phase.tell(&phase);
        }
    }

    fn tell(&mut self, notice: Notice, ctx: &mut Context<Self>) {
        match notice {
            Notice::Up => self.up(),
            Notice::Swing(Swing::Pause) => {
                match self.home.as_ref().map(|home| home.household.held()) {
                    Some(Hold::Yes) => info!(self.log, "paused: asked for"),
                    Some(Hold::No) | None => info!(self.log, "all children are busy: pausing"),
                }
                self.news.pause = Some(DaemonPause);
                self.sessions.pause.tell(&DaemonPause);
            }
            Notice::Swing(Swing::Accept) => {
                debug!(self.log, "accepting again");
                self.news.pause = None;
                self.sessions.accept.tell(&DaemonAccept);
            }
            Notice::Born(child, pid) => {
                debug!(self.log, "child born"; "slot" => child.slot.get(), "child" => pid.as_raw());
                self.sessions.born.tell(&ChildBorn { child, pid });
            }
            Notice::Exited(exited) => {
                if let Some(home) = &self.home {
                    home.hands.nursery.scoreboard().departed(exited.child.slot, exited.cause);
                }
                self.log_exit(&exited);
                self.sessions.exited.tell(&exited);
            }
            Notice::ForkFailed(error) => warn!(self.log, "{}", error),
            Notice::Delayed(time) => {
                warn!(self.log, "no child is forked for {:?}: too many failed in a row", time);
            }
            Notice::AtTheCap(most) => {
                warn!(self.log, "max_children is reached: all {} children are busy", most);
            }
            Notice::NotReady(why) => self.fail(DaemonError::NotReady(why), ctx),
            Notice::Reloading => self.sessions.reload.tell(&DaemonReload::Begun),
            Notice::Reloaded => {
                info!(self.log, "reloaded: all children are new");
                self.tell_the_counts_at_a_turn();
                self.sessions.reload.tell(&DaemonReload::Done);
            }
            Notice::Overdue(children) => {
                warn!(self.log, "the grace period is over: {} children are killed", children);
            }
            Notice::NurserySilent => {
                error!(self.log, "the nursery does not answer: it is killed with all its children");
                self.kill_the_nursery();
            }
            Notice::HangUpFailed(error) => {
                error!(self.log, "the nursery's old log stays in use: {}", error);
            }
            Notice::AllGone => self.children_gone(ctx),
        }
    }

    fn log_exit(&self, exited: &ChildExited) {
        let facts = o!(
            "slot" => exited.child.slot.get(),
            "child" => exited.pid.as_raw(),
            "requests" => exited.requests
        );
        if exited.cause.is_regular() {
            debug!(self.log, "child gone: {}", exited.cause; facts);
        } else {
            warn!(self.log, "child gone: {}", exited.cause; facts);
        }
    }

    /// The daemon is what it shall be.
    fn up(&mut self) {
        info!(self.log, "{} is up", self.life.alias; "model" => self.life.kind.word());
        self.news.parent = Some(DaemonParent);
        self.sessions.parent.tell(&DaemonParent);
        if let Some(readiness) = self.readiness.take() {
            readiness.ready();
        }
    }

    /// The daemon cannot go on: it stops, and its end will say why.
    pub(super) fn fail(&mut self, error: DaemonError, ctx: &mut Context<Self>) {
        error!(self.log, "{}", error);
        if let Some(readiness) = self.readiness.take() {
            readiness.failed(&error.to_string());
        }
        self.failure.get_or_insert(error);
        self.stop(Manner::AtOnce, ctx);
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
                daemon.with_home(ctx, super::household::Household::settle);
            });
            self.timer = Some((time, handle));
        }
    }

    /// Takes in what children have reported, and listens for the bell again after a pause, so
    /// that the parent's wake-ups are bounded, whatever the load.
    fn heed_the_bell(&mut self, ctx: &mut Context<Self>) {
        let Some(home) = &mut self.home else { return };
        home.hands.nursery.bell().hush();
        match self.take_in_changes(ctx) {
            Changes::Some => self.heed_the_bell_later(ctx),
            Changes::None => self.arm_the_bell(ctx),
        }
    }

    fn heed_the_bell_later(&mut self, ctx: &mut Context<Self>) {
        let Some(home) = &self.home else { return };
        ctx.run_later(home.household.bell_pause(), Self::heed_the_bell);
    }

    fn arm_the_bell(&mut self, ctx: &mut Context<Self>) {
        let Some(home) = self.home.as_ref().filter(|home| home.household.heeds_statuses()) else {
            return;
        };
        match home.hands.nursery.scoreboard().arm() {
            daemon_core::Armed::Asleep => {}
            daemon_core::Armed::ChangesWaiting => self.heed_the_bell_later(ctx),
        }
    }

    fn take_in_changes(&mut self, ctx: &mut Context<Self>) -> Changes {
        let taken_in = self.with_home(ctx, |household, hands, now| {
            let changes = take_in(household, hands);
            if changes == Changes::Some {
                household.settle(hands, now);
            }
            changes
        });
        taken_in.unwrap_or(Changes::None)
    }

    /// Takes in what the nursery has reported, and what children have: what follows from the one
    /// depends on the other.
    fn heed_the_nursery(&mut self, ctx: &mut Context<Self>) {
        self.with_home(ctx, |household, hands, now| {
            take_in(household, hands);
            let mut events = Vec::new();
            // What was reported before a loss counts, so the one is tried whatever the other says.
            let flushed = hands.nursery.flush();
            let collected = hands.nursery.collect(&mut events);
            for event in events {
                household.report(event, hands, now);
            }
            household.settle(hands, now);
            if let Err(error) = collected.and(flushed) {
                hands.lost.get_or_insert(error);
            }
        });
    }

    pub(super) fn hang_up(&mut self, ctx: &mut Context<Self>) {
        info!(self.log, "hangup");
        match self.on_hup {
            OnHup::ReopenLogs => {}
            OnHup::Reload => {
                self.with_home(ctx, super::household::Household::reload);
            }
        }
        if let Err(error) = self.reopen(ctx) {
            error!(self.log, "{}", error);
        }
    }

    pub(super) fn report(&self) -> Report {
        let board = self.home.as_ref().map(|home| home.hands.nursery.board());
        let view = View {
            alias: self.life.alias.clone(),
            model: self.life.kind,
            reporter: Reporter::Parent,
            parent: self.life.parent,
            nursery: self
                .home
                .as_ref()
                .map(|home| home.hands.nursery.pid().as_raw().unsigned_abs()),
            phase: self.phase(),
        };
        let now = now();
        let mut report = Report::of(view, board, now);
        report.up = now.saturating_since(self.started);
        if let Some(home) = &self.home {
            report.door = Some(home.household.door().into());
            report.waiting = u32::try_from(home.household.waiting()).unwrap_or(u32::MAX);
            report.counters = Some(home.household.counters());
        }
        report
    }

    pub(super) fn phase(&self) -> Phase {
        match (&self.home, self.stopping) {
            (Some(home), _) => home.household.phase(),
            (None, None) => Phase::Running,
            (None, Some(_)) if self.ending == super::stop::Ending::Over => Phase::Stopped,
            (None, Some(_)) => Phase::Stopping,
        }
    }

    pub(super) fn peek(&self, detail: Detail) -> String {
        let mut lines = self.sessions.peek(&self.life.alias);
        lines.push(format!("Subscriptions: {}", self.sessions.count()));
        if let Some(home) = &self.home {
            let census = home.household.registry().census();
            lines.push(format!(
                "Children: {} ({} starting, {} idle, {} busy, {} leaving)",
                census.children(),
                census.starting(),
                census.idle(),
                census.busy(),
                census.leaving()
            ));
            lines.extend(home.household.registry().told_to_go(home.hands.nursery.board(), now()));
            lines.push(format!("Requests that wait for a child: {}", home.household.waiting()));
            lines.push(format!(
                "Door: {:?}, held: {:?}",
                home.household.door(),
                home.household.held()
            ));
            lines.push(format!("Nursery: pid {}", home.hands.nursery.pid()));
            lines.push(format!(
                "Orders that wait for the link: {}",
                home.hands.nursery.is_waiting_to_send()
            ));
        }
        lines.push(match &self.timer {
            None => "Timer: none".to_owned(),
            Some((time, _handle)) => {
                format!("Timer: due in {:?}", time.saturating_since(now()))
            }
        });
        lines.push(format!("Foreign children: {:?}", self.foreign.pids()));
        lines.extend(self.control.as_ref().map(Control::peek));
        lines.push(self.why_it_stays());
        lines.extend(peek::farewells(&self.sessions.unanswered()));
        peek::finish(lines, detail, &self.report())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changes {
    None,
    Some,
}

/// Reads the lines of the scoreboard that have changed, and no others.
fn take_in<R: Handover>(household: &mut Household<R>, hands: &NurseryHands<R>) -> Changes {
    let mut changes = Changes::None;
    let board = hands.nursery.board();
    hands.nursery.scoreboard().drain_changes(|slot| {
        changes = Changes::Some;
        household.changed(&board.read(slot));
    });
    changes
}

impl<R: Handover + Send> Actor for DaemonActor<R> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(home) = &self.home {
            let nursery = &home.hands.nursery;
            let watches = Watch::readable(nursery.as_fd(), Woken::ByNursery).and_then(|link| {
                Ok((link, Watch::readable(nursery.bell().as_fd(), Woken::ByBell)?))
            });
            match watches {
                Ok((link, bell)) => {
                    ctx.add_stream(link);
                    ctx.add_stream(bell);
                }
                Err(source) => {
                    let act = "watch the nursery";
                    self.fail(DaemonError::Runtime { act, source }, ctx);
                    return;
                }
            }
        }
        // The first children are ordered before sessions are told, so that both go on at once.
        self.with_home(ctx, super::household::Household::settle);
        self.arm_the_bell(ctx);
        self.start_the_babysitter(ctx);
        self.news.start = Some(DaemonStart);
        if self.home.is_none() {
            self.tell_the_phase();
            self.up();
        }
    }
}

/// What the parent was woken by.
#[derive(Debug, Clone, Copy)]
enum Woken {
    ByNursery,
    ByBell,
}

impl<R: Handover + Send> StreamHandler<Woken> for DaemonActor<R> {
    fn handle(&mut self, woken: Woken, ctx: &mut Self::Context) {
        match woken {
            Woken::ByNursery => self.heed_the_nursery(ctx),
            Woken::ByBell => self.heed_the_bell(ctx),
        }
    }

    fn finished(&mut self, _ctx: &mut Self::Context) {}
}
