//! The pure state machine of a service. Each input method returns the effects, which the owner of
//! the state machine carries out.

use std::time::Duration;

use daemon_core::MonotonicTime;

use crate::state::{
    Callback, CallbackSet, Control, ControlRefused, ControlResponse, IllegalStateChange,
    ServiceState,
};

/// Identifies a participant: the service's own callbacks, or a registered actor.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ParticipantId(pub(crate) u32);

impl ParticipantId {
    /// The service's own callbacks.
    pub const CALLBACKS: ParticipantId = ParticipantId(0);
    /// Stands for the participant that `await_registration` waits for, until a participant
    /// registers.
    pub(crate) const AWAITED: ParticipantId = ParticipantId(u32::MAX);
}

/// The status of a service, as the service manager receives it.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct ServiceStatus {
    /// The present state.
    pub state: ServiceState,
    /// The progress of a pending state, by default the number of its reports. Zero in the other
    /// states.
    pub checkpoint: u32,
    /// How long a pending state may still take. Zero in the other states.
    pub wait_hint: Duration,
    /// Whether the service is reading its parameters again.
    pub is_reloading: bool,
    /// The exit code; 0 means success.
    pub exit_code: u32,
}

/// A call of a callback.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The callback that is called.
    pub callback: Callback,
    /// The service's state.
    pub state: ServiceState,
    /// The control that caused the call, if there was one.
    pub control: Option<Control>,
    /// The participant that is called.
    pub participant: ParticipantId,
    /// Identifies the call in its answer; `None` if the call needs no answer.
    pub call_id: Option<CallId>,
}

/// An effect that the state machine's owner carries out.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Report the status to the service manager.
    Report(ServiceStatus),
    /// Call a callback.
    Call(Call),
    /// End: the service has stopped.
    End,
}

/// The poll interval and the default wait hint of a service.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Timing {
    /// The time between two calls of a callback that has not answered.
    pub poll_interval: Duration,
    /// How long a pending state may take by default.
    pub wait_hint: Duration,
}

/// Identifies the call that an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallId {
    pub(crate) number: u64,
    pub(crate) participant: ParticipantId,
}

/// The effect of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStateResult {
    /// The service has entered this state.
    Entered(ServiceState),
    /// The answer is recorded, and the state has not changed: either other participants have not
    /// answered yet, or the answer to this callback does not change the state.
    Recorded,
    /// The answer is ignored: the call has been answered already, or is no longer pending.
    Stale,
}

/// Sets the service's state, and returns the new status. The original's `state`, with arguments.
///
/// Setting the present state again reports progress to the service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetState {
    /// The requested state: the present state, or a legal successor.
    pub state: ServiceState,
    /// How long the state may take, if it is pending.
    pub wait_hint: Option<Duration>,
    /// The progress of a pending state. Default: 1 in a new state, otherwise the last checkpoint
    /// plus 1.
    pub checkpoint: Option<u32>,
    /// The exit code that the service will end with.
    pub exit_code: Option<u32>,
}

impl SetState {
    /// Creates a request for this state, with the default wait hint and checkpoint.
    #[must_use]
    pub const fn new(state: ServiceState) -> SetState {
        SetState { state, wait_hint: None, checkpoint: None, exit_code: None }
    }

    /// Sets the wait hint.
    #[must_use]
    pub const fn wait_hint(self, wait_hint: Duration) -> SetState {
        SetState { wait_hint: Some(wait_hint), ..self }
    }

    /// Sets the checkpoint.
    #[must_use]
    pub const fn checkpoint(self, checkpoint: u32) -> SetState {
        SetState { checkpoint: Some(checkpoint), ..self }
    }

    /// Sets the exit code; 0 means success.
    #[must_use]
    pub const fn exit_code(self, exit_code: u32) -> SetState {
        SetState { exit_code: Some(exit_code), ..self }
    }
}

/// A call that has not been answered by all participants.
#[derive(Clone, PartialEq, Eq, Debug)]
struct PendingCall {
    number: u64,
    callback: Callback,
    unanswered: Vec<ParticipantId>,
    retry_at: MonotonicTime,
}

