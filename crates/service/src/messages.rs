//! The messages between a service, its callbacks and its participants.

use std::time::Duration;

use actix::{Message, Recipient};

use crate::state::{Callback, CallbackSet, Control, IllegalStateChange, ServiceState};
use crate::state_machine::{CallId, NextStateResult, ServiceStatus, SetState};

/// Calls a callback with the service's state. The original, `POE::Component::Daemon::Win32`, has a
/// separate event for each state instead, for example `service_running`.
///
/// The service sends the message again at each
/// [poll interval](crate::ServiceSettings::poll_interval) until the callback answers with
/// [`NextState`].
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct StateCallback {
    /// The service's state.
    pub state: ServiceState,
    /// The control that caused the call, if there was one. The original's `message`.
    pub control: Option<Control>,
    /// The callback that is called.
    pub callback: Callback,
    /// Identifies the call in its answer; `None` if the call needs no answer.
    pub call_id: Option<CallId>,
}

impl StateCallback {
    /// Returns an answer that is valid for this call only. A duplicate or late answer is ignored.
    ///
    /// If the call needs no answer, its `call_id` is `None`, and this method returns
    /// `NextState::default()`.
    #[must_use]
    pub fn next(&self) -> NextState {
        NextState { call_id: self.call_id, delay: None }
    }
}

/// The recipients of a service's callbacks.
#[derive(Debug, Default)]
pub struct Callbacks {
    recipients: [Option<Recipient<StateCallback>>; Callback::ALL.len()],
}

impl Callbacks {
    /// Uses one recipient for all callbacks.
    pub fn all(recipient: impl Into<Recipient<StateCallback>>) -> Callbacks {
        let recipient = recipient.into();
        Callbacks { recipients: Callback::ALL.map(|_callback| Some(recipient.clone())) }
    }

    /// Uses no recipients. Add recipients with [`on`](Callbacks::on).
    ///
    /// The service waits only for the answers of callbacks that have a recipient, and for the
    /// answers of registered participants.
    #[must_use]
    pub fn none() -> Callbacks {
        Callbacks::default()
    }

    /// Sets the recipient for one callback.
    #[must_use]
    pub fn on(
        mut self,
        callback: Callback,
        recipient: impl Into<Recipient<StateCallback>>,
    ) -> Self {
        self.recipients[callback as usize] = Some(recipient.into());
        self
    }

    pub(crate) fn callback_set(&self) -> CallbackSet {
        let given =
            Callback::ALL.into_iter().filter(|callback| self.recipient(*callback).is_some());
        given.fold(CallbackSet::NONE, CallbackSet::with)
    }

    pub(crate) fn recipient(&self, callback: Callback) -> Option<&Recipient<StateCallback>> {
        self.recipients[callback as usize].as_ref()
    }
}

/// Answers a callback: its work is done, and the service may enter the next state. The original's
/// `next_state`.
///
/// `NextState::default()` answers the pending call of the service's own callbacks, whichever state
/// the call is for. An answer from [`StateCallback::next`] is valid for one call only.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[rtype(result = "NextStateResult")]
pub struct NextState {
    pub(crate) call_id: Option<CallId>,
    pub(crate) delay: Option<Duration>,
}

impl NextState {
    /// Sets how long the service may still stay in its pending state. For example, the answer to
    /// the callback `Shutdown` sets how long the service may take until it has stopped. The service
    /// manager receives the delay as the wait hint. Default: the service's own
    /// [wait hint](crate::ServiceSettings::wait_hint), 30 s unless the settings change it.
    #[must_use]
    pub fn delay(self, delay: Duration) -> NextState {
        NextState { delay: Some(delay), ..self }
    }
}

/// Returns the service's status. The original's `state`, without arguments.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "ServiceStatus")]
pub struct GetState;

impl Message for SetState {
    type Result = Result<ServiceStatus, IllegalStateChange>;
}

/// Registers a participant: an actor that from then on receives all callbacks. The service enters
/// the next state only after the participant has answered too.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Register {
    /// Receives the callbacks.
    pub recipient: Recipient<StateCallback>,
    /// Answers whether the participant is healthy, each time before the service notifies the
    /// watchdog of the service manager.
    pub health: Option<Recipient<CheckHealth>>,
    /// The actor that listens to the signals of this process.
    pub signals: SignalOwner,
}

/// Which actor listens to the signals of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalOwner {
    /// The service.
    Service,
    /// The participant. It sends the service the matching [`Control`]s.
    Participant,
}

/// Asks a participant whether it is healthy, before the service notifies the watchdog.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Health")]
pub struct CheckHealth;

/// The health of a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The participant works.
    Healthy,
    /// The participant does not work, for this reason. The service does not notify the watchdog.
    Unhealthy(String),
}

/// Sets the text that the service manager shows beside the state. Has no effect on Windows.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct SetStatusText(pub String);

/// Waits until the service has stopped, and returns its exit code.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "u32")]
pub struct AwaitExit;

/// Logs why the service ends without the callbacks of a stop.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub(crate) struct LogPanic(pub(crate) String);
