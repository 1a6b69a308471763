//! The events of a process, and who receives them.
//!
//! Each event is a [`DaemonEvent`], emitted in one place. A session subscribes to all events or to
//! one kind, which is a filter over them. The control socket reads the same events as an
//! [`EventStream`]. What a late subscriber receives follows from the state of the process.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use actix::{Message, Recipient};
use daemon_core::AcceptState;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};

pub use daemon_protocol::DaemonEvent;

use crate::messages::{
    ChildExited, ChildForked, DaemonAccept, DaemonHup, DaemonOperatorPause, DaemonParent,
    DaemonPause, DaemonPhase, DaemonReload, DaemonShutdown, DaemonStart, ForeignExited, RogueChild,
    SessionId, Subscribe,
};

/// The number of events that an [`EventStream`] keeps for a slow reader.
pub(crate) const STREAM_CAPACITY: usize = 1024;

/// A message that is broadcast to subscribed sessions: a [`DaemonEvent`], or one kind of it. This
/// trait is sealed.
pub trait Broadcast: Message<Result = ()> + Clone + Send + sealed::Filter {}

mod sealed {
    use super::DaemonEvent;

    pub trait Filter: Sized + 'static {
        /// Returns the message for this event; `None` if the event is of another kind.
        fn of(event: &DaemonEvent) -> Option<Self>;
    }
}

macro_rules! broadcasts {
    ($($message:ty: $pattern:pat => $value:expr;)*) => {$(
        impl Broadcast for $message {}
        impl sealed::Filter for $message {
            fn of(event: &DaemonEvent) -> Option<Self> {
                if let $pattern = event { Some($value) } else { None }
            }
        }
    )*};
}

broadcasts! {
    DaemonStart: DaemonEvent::Start => DaemonStart;
    DaemonParent: DaemonEvent::Ready => DaemonParent;
    DaemonAccept: DaemonEvent::Accepting { state: AcceptState::Accepting } => DaemonAccept;
    DaemonPause: DaemonEvent::Accepting { state: AcceptState::Paused } => DaemonPause;
    DaemonHup: DaemonEvent::Hup => DaemonHup;
    DaemonShutdown: DaemonEvent::Shutdown { reason } => DaemonShutdown { reason: *reason };
    DaemonPhase: DaemonEvent::Phase { phase } => DaemonPhase(*phase);
    DaemonOperatorPause: DaemonEvent::OperatorPause { state } => DaemonOperatorPause(*state);
    DaemonReload: DaemonEvent::Reload { state } => *state;
    ChildForked: DaemonEvent::Forked(forked) => *forked;
    ChildExited: DaemonEvent::Exited(exited) => exited.clone();
    RogueChild: DaemonEvent::Rogue(rogue) => rogue.clone();
    ForeignExited: DaemonEvent::ForeignExited(exited) => *exited;
}

impl Broadcast for DaemonEvent {}
impl sealed::Filter for DaemonEvent {
    fn of(event: &DaemonEvent) -> Option<Self> {
        Some(event.clone())
    }
}

/// The subscription of one actor.
struct Subscription {
    session: SessionId,
    /// The name of the message.
    message: &'static str,
    subscriber: Box<dyn Subscriber>,
}

/// A subscribed actor, independent of the type of its message.
trait Subscriber {
    /// Sends the event, if it passes the filter. Returns `false` if the actor has stopped.
    fn send(&self, event: &DaemonEvent) -> bool;
    /// Sends the event, if it passes the filter. The future completes when the actor has answered
    /// or stopped.
    fn ask(&self, event: &DaemonEvent) -> Option<LocalBoxFuture<'static, ()>>;
    fn is_connected(&self) -> bool;
}

impl<M: Broadcast> Subscriber for Recipient<M> {
    fn send(&self, event: &DaemonEvent) -> bool {
        let Some(message) = M::of(event) else { return true };
        self.do_send(message);
        self.connected()
    }

    fn ask(&self, event: &DaemonEvent) -> Option<LocalBoxFuture<'static, ()>> {
        let message = M::of(event)?;
        Some(Recipient::send(self, message).map(drop).boxed_local())
    }

    fn is_connected(&self) -> bool {
        self.connected()
    }
}

