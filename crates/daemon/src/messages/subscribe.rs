//! How to be told.

use actix::{Addr, Message, Recipient};
use daemon_service::ServiceActor;

/// Asks to be told of one kind of broadcast.
///
/// What has already happened and still holds is told at once: [`DaemonStart`](super::DaemonStart),
/// [`DaemonParent`](super::DaemonParent), [`DaemonPhase`](super::DaemonPhase),
/// [`DaemonOperatorPause`](super::DaemonOperatorPause), [`DaemonPause`](super::DaemonPause) while the door is shut,
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
    /// Subscribes this recipient, under a name that [`Peek`](super::Peek) shows.
    pub fn new(name: impl Into<String>, recipient: impl Into<Recipient<M>>) -> Self {
        Subscribe { recipient: recipient.into(), name: name.into() }
    }
}

/// The number under which [`Peek`](super::Peek) shows a session. The daemon itself is session 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(pub u32);

/// Asks to be told when the daemon has stopped: all children gone, the fork server too.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "Result<(), crate::DaemonError>")]
pub struct WaitUntilStopped;

/// Asks the parent to register with a service: its phase drives the service's states from now on,
/// and the service's controls reach the daemon. See [`service`](crate::service).
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct RegisterWith(pub Addr<ServiceActor>);
