//! The effects of the state machine, and the types that they consist of.

use std::time::Duration;

use crate::callback::Callback;
use crate::control::Control;
use crate::messages::CallId;
use crate::state::ServiceState;

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

/// Whether the service is reading its parameters again.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reloading {
    /// No reload is in progress.
    No,
    /// A reload is in progress.
    Yes,
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
    pub reloading: Reloading,
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