/// The state machine of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateMachine {
    state: ServiceState,
    last_control: Option<Control>,
    timing: Timing,
    participants: Vec<(ParticipantId, CallbackSet)>,
    pending: Option<PendingCall>,
    call_count: u64,
    registrations: u32,
    checkpoint: u32,
    wait_hint: Duration,
    is_reloading: bool,
    exit_code: u32,
}

impl StateMachine {
    /// Creates the state machine of a service that has not started and has these callbacks.
    #[must_use]
    pub fn new(timing: Timing, callbacks: CallbackSet) -> StateMachine {
        StateMachine {
            state: ServiceState::NotReady,
            last_control: None,
            timing,
            participants: vec![(ParticipantId::CALLBACKS, callbacks)],
            pending: None,
            call_count: 0,
            registrations: 0,
            checkpoint: 0,
            wait_hint: Duration::ZERO,
            is_reloading: false,
            exit_code: 0,
        }
    }

    /// Makes the service wait in `StartPending` until a participant has registered and answered.
    pub fn await_registration(&mut self) {
        self.participants.push((ParticipantId::AWAITED, CallbackSet::START));
    }

    /// Starts the service.
    pub fn start(&mut self, now: MonotonicTime) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.call_all(Callback::NotReady, now, &mut effects);
        effects
    }

    /// Returns the present state.
    #[must_use]
    pub fn state(&self) -> ServiceState {
        self.state
    }

    /// Returns the status, as the service manager receives it.
    #[must_use]
    pub fn status(&self) -> ServiceStatus {
        ServiceStatus {
            state: self.state,
            checkpoint: self.checkpoint,
            wait_hint: self.wait_hint,
            is_reloading: self.is_reloading,
            exit_code: self.exit_code,
        }
    }

    /// Returns the time at which [`tick`](StateMachine::tick) must be called next; `None` if no
    /// call is pending.
    #[must_use]
    pub fn next_wake(&self) -> Option<MonotonicTime> {
        self.pending.as_ref().map(|pending| pending.retry_at)
    }

    /// Adds a participant that receives all callbacks. The participant first receives the pending
    /// call, or the present state if no call is pending.
    pub fn register(&mut self, now: MonotonicTime) -> (ParticipantId, Vec<Effect>) {
        self.registrations += 1;
        let participant = ParticipantId(self.registrations);
        self.participants.retain(|(known, _callbacks)| *known != ParticipantId::AWAITED);
        self.participants.push((participant, CallbackSet::ALL));
        let mut effects = Vec::new();
        match &mut self.pending {
            Some(pending) => {
                pending.unanswered.retain(|unanswered| *unanswered != ParticipantId::AWAITED);
                pending.unanswered.push(participant);
                let (number, callback) = (pending.number, pending.callback);
                effects.push(self.call(
                    callback,
                    participant,
                    Some(CallId { number, participant }),
                ));
            }
            // The call with the present state needs no answer.
            None => effects.push(self.call(Callback::for_state(self.state), participant, None)),
        }
        self.advance_if_answered(now, &mut effects);
        (participant, effects)
    }

    /// Removes a participant: the service no longer waits for its answer.
    pub fn remove(&mut self, participant: ParticipantId, now: MonotonicTime) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.participants.retain(|(known, _callbacks)| *known != participant);
        self.record_answer(participant, now, &mut effects);
        effects
    }

    /// Handles a control.
    ///
    /// # Errors
    ///
    /// [`ControlRefused`] if the present state does not accept the control. The state machine then
    /// does not change.
    pub fn control(
        &mut self,
        control: Control,
        now: MonotonicTime,
    ) -> Result<Vec<Effect>, ControlRefused> {
        let mut effects = Vec::new();
        match self.state.respond(control) {
            ControlResponse::Enter(state) => {
                self.last_control = Some(control);
                self.enter(state, now, &mut effects);
            }
            ControlResponse::ShutDown => {
                self.last_control = Some(control);
                self.set_state(ServiceState::StopPending, &mut effects);
                self.call_all(Callback::Shutdown, now, &mut effects);
            }
            ControlResponse::Reload => {
                self.last_control = Some(control);
                self.is_reloading = true;
                effects.push(Effect::Report(self.status()));
                self.call_all(Callback::Unhandled, now, &mut effects);
            }
            ControlResponse::Notify => {
                for participant in self.participants_for(Callback::Unhandled) {
                    let call = Call {
                        callback: Callback::Unhandled,
                        state: self.state,
                        control: Some(control),
                        participant,
                        call_id: None,
                    };
                    effects.push(Effect::Call(call));
                }
            }
            ControlResponse::Report => effects.push(Effect::Report(self.status())),
            ControlResponse::Refuse => return Err(ControlRefused { state: self.state, control }),
        }
        Ok(effects)
    }

    /// Handles an answer. An answer without a call id is taken as the answer of the service's own
    /// callbacks to the pending call.
    pub fn next_state(
        &mut self,
        call_id: Option<CallId>,
        delay: Option<Duration>,
        now: MonotonicTime,
    ) -> (NextStateResult, Vec<Effect>) {
        let mut effects = Vec::new();
        let participant = call_id.map_or(ParticipantId::CALLBACKS, |call_id| call_id.participant);
        let is_awaited = self.pending.as_ref().is_some_and(|pending| {
            pending.unanswered.contains(&participant)
                && call_id.is_none_or(|call_id| call_id.number == pending.number)
        });
        if !is_awaited {
            return (NextStateResult::Stale, effects);
        }
        if let Some(delay) = delay
            && self.state.is_pending()
        {
            self.progress(Some(delay), None, &mut effects);
        }
        let before = self.state;
        self.record_answer(participant, now, &mut effects);
        let is_unchanged = self.state == before;
        let result = NextStateResult::Entered(self.state);
        (if is_unchanged { NextStateResult::Recorded } else { result }, effects)
    }

    /// Sets the state to a legal successor, or reports progress if the requested state is the
    /// present state.
    ///
    /// # Errors
    ///
    /// [`IllegalStateChange`] if the requested state is neither the present state nor a legal
    /// successor. The state machine then does not change.
    pub fn set(
        &mut self,
        set: SetState,
        now: MonotonicTime,
    ) -> Result<Vec<Effect>, IllegalStateChange> {
        let SetState { state, wait_hint, checkpoint, exit_code } = set;
        let mut effects = Vec::new();
        if state != self.state {
            self.state.enter(state)?;
        }
        if let Some(exit_code) = exit_code {
            self.exit_code = exit_code;
        }
        if state == self.state {
            self.progress(wait_hint, checkpoint, &mut effects);
        } else {
            self.last_control = None;
            self.enter(state, now, &mut effects);
            if state == self.state && state.is_pending() {
                self.wait_hint = wait_hint.unwrap_or(self.wait_hint);
                self.checkpoint = checkpoint.unwrap_or(self.checkpoint);
                // Put the wait hint and the checkpoint into the first report of the new state.
                let status = self.status();
                for effect in &mut effects {
                    if matches!(effect, Effect::Report(reported) if reported.state == state) {
                        *effect = Effect::Report(status);
                    }
                }
            }
        }
        Ok(effects)
    }

    /// If the poll interval has passed, repeats the pending call to the participants that have not
    /// answered.
    pub fn tick(&mut self, now: MonotonicTime) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(pending) = &mut self.pending else { return effects };
        if now < pending.retry_at {
            return effects;
        }
        pending.retry_at = now + self.timing.poll_interval;
        let PendingCall { number, callback, unanswered, .. } = pending.clone();
        effects.extend(self.calls(number, callback, &unanswered));
        effects
    }

    fn participants_for(&self, callback: Callback) -> Vec<ParticipantId> {
        let called =
            self.participants.iter().filter(|(_id, callbacks)| callbacks.contains(callback));
        called.map(|(participant, _callbacks)| *participant).collect()
    }

    fn call(
        &self,
        callback: Callback,
        participant: ParticipantId,
        call_id: Option<CallId>,
    ) -> Effect {
        Effect::Call(Call {
            callback,
            state: self.state,
            control: self.last_control,
            participant,
            call_id,
        })
    }

    /// Returns the calls of these participants.
    fn calls(
        &self,
        number: u64,
        callback: Callback,
        participants: &[ParticipantId],
    ) -> impl Iterator<Item = Effect> {
        let registered = participants.iter().filter(|id| **id != ParticipantId::AWAITED);
        registered.map(move |&participant| {
            self.call(callback, participant, Some(CallId { number, participant }))
        })
    }

    /// Calls all participants that have this callback. The new call replaces the pending call:
    /// answers to the replaced call are ignored.
    fn call_all(&mut self, callback: Callback, now: MonotonicTime, effects: &mut Vec<Effect>) {
        self.call_count += 1;
        let number = self.call_count;
        let unanswered = self.participants_for(callback);
        effects.extend(self.calls(number, callback, &unanswered));
        let retry_at = now + self.timing.poll_interval;
        self.pending = Some(PendingCall { number, callback, unanswered, retry_at });
        self.advance_if_answered(now, effects);
    }

    fn record_answer(
        &mut self,
        participant: ParticipantId,
        now: MonotonicTime,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(pending) = &mut self.pending {
            pending.unanswered.retain(|unanswered| *unanswered != participant);
            self.advance_if_answered(now, effects);
        }
    }

    /// If all participants have answered the pending call, ends the call and takes the next step: a
    /// state change, the callback after `Shutdown`, or the end of a reload.
    fn advance_if_answered(&mut self, now: MonotonicTime, effects: &mut Vec<Effect>) {
        let Some(pending) = self.pending.take_if(|pending| pending.unanswered.is_empty()) else {
            return;
        };
        match pending.callback {
            Callback::Shutdown => self.call_all(Callback::StopPending, now, effects),
            Callback::Unhandled => {
                self.is_reloading = false;
                effects.push(Effect::Report(self.status()));
            }
            Callback::NotReady
            | Callback::StartPending
            | Callback::PausePending
            | Callback::ContinuePending
            | Callback::StopPending => {
                if let Some(next) = self.state.next() {
                    self.enter(next, now, effects);
                }
            }
            Callback::Running | Callback::Paused | Callback::Stopped => {}
        }
    }

    fn set_state(&mut self, state: ServiceState, effects: &mut Vec<Effect>) {
        self.state = state;
        self.is_reloading = false;
        self.checkpoint = u32::from(state.is_pending());
        self.wait_hint = if state.is_pending() { self.timing.wait_hint } else { Duration::ZERO };
        effects.push(Effect::Report(self.status()));
    }

    fn enter(&mut self, state: ServiceState, now: MonotonicTime, effects: &mut Vec<Effect>) {
        self.set_state(state, effects);
        match state {
            ServiceState::Stopped => {
                // The callback `Stopped` needs no answer.
                self.pending = None;
                for participant in self.participants_for(Callback::Stopped) {
                    effects.push(self.call(Callback::Stopped, participant, None));
                }
                effects.push(Effect::End);
            }
            ServiceState::NotReady
            | ServiceState::StartPending
            | ServiceState::StopPending
            | ServiceState::Running
            | ServiceState::ContinuePending
            | ServiceState::PausePending
            | ServiceState::Paused => self.call_all(Callback::for_state(state), now, effects),
        }
    }

    /// Updates the wait hint and the checkpoint of a pending state, and reports the status.
    fn progress(
        &mut self,
        wait_hint: Option<Duration>,
        checkpoint: Option<u32>,
        effects: &mut Vec<Effect>,
    ) {
        if self.state.is_pending() {
            self.wait_hint = wait_hint.unwrap_or(self.wait_hint);
            self.checkpoint = checkpoint.unwrap_or(self.checkpoint.saturating_add(1));
        }
        effects.push(Effect::Report(self.status()));
    }
}

#[cfg(test)]
mod tests;
