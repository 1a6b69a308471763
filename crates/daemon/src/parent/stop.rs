//! How the parent ends: sessions first, children next, the fork server last.

use actix::fut::WrapFuture;
use actix::{ActorContext, AsyncContext, Context, Handler, Message};
use daemon_core::{Phase, StopMode};
use daemon_forkserver::{ForkServerError, Transfer, now};
use daemon_sys::process::Signal;
use futures::FutureExt;
use slog::{error, info, warn};
use std::time::Duration;

use super::actor::{DaemonActor, Home};
use super::asker::Asker;
use super::household::Household;
use crate::control::Control;
use crate::error::DaemonError;
use crate::messages::{DaemonShutdown, ShutdownReason};

/// How often it is looked whether the bereaved children of a lost fork server are gone. Nobody can
/// tell: they are not this process's children.
const BEREAVED_LOOK: Duration = Duration::from_millis(20);

/// How long a fork server without children has to go home.
const GOODBYE_MAX: Duration = Duration::from_secs(5);

/// How long answers on the control socket may hold up the end.
const LAST_ANSWERS_MAX: Duration = Duration::from_millis(200);

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The daemon runs.
    Not,
    /// Sessions were told, children are going.
    Children,
    /// All children are gone; the fork server was sent home.
    ForkServer,
    /// The fork server is gone before its time; its children are being ended.
    Bereaved { looks: u32 },
    /// Nothing is left.
    Over,
}

impl<R: Transfer + Send> DaemonActor<R> {
    /// Begins to stop, or hurries.
    pub(super) fn stop(&mut self, manner: StopMode, by: Asker, ctx: &mut Context<Self>) {
        let begun = self.stopping;
        let manner = match (begun, manner) {
            (Some(StopMode::Immediate), _) => return,
            (Some(StopMode::Graceful), StopMode::Graceful) => return,
            (Some(StopMode::Graceful), StopMode::Immediate) | (None, _) => manner,
        };
        self.stopping = Some(manner);
        let reason = match manner {
            StopMode::Graceful => ShutdownReason::Stopping,
            StopMode::Immediate => ShutdownReason::StoppingNow,
        };
        let grace = match manner {
            StopMode::Graceful => format!("{:?}", self.life.grace),
            StopMode::Immediate => "none".to_owned(),
        };
        info!(
            self.log, "{} is stopping", self.life.alias;
            "by" => %by, "children" => self.children(), "grace" => grace
        );
        self.tell_the_phase(ctx);
        if let Some(home) = &self.home {
            // Children read on the scoreboard why they get their TERM.
            home.hands.fork_server.scoreboard().set_phase(Phase::Stopping);
        }
        if begun.is_none() {
            self.ending = Ending::Children;
            let shutdown = DaemonShutdown { reason };
            self.news.shutdown = Some(shutdown);
            let address = ctx.address();
            let answers = self.sessions.shutdown.ask(&shutdown);
            // By way of the mailbox: a request that a session has sent before comes first.
            ctx.spawn(answers.map(move |()| address.do_send(FarewellsSaid)).into_actor(self));
            self.heed_foreign_ends();
            self.foreign.signal_all(Signal::Term);
            ctx.run_later(self.life.grace, Self::lose_patience);
        }
        if manner == StopMode::Immediate {
            self.lose_patience(ctx);
        }
        self.with_home(ctx, |household, hands, now| household.stop(manner, hands, now));
    }

    /// Nobody is waited for any longer: neither foreign children nor, where there are no others,
    /// sessions.
    pub(super) fn lose_patience(&mut self, ctx: &mut Context<Self>) {
        self.heed_foreign_ends();
        self.foreign.signal_all(Signal::Kill);
        if self.home.is_none() && self.ending == Ending::Children {
            self.children_gone(ctx);
        }
    }

    /// All children are gone: the fork server goes home.
    pub(super) fn children_gone(&mut self, ctx: &mut Context<Self>) {
        self.ending = Ending::ForkServer;
        if let Some(home) = &mut self.home
            && let Err(error) = home.hands.fork_server.shut_down()
        {
            home.hands.lost.get_or_insert(error);
        }
        ctx.run_later(GOODBYE_MAX, |daemon, _ctx| {
            if daemon.ending == Ending::ForkServer {
                daemon.kill_the_fork_server();
            }
        });
        self.end_if_all_are_gone(ctx);
    }

    /// Ends a fork server that does not answer, and whatever is in its process group.
    pub(super) fn kill_the_fork_server(&self) {
        self.signal_orphaned(Signal::Kill);
    }

    /// The link has ended: at the very end that is the fork server's good-bye, before it a loss.
    pub(super) fn fork_server_lost(&mut self, lost: &ForkServerError, ctx: &mut Context<Self>) {
        match self.ending {
            Ending::ForkServer => self.end_if_all_are_gone(ctx),
            Ending::Not | Ending::Children => {
                error!(self.log, "{}; its children are ended", lost);
                self.failure.get_or_insert(DaemonError::ForkServerLost(lost.to_string()));
                if let Some(readiness) = self.readiness.take() {
                    readiness.notify_failure(&lost.to_string());
                }
                if let Some(Home { household, hands }) = &mut self.home {
                    household.bereave(hands.fork_server.take_pending(), &lost.to_string());
                }
                self.ending = Ending::Bereaved { looks: 0 };
                self.stopping.get_or_insert(StopMode::Immediate);
                let shutdown = DaemonShutdown { reason: ShutdownReason::StoppingNow };
                self.news.shutdown = Some(shutdown);
                self.sessions.shutdown.tell(&shutdown);
                self.foreign.signal_all(Signal::Term);
                self.signal_orphaned(Signal::Term);
                self.look_after_the_bereaved(ctx);
            }
            Ending::Bereaved { .. } | Ending::Over => {}
        }
    }

