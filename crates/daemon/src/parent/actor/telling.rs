//! What the household has to tell, as broadcasts and log lines.

use actix::Context;
use daemon_core::{Hold, Swing};
use daemon_nursery::Handover;
use slog::{debug, error, info, o, warn};

use super::DaemonActor;
use crate::error::DaemonError;
use crate::messages::{
    ChildBorn, ChildExited, DaemonAccept, DaemonParent, DaemonPause, DaemonPhase, DaemonReload,
};
use crate::parent::household::Notice;

impl<R: Handover + Send> DaemonActor<R> {
    /// Tells the phase, if it is another than was told last.
    pub(in crate::parent) fn tell_the_phase(&mut self) {
        let phase = DaemonPhase(self.phase());
        if self.news.phase != Some(phase) {
            self.news.phase = Some(phase);
            self.sessions.phase.tell(&phase);
        }
    }

    pub(super) fn tell(&mut self, notice: Notice, ctx: &mut Context<Self>) {
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
    pub(super) fn up(&mut self) {
        info!(self.log, "{} is up", self.life.alias; "model" => self.life.kind.word());
        self.news.parent = Some(DaemonParent);
        self.sessions.parent.tell(&DaemonParent);
        if let Some(readiness) = self.readiness.take() {
            readiness.ready();
        }
    }
}
