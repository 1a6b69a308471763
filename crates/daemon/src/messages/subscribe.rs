//! Subscriptions to broadcasts.

use actix::{Addr, Message, Recipient};
use daemon_service::ServiceActor;

/// Subscribes an actor to all events of the daemon ([`DaemonEvent`](crate::DaemonEvent)), or to one
/// kind of them (for example [`DaemonPause`](super::DaemonPause)).
///
/// A late subscriber immediately receives the events that describe the current state: in the parent
/// [`DaemonStart`](super::DaemonStart), [`DaemonPhase`](super::DaemonPhase),
/// [`DaemonParent`](super::DaemonParent) while the daemon runs,
/// [`DaemonPause`](super::DaemonPause) while it accepts no requests,
/// [`DaemonOperatorPause`](super::DaemonOperatorPause) while the operator has paused it, and
/// [`DaemonShutdown`](super::DaemonShutdown) while it stops; in a child
/// [`DaemonAccept`](super::DaemonAccept) while it may accept a request,
/// [`DaemonPause`](super::DaemonPause) and [`DaemonShutdown`](super::DaemonShutdown).
#[derive(Message, Debug)]
#[rtype(result = "SessionId")]
pub struct Subscribe<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    pub(crate) recipient: Recipient<M>,
    pub(crate) name: String,
}

impl<M> Subscribe<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// Creates a subscription for this recipient. [`Peek`](super::Peek) shows the subscription
    /// under this name.
    pub fn new(name: impl Into<String>, recipient: impl Into<Recipient<M>>) -> Self {
        Subscribe { recipient: recipient.into(), name: name.into() }
    }
}

/// The number of a session in the output of [`Peek`](super::Peek). The daemon itself is session 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(pub u32);

/// Waits until the daemon has stopped: all children and the fork server have exited.
///
/// If the daemon has ended with an error, returns the error.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "Result<(), crate::DaemonError>")]
pub struct WaitUntilStopped;

/// Connects the daemon to a service: from now on the daemon's phase drives the service's state, and
/// the service's controls are passed on to the daemon. See [`service`](crate::service).
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct RegisterWith(pub Addr<ServiceActor>);
