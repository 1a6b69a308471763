//! The callbacks of a service.

use actix::Recipient;

use crate::messages::ServiceState;
use crate::stage::Stage;

/// The kinds of callbacks.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Callback {
    /// The service has not begun to start.
    NotReady,
    /// It shall start.
    StartPending,
    /// It runs.
    Running,
    /// It shall come to rest.
    PausePending,
    /// It rests.
    Paused,
    /// It shall go on.
    ContinuePending,
    /// It shall stop.
    StopPending,
    /// It has stopped. Nothing is to be answered.
    Stopped,
    /// The machine goes down; `StopPending` follows.
    Shutdown,
    /// What has no callback of its own: parameters that are to be read anew, which is answered, and
    /// the service's own controls, which are told once.
    Unhandled,
}

impl Callback {
    /// All of them.
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

    /// The callback of a state.
    #[must_use]
    pub const fn of(stage: Stage) -> Callback {
        match stage {
            Stage::NotReady => Callback::NotReady,
            Stage::Stopped => Callback::Stopped,
            Stage::StartPending => Callback::StartPending,
            Stage::StopPending => Callback::StopPending,
            Stage::Running => Callback::Running,
            Stage::ContinuePending => Callback::ContinuePending,
            Stage::PausePending => Callback::PausePending,
            Stage::Paused => Callback::Paused,
        }
    }
}

/// A set of callbacks.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Wants(u16);

impl Wants {
    /// All of them.
    pub const ALL: Wants = Wants((1 << Callback::ALL.len()) - 1);
    /// None.
    pub const NONE: Wants = Wants(0);
    pub(crate) const START: Wants = Wants::NONE.with(Callback::StartPending);

    /// With this one too.
    #[must_use]
    pub const fn with(self, callback: Callback) -> Wants {
        Wants(self.0 | 1 << callback as u16)
    }

    /// Whether this one is in it.
    #[must_use]
    pub const fn has(self, callback: Callback) -> bool {
        self.0 & 1 << callback as u16 != 0
    }
}

/// Who is told of the service's states.
#[derive(Debug, Default)]
pub struct Callbacks {
    each: [Option<Recipient<ServiceState>>; Callback::ALL.len()],
}

impl Callbacks {
    /// One recipient for all of them.
    pub fn all(recipient: impl Into<Recipient<ServiceState>>) -> Callbacks {
        let recipient = recipient.into();
        Callbacks { each: Callback::ALL.map(|_callback| Some(recipient.clone())) }
    }

    /// No recipient: each state moves on by itself, or as one who registers wants it to. Add some
    /// by [`on`](Callbacks::on).
    #[must_use]
    pub fn none() -> Callbacks {
        Callbacks::default()
    }

    /// With this recipient for this callback.
    #[must_use]
    pub fn on(mut self, callback: Callback, recipient: impl Into<Recipient<ServiceState>>) -> Self {
        self.each[callback as usize] = Some(recipient.into());
        self
    }

    pub(crate) fn wants(&self) -> Wants {
        let given = Callback::ALL.into_iter().filter(|callback| self.of(*callback).is_some());
        given.fold(Wants::NONE, Wants::with)
    }

    pub(crate) fn of(&self, callback: Callback) -> Option<&Recipient<ServiceState>> {
        self.each[callback as usize].as_ref()
    }
}
