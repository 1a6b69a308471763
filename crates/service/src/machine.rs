//! The life of a service as a pure machine: what comes in leads to acts, which somebody else does.

mod acts;

use std::time::Duration;

use daemon_core::MonotonicTime;

use crate::callback::{Callback, Wants};
use crate::control::{Control, Refused};
use crate::messages::{Answered, Setting, Ticket};
use crate::stage::{IllegalState, Response, Stage};

pub use acts::{Act, Call, Listener, Reloading, Status, Times};

/// What waits for an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Asked {
    number: u64,
    callback: Callback,
    unanswered: Vec<Listener>,
    again: MonotonicTime,
}

/// The machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    stage: Stage,
    message: Option<Control>,
    times: Times,
    listeners: Vec<(Listener, Wants)>,
    asked: Option<Asked>,
    calls: u64,
    registered: u32,
    checkpoint: u32,
    wait_hint: Duration,
    reloading: Reloading,
    exit_code: u32,
}

impl Machine {
    /// A service that has not begun, with the callbacks that it wants to have called.
    #[must_use]
    pub fn new(times: Times, wants: Wants) -> Machine {
        Machine {
            stage: Stage::NotReady,
            message: None,
            times,
            listeners: vec![(Listener::CALLBACKS, wants)],
            asked: None,
            calls: 0,
            registered: 0,
            checkpoint: 0,
            wait_hint: Duration::ZERO,
            reloading: Reloading::No,
            exit_code: 0,
        }
    }

    /// Has it wait in `StartPending` until somebody has registered.
    pub fn await_registration(&mut self) {
        self.listeners.push((Listener::AWAITED, Wants::START));
    }

    /// Begins.
    pub fn begin(&mut self, now: MonotonicTime) -> Vec<Act> {
        let mut acts = Vec::new();
        self.ask(Callback::NotReady, now, &mut acts);
        acts
    }

