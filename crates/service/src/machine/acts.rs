//! What the machine's acts are made of.

use std::time::Duration;

use crate::callback::Callback;
use crate::control::Control;
use crate::messages::Ticket;
use crate::stage::Stage;

/// Who is called: the service's own callbacks, or who has registered.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Listener(pub(crate) u32);

impl Listener {
    /// The callbacks that the service was spawned with.
    pub const CALLBACKS: Listener = Listener(0);
    /// Who is yet to register.
    pub(crate) const AWAITED: Listener = Listener(u32::MAX);
}

/// Whether parameters are being read anew.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reloading {
    /// They are not.
    No,
    /// They are.
    Yes,
}

/// What the master is told of a service.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Its state.
    pub stage: Stage,
    /// Counts reports while one state is pending; 0 in the others.
    pub checkpoint: u32,
    /// How long the pending state may still last; zero in the others.
    pub wait_hint: Duration,
    /// Whether parameters are being read anew.
    pub reloading: Reloading,
    /// The exit code, 0 for a good end.
    pub exit_code: u32,
}

/// A callback that is to be called.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Which one.
    pub callback: Callback,
    /// The service's state.
    pub stage: Stage,
    /// What has led to it.
    pub message: Option<Control>,
    /// Whom.
    pub listener: Listener,
    /// By what the answer is known.
    pub ticket: Option<Ticket>,
}

/// What is to be done.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Tell the master.
    Report(Status),
    /// Call.
    Call(Call),
    /// The service is over.
    End,
}

/// How long things may last.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Times {
    /// The time between two calls of a callback that has not answered.
    pub cycle: Duration,
    /// How long a pending state may last, if nothing else is said.
    pub wait_hint: Duration,
}