/// All subscriptions in this process.
#[derive(Default)]
pub(crate) struct Events {
    /// The names of the sessions.
    names: Vec<String>,
    subscriptions: Vec<Subscription>,
    /// The sessions that have neither answered the shutdown nor stopped.
    unanswered: Rc<RefCell<Vec<SessionId>>>,
    stream: Option<Sender<DaemonEvent>>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Events {
    /// Sends the event to all subscribers and streams.
    pub(crate) fn emit(&mut self, event: DaemonEvent) {
        self.subscriptions.retain(|subscription| subscription.subscriber.send(&event));
        self.stream_out(event);
    }

    /// Sends the event to all subscribers and streams. The future completes when each subscriber
    /// has answered or stopped.
    pub(crate) fn emit_and_wait(&mut self, event: DaemonEvent) -> LocalBoxFuture<'static, ()> {
        self.remove_stopped();
        let mut answers = Vec::new();
        for Subscription { session, subscriber, .. } in &self.subscriptions {
            let Some(answer) = subscriber.ask(&event) else { continue };
            let (unanswered, session) = (Rc::clone(&self.unanswered), *session);
            unanswered.borrow_mut().push(session);
            answers.push(answer.map(move |()| {
                let mut waiting = unanswered.borrow_mut();
                if let Some(index) = waiting.iter().position(|waiting| *waiting == session) {
                    waiting.swap_remove(index);
                }
            }));
        }
        self.stream_out(event);
        join_all(answers).map(drop).boxed_local()
    }

    fn stream_out(&mut self, event: DaemonEvent) {
        if let Some(stream) = &self.stream
            && stream.send(event).is_err()
        {
            // No reader is left, so events are no longer kept.
            self.stream = None;
        }
    }

    fn remove_stopped(&mut self) {
        self.subscriptions.retain(|subscription| subscription.subscriber.is_connected());
    }

    /// Adds a subscriber, and sends it those of the current events that pass its filter.
    pub(crate) fn subscribe<M: Broadcast>(
        &mut self,
        subscribe: Subscribe<M>,
        current: &[DaemonEvent],
    ) -> SessionId {
        let Subscribe { recipient, name } = subscribe;
        let session = self.session(&name);
        // Remove stopped subscribers, so that short-lived sessions do not accumulate.
        self.remove_stopped();
        for event in current {
            Subscriber::send(&recipient, event);
        }
        let message = std::any::type_name::<M>().rsplit("::").next().unwrap_or_default();
        self.subscriptions.push(Subscription { session, message, subscriber: Box::new(recipient) });
        session
    }

    /// Returns a stream of all events from now on, which begins with the current events.
    pub(crate) fn stream(&mut self, current: Vec<DaemonEvent>) -> EventStream {
        let stream = self.stream.get_or_insert_with(|| broadcast::channel(STREAM_CAPACITY).0);
        EventStream { current: current.into(), receiver: stream.subscribe() }
    }

    /// Returns the number of the session with this name. A new name gets the next number. The
    /// daemon itself is session 1.
    fn session(&mut self, name: &str) -> SessionId {
        let position = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        number_of(position)
    }

    /// Returns the lines of the answer to [`Peek`](crate::Peek) that list the sessions and their
    /// subscriptions.
    pub(crate) fn peek(&self, alias: &str) -> Vec<String> {
        let mut lines = vec![format!("session 1 ({alias})")];
        for (index, name) in self.names.iter().enumerate() {
            let session = number_of(index);
            let own = || self.subscriptions.iter().filter(|known| known.session == session);
            let is_alive = own().any(|subscription| subscription.subscriber.is_connected());
            let state = if is_alive { "" } else { ", stopped" };
            lines.push(format!("session {} ({name}){state}", session.0));
            let messages: Vec<_> = own().map(|subscription| subscription.message).collect();
            lines.push(format!("    Messages: {}", messages.join(" ")));
        }
        lines
    }

    /// Returns the sessions that have not yet answered `DaemonShutdown`, named as in
    /// [`peek`](Events::peek).
    pub(crate) fn unanswered(&self) -> Vec<String> {
        let mut sessions: Vec<u32> =
            self.unanswered.borrow().iter().map(|session| session.0).collect();
        sessions.sort_unstable();
        sessions.dedup();
        let name = |session: u32| {
            let index = usize::try_from(session.saturating_sub(2)).unwrap_or(usize::MAX);
            let name = self.names.get(index).map_or("?", String::as_str);
            format!("session {session} ({name})")
        };
        sessions.into_iter().map(name).collect()
    }

    /// Returns the number of subscriptions.
    pub(crate) fn count(&self) -> usize {
        self.subscriptions.len()
    }
}

fn number_of(position: usize) -> SessionId {
    SessionId(u32::try_from(position).unwrap_or(u32::MAX).saturating_add(2))
}

/// All events of a process, for a reader that may be slow. If the reader falls behind by more than
/// [`STREAM_CAPACITY`] events, the oldest are dropped, and [`DaemonEvent::Missed`] takes their
/// place.
#[derive(Debug)]
pub(crate) struct EventStream {
    current: VecDeque<DaemonEvent>,
    receiver: Receiver<DaemonEvent>,
}

impl EventStream {
    /// Waits for the next event; returns `None` after the last event.
    pub(crate) async fn next(&mut self) -> Option<DaemonEvent> {
        if let Some(event) = self.current.pop_front() {
            return Some(event);
        }
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(events)) => Some(DaemonEvent::Missed { events }),
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests;