    /// The state.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What the master knows, or is about to be told.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            stage: self.stage,
            checkpoint: self.checkpoint,
            wait_hint: self.wait_hint,
            reloading: self.reloading,
            exit_code: self.exit_code,
        }
    }

    /// When somebody is to be called again.
    #[must_use]
    pub fn next_wake(&self) -> Option<MonotonicTime> {
        self.asked.as_ref().map(|asked| asked.again)
    }

    /// Takes in a listener who is told of all states. It is asked what the others are being asked.
    pub fn register(&mut self, now: MonotonicTime) -> (Listener, Vec<Act>) {
        self.registered += 1;
        let listener = Listener(self.registered);
        self.listeners.retain(|(known, _wants)| *known != Listener::AWAITED);
        self.listeners.push((listener, Wants::ALL));
        let mut acts = Vec::new();
        match &mut self.asked {
            Some(asked) => {
                asked.unanswered.retain(|unanswered| *unanswered != Listener::AWAITED);
                asked.unanswered.push(listener);
                let (number, callback) = (asked.number, asked.callback);
                acts.push(self.call(callback, listener, Some(Ticket { number, listener })));
            }
            // It hears how things stand, and there is nothing to answer.
            None => acts.push(self.call(Callback::of(self.stage), listener, None)),
        }
        self.move_on_if_answered(now, &mut acts);
        (listener, acts)
    }

    /// A listener is gone: nobody waits for its answer.
    pub fn lost(&mut self, listener: Listener, now: MonotonicTime) -> Vec<Act> {
        let mut acts = Vec::new();
        self.listeners.retain(|(known, _wants)| *known != listener);
        self.answered_by(listener, now, &mut acts);
        acts
    }

    /// Takes in a control.
    ///
    /// # Errors
    ///
    /// [`Refused`] if it does not fit the state; nothing changes then.
    pub fn control(&mut self, control: Control, now: MonotonicTime) -> Result<Vec<Act>, Refused> {
        let mut acts = Vec::new();
        match self.stage.respond(control) {
            Response::Enter(stage) => {
                self.message = Some(control);
                self.enter(stage, now, &mut acts);
            }
            Response::ShutDown => {
                self.message = Some(control);
                self.arrive(Stage::StopPending, &mut acts);
                self.ask(Callback::Shutdown, now, &mut acts);
            }
            Response::Reload => {
                self.message = Some(control);
                self.reloading = Reloading::Yes;
                acts.push(Act::Report(self.status()));
                self.ask(Callback::Unhandled, now, &mut acts);
            }
            Response::Tell => {
                for listener in self.who_wants(Callback::Unhandled) {
                    let call = Call {
                        callback: Callback::Unhandled,
                        stage: self.stage,
                        message: Some(control),
                        listener,
                        ticket: None,
                    };
                    acts.push(Act::Call(call));
                }
            }
            Response::Report => acts.push(Act::Report(self.status())),
            Response::Refuse => return Err(Refused { stage: self.stage, control }),
        }
        Ok(acts)
    }

    /// Takes in an answer. One without a ticket is that of the service's own callbacks to whatever
    /// they are being asked.
    pub fn next_state(
        &mut self,
        ticket: Option<Ticket>,
        delay: Option<Duration>,
        now: MonotonicTime,
    ) -> (Answered, Vec<Act>) {
        let mut acts = Vec::new();
        let listener = ticket.map_or(Listener::CALLBACKS, |ticket| ticket.listener);
        let is_awaited = self.asked.as_ref().is_some_and(|asked| {
            asked.unanswered.contains(&listener)
                && ticket.is_none_or(|ticket| ticket.number == asked.number)
        });
        if !is_awaited {
            return (Answered::Late, acts);
        }
        if let Some(delay) = delay
            && self.stage.is_pending()
        {
            self.progress(Some(delay), None, &mut acts);
        }
        let before = self.stage;
        let answered = self.answered_by(listener, now, &mut acts);
        let answered = match answered {
            Answered::Noted if self.stage != before => Answered::Now(self.stage),
            Answered::Noted | Answered::Late | Answered::Now(_) => answered,
        };
        (answered, acts)
    }

    /// Sets the state: the one that the service is in, to tell how far it is, or a legal successor.
    ///
    /// # Errors
    ///
    /// [`IllegalState`] if it is no successor; nothing changes then.
    pub fn set(&mut self, setting: Setting, now: MonotonicTime) -> Result<Vec<Act>, IllegalState> {
        let Setting { stage, wait_hint, checkpoint, exit_code } = setting;
        let mut acts = Vec::new();
        if stage != self.stage {
            self.stage.enter(stage)?;
        }
        if let Some(exit_code) = exit_code {
            self.exit_code = exit_code;
        }
        if stage == self.stage {
            self.progress(wait_hint, checkpoint, &mut acts);
        } else {
            self.message = None;
            self.enter(stage, now, &mut acts);
            if stage == self.stage && stage.is_pending() {
                self.wait_hint = wait_hint.unwrap_or(self.wait_hint);
                self.checkpoint = checkpoint.unwrap_or(self.checkpoint);
                // The first report of the state has what was set.
                let status = self.status();
                for act in &mut acts {
                    if matches!(act, Act::Report(reported) if reported.stage == stage) {
                        *act = Act::Report(status);
                    }
                }
            }
        }
        Ok(acts)
    }

    /// The time has come to call those again who have not answered.
    pub fn tick(&mut self, now: MonotonicTime) -> Vec<Act> {
        let mut acts = Vec::new();
        let Some(asked) = &mut self.asked else { return acts };
        if now < asked.again {
            return acts;
        }
        asked.again = now + self.times.cycle;
        let (number, callback, unanswered) =
            (asked.number, asked.callback, asked.unanswered.clone());
        for listener in unanswered {
            if listener != Listener::AWAITED {
                acts.push(self.call(callback, listener, Some(Ticket { number, listener })));
            }
        }
        acts
    }

    fn who_wants(&self, callback: Callback) -> Vec<Listener> {
        let wanting = self.listeners.iter().filter(|(_listener, wants)| wants.has(callback));
        wanting.map(|(listener, _wants)| *listener).collect()
    }

    fn call(&self, callback: Callback, listener: Listener, ticket: Option<Ticket>) -> Act {
        Act::Call(Call { callback, stage: self.stage, message: self.message, listener, ticket })
    }

    /// Asks all who want this callback. What was asked before needs no answer any more.
    fn ask(&mut self, callback: Callback, now: MonotonicTime, acts: &mut Vec<Act>) {
        self.calls += 1;
        let number = self.calls;
        let unanswered = self.who_wants(callback);
        for listener in &unanswered {
            if *listener != Listener::AWAITED {
                let ticket = Ticket { number, listener: *listener };
                acts.push(self.call(callback, *listener, Some(ticket)));
            }
        }
        let again = now + self.times.cycle;
        self.asked = Some(Asked { number, callback, unanswered, again });
        self.move_on_if_answered(now, acts);
    }

    fn answered_by(
        &mut self,
        listener: Listener,
        now: MonotonicTime,
        acts: &mut Vec<Act>,
    ) -> Answered {
        let Some(asked) = &mut self.asked else { return Answered::Late };
        asked.unanswered.retain(|unanswered| *unanswered != listener);
        self.move_on_if_answered(now, acts);
        Answered::Noted
    }

    /// Goes where the answers lead, once all are there.
    fn move_on_if_answered(&mut self, now: MonotonicTime, acts: &mut Vec<Act>) {
        let Some(asked) = self.asked.take_if(|asked| asked.unanswered.is_empty()) else { return };
        match asked.callback {
            Callback::Shutdown => self.ask(Callback::StopPending, now, acts),
            Callback::Unhandled => {
                self.reloading = Reloading::No;
                acts.push(Act::Report(self.status()));
            }
            Callback::NotReady
            | Callback::StartPending
            | Callback::PausePending
            | Callback::ContinuePending
            | Callback::StopPending => {
                if let Some(next) = self.stage.next() {
                    self.enter(next, now, acts);
                }
            }
            Callback::Running | Callback::Paused | Callback::Stopped => {}
        }
    }

    fn arrive(&mut self, stage: Stage, acts: &mut Vec<Act>) {
        self.stage = stage;
        self.reloading = Reloading::No;
        self.checkpoint = u32::from(stage.is_pending());
        self.wait_hint = if stage.is_pending() { self.times.wait_hint } else { Duration::ZERO };
        acts.push(Act::Report(self.status()));
    }

    fn enter(&mut self, stage: Stage, now: MonotonicTime, acts: &mut Vec<Act>) {
        self.arrive(stage, acts);
        match stage {
            Stage::Stopped => {
                // Who is told of the end has nothing to answer.
                self.asked = None;
                for listener in self.who_wants(Callback::Stopped) {
                    acts.push(self.call(Callback::Stopped, listener, None));
                }
                acts.push(Act::End);
            }
            Stage::NotReady
            | Stage::StartPending
            | Stage::StopPending
            | Stage::Running
            | Stage::ContinuePending
            | Stage::PausePending
            | Stage::Paused => self.ask(Callback::of(stage), now, acts),
        }
    }

    /// Tells how far a pending state is.
    fn progress(
        &mut self,
        wait_hint: Option<Duration>,
        checkpoint: Option<u32>,
        acts: &mut Vec<Act>,
    ) {
        if self.stage.is_pending() {
            self.wait_hint = wait_hint.unwrap_or(self.wait_hint);
            self.checkpoint = checkpoint.unwrap_or(self.checkpoint.saturating_add(1));
        }
        acts.push(Act::Report(self.status()));
    }
}

#[cfg(test)]
mod tests;