    fn signal_orphaned(&self, signal: Signal) {
        if let Some(home) = &self.home
            && let Err(error) = home.hands.fork_server.signal_orphaned(signal)
        {
            warn!(self.log, "{}", error);
        }
    }

    /// Waits for children whose parent process is gone, and kills them when their time is over.
    fn look_after_the_bereaved(&mut self, ctx: &mut Context<Self>) {
        let Ending::Bereaved { looks } = self.ending else {
            return;
        };
        let gone = self.home.as_ref().is_none_or(|home| home.hands.fork_server.orphaned_are_gone());
        let waited = BEREAVED_LOOK * looks;
        // After the KILL only zombies are left, of an init that does not reap them.
        if gone || waited >= self.life.grace + GOODBYE_MAX {
            self.over(ctx);
            return;
        }
        if waited >= self.life.grace {
            self.signal_orphaned(Signal::Kill);
            self.foreign.signal_all(Signal::Kill);
        }
        self.ending = Ending::Bereaved { looks: looks.saturating_add(1) };
        ctx.run_later(BEREAVED_LOOK, Self::look_after_the_bereaved);
    }

    /// Ends the actor when nothing is left that it answers for.
    pub(super) fn end_if_all_are_gone(&mut self, ctx: &mut Context<Self>) {
        if !self.foreign.is_empty() {
            return;
        }
        match self.ending {
            Ending::ForkServer => {
                let buried = self.home.as_ref().map(|home| home.hands.fork_server.reap());
                match buried {
                    None | Some(Ok(Some(_))) => self.over(ctx),
                    Some(Ok(None)) => {
                        // Its end of the link is closed a moment before its process is gone.
                        ctx.run_later(Duration::from_millis(1), Self::end_if_all_are_gone);
                    }
                    Some(Err(error)) => {
                        warn!(self.log, "{}", error);
                        self.over(ctx);
                    }
                }
            }
            Ending::Not | Ending::Children | Ending::Bereaved { .. } | Ending::Over => {}
        }
    }

    fn over(&mut self, ctx: &mut Context<Self>) {
        if self.ending == Ending::Over {
            return;
        }
        self.ending = Ending::Over;
        self.tell_the_phase(ctx);
        self.part(ctx);
    }

    /// Ends the actor, once who has asked for the end, or listens to events, has heard that it has come.
    fn part(&mut self, ctx: &mut Context<Self>) {
        let until = *self.last_answers.get_or_insert(now() + LAST_ANSWERS_MAX);
        if self.control.as_ref().is_some_and(Control::is_answering) && now() < until {
            ctx.run_later(Duration::from_millis(2), Self::part);
            return;
        }
        if let Some(control) = self.control.take() {
            control.close();
        }
        if let Some(pidfile) = self.pidfile.take()
            && let Err(error) = pidfile.release()
        {
            warn!(self.log, "{}", error);
        }
        let counted = self.home.as_ref().map(|home| home.household.counters()).unwrap_or_default();
        info!(
            self.log, "{} has stopped", self.life.alias;
            "children" => counted.forks, "requests" => counted.requests
        );
        let failure = self.failure.take();
        let text = failure.as_ref().map(ToString::to_string);
        let mut first = failure.map_or(Ok(()), Err);
        for waiting in self.waiting_for_stop.drain(..) {
            let outcome = std::mem::replace(
                &mut first,
                match &text {
                    None => Ok(()),
                    Some(text) => Err(DaemonError::Ended(text.clone())),
                },
            );
            // Who has asked may have gone meanwhile.
            let _ = waiting.send(outcome);
        }
        ctx.stop();
    }

    /// What keeps this process alive.
    pub(super) fn why_it_stays(&self) -> String {
        match self.ending {
            Ending::Not => "Stays alive: the daemon runs".to_owned(),
            Ending::Children => "Stopping: waits for children and sessions".to_owned(),
            Ending::ForkServer if !self.foreign.is_empty() => {
                format!("Stopping: waits for foreign children {:?}", self.foreign.pids())
            }
            Ending::ForkServer => "Stopping: waits for the fork server".to_owned(),
            Ending::Bereaved { .. } => {
                "Stopping: waits for the children of a lost fork server".to_owned()
            }
            Ending::Over => "Has stopped".to_owned(),
        }
    }
}

/// All sessions of the parent have answered to the shutdown.
#[derive(Message)]
#[rtype(result = "()")]
struct FarewellsSaid;

impl<R: Transfer + Send> Handler<FarewellsSaid> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, _said: FarewellsSaid, ctx: &mut Self::Context) {
        if self.home.is_some() {
            self.with_home(ctx, Household::drained);
        } else if self.ending == Ending::Children {
            self.children_gone(ctx);
        }
    }
}
