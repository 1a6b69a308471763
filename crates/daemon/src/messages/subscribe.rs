//! Subscriptions to broadcasts.

use actix::{Addr, Message, Recipient};
use daemon_service::ServiceActor;

/// Subscribes an actor to one kind of broadcast.
///
/// Some broadcasts are retained: an actor that subscribes after such a broadcast receives it
/// immediately. The retained broadcasts are [`DaemonStart`](super::DaemonStart),
/// [`DaemonParent`](super::DaemonParent), [`DaemonPhase`](super::DaemonPhase),
/// [`DaemonOperatorPause`](super::DaemonOperatorPause),
/// [`DaemonPause`](super::DaemonPause) while the daemon is paused,
/// [`DaemonAccept`](super::DaemonAccept) in a child that may accept a request, and
/// [`DaemonShutdown`](super::DaemonShutdown).
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
