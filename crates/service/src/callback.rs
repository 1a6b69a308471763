//! The callbacks of a service.

use actix::Recipient;

use crate::messages::StateCallback;
use crate::state::ServiceState;

/// A callback of a service: one for each state, one for a shutdown, and one for other controls.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Callback {
    /// The service has not begun to start.
    NotReady,
    /// The service is starting.
    StartPending,
    /// The service runs.
    Running,
    /// The service is pausing.
    PausePending,
    /// The service is paused.
    Paused,
    /// The service is continuing after a pause.
    ContinuePending,
    /// The service is stopping.
    StopPending,
    /// The service has stopped. This callback needs no answer.
    Stopped,
    /// The system shuts down. The callback `StopPending` follows.
    Shutdown,
    /// A control without a callback of its own has arrived:
    /// [`ParamChange`](crate::Control::ParamChange), which needs an answer, or a user-defined
    /// control, which is delivered once and needs no answer.
    Unhandled,
}

impl Callback {
    /// All callbacks.
    pub const ALL: [Callback; 10] = [
        Callback::NotReady,
        Callback::StartPending,
        Callback::Running,
        Callback::PausePending,
        Callback::Paused,
        Callback::ContinuePending,
        Callback::StopPending,
        Callback::Stopped,
        Callback::Shutdown,
        Callback::Unhandled,
    ];

    /// Returns the callback for a state.
    #[must_use]
    pub const fn for_state(state: ServiceState) -> Callback {
        match state {
            ServiceState::NotReady => Callback::NotReady,
            ServiceState::Stopped => Callback::Stopped,
            ServiceState::StartPending => Callback::StartPending,
            ServiceState::StopPending => Callback::StopPending,
            ServiceState::Running => Callback::Running,
            ServiceState::ContinuePending => Callback::ContinuePending,
            ServiceState::PausePending => Callback::PausePending,
            ServiceState::Paused => Callback::Paused,
        }
    }
}

/// A set of callbacks.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct CallbackSet(u16);

impl CallbackSet {
    /// All callbacks.
    pub const ALL: CallbackSet = CallbackSet((1 << Callback::ALL.len()) - 1);
    /// The empty set.
    pub const NONE: CallbackSet = CallbackSet(0);
    pub(crate) const START: CallbackSet = CallbackSet::NONE.with(Callback::StartPending);

    /// Returns the set with this callback added.
    #[must_use]
    pub const fn with(self, callback: Callback) -> CallbackSet {
        CallbackSet(self.0 | 1 << callback as u16)
    }

    /// Returns whether the set contains this callback.
    #[must_use]
    pub const fn contains(self, callback: Callback) -> bool {
        self.0 & 1 << callback as u16 != 0
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
