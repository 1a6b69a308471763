//! The subscriptions of sessions: one typed list for each broadcast message.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Message, Recipient};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};

use crate::messages::{
    ChildExited, ChildForked, DaemonAccept, DaemonHup, DaemonOperatorPause, DaemonParent,
    DaemonPause, DaemonPhase, DaemonReload, DaemonShutdown, DaemonStart, ForeignExited, RogueChild,
    SessionId, Subscribe,
};

/// The subscription of one actor.
#[derive(Debug)]
struct Subscription<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    recipient: Recipient<M>,
    session: SessionId,
}

/// The sessions that received a message and have neither answered it nor stopped.
#[derive(Debug, Clone, Default)]
struct Unanswered(Arc<Mutex<Vec<SessionId>>>);

impl Unanswered {
    fn sessions(&self) -> MutexGuard<'_, Vec<SessionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, session: SessionId) {
        let mut sessions = self.sessions();
        if let Some(index) = sessions.iter().position(|waiting| *waiting == session) {
            sessions.swap_remove(index);
        }
    }
}

/// The subscribers of one broadcast message.
#[derive(Debug)]
pub(crate) struct Subscribers<M>(Vec<Subscription<M>>, Unanswered)
where
    M: Message + Send + 'static,
    M::Result: Send;

impl<M> Default for Subscribers<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn default() -> Self {
        Subscribers(Vec::new(), Unanswered::default())
    }
}

impl<M> Subscribers<M>
where
    M: Message<Result = ()> + Clone + Send + 'static,
{
    /// Sends the message to all subscribers. Removes the subscriptions of actors that have stopped.
    pub(crate) fn broadcast(&mut self, message: &M) {
        self.0.retain(|subscription| subscription.recipient.connected());
        for subscription in &self.0 {
            subscription.recipient.do_send(message.clone());
        }
    }

    /// Sends the message to all subscribers. The future completes when each subscriber has answered
    /// or stopped.
    pub(crate) fn broadcast_and_wait(&mut self, message: &M) -> BoxFuture<'static, ()> {
        self.0.retain(|subscription| subscription.recipient.connected());
        let answers: Vec<_> = self
            .0
            .iter()
            .map(|Subscription { recipient, session }| {
                let (unanswered, session) = (self.1.clone(), *session);
                unanswered.sessions().push(session);
                let answer = recipient.send(message.clone());
                answer.map(move |_answered_or_stopped| unanswered.answered(session))
            })
            .collect();
        join_all(answers).map(drop).boxed()
    }
}

impl Sessions {
    /// Returns the number of the session with this name. A new name gets the next number. The
    /// daemon itself is session 1.
    fn session(&mut self, name: &str) -> SessionId {
        let position = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        SessionId(u32::try_from(position).unwrap_or(u32::MAX).saturating_add(2))
    }

    /// Returns the lines of the answer to [`Peek`](crate::Peek) that list the sessions and their
    /// subscriptions.
    pub(crate) fn peek(&self, alias: &str) -> Vec<String> {
        let mut lines = vec![format!("session 1 ({alias})")];
        for (index, name) in self.names.iter().enumerate() {
            let session = SessionId(u32::try_from(index).unwrap_or(u32::MAX).saturating_add(2));
            let state = if self.is_alive(session) { "" } else { ", stopped" };
            lines.push(format!("session {} ({name}){state}", session.0));
            let subscriptions = self.subscriptions_of(session);
            lines.push(format!("    Messages: {}", subscriptions.join(" ")));
        }
        lines
    }

    /// Returns the sessions that have not yet answered `DaemonShutdown`, named as in
    /// [`peek`](Sessions::peek).
    pub(crate) fn unanswered(&self) -> Vec<String> {
        let mut sessions: Vec<u32> =
            self.shutdown.1.sessions().iter().map(|session| session.0).collect();
        sessions.sort_unstable();
        sessions.dedup();
        let name = |session: u32| {
            let index = usize::try_from(session.saturating_sub(2)).unwrap_or(usize::MAX);
            let name = self.names.get(index).map_or("?", String::as_str);
            format!("session {session} ({name})")
        };
        sessions.into_iter().map(name).collect()
    }

    /// Returns whether an actor of this session still accepts messages.
    fn is_alive(&self, session: SessionId) -> bool {
        self.lists().any(|(_name, list)| list.is_connected(session))
    }

    fn subscriptions_of(&self, session: SessionId) -> Vec<&'static str> {
        self.lists().filter_map(|(name, list)| list.has(session).then_some(name)).collect()
    }

    /// Returns the number of subscriptions.
    pub(crate) fn count(&self) -> usize {
        self.lists().map(|(_name, list)| list.count()).sum()
    }
}

/// A list of subscribers, independent of the type of their message.
trait SubscriberList {
    fn count(&self) -> usize;
    /// Returns whether this session has subscribed.
    fn has(&self, session: SessionId) -> bool;
    /// Returns whether this session has subscribed and still accepts messages.
    fn is_connected(&self, session: SessionId) -> bool;
}

impl<M: Message<Result = ()> + Send + 'static> SubscriberList for Subscribers<M> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn has(&self, session: SessionId) -> bool {
        self.0.iter().any(|known| known.session == session)
    }

    fn is_connected(&self, session: SessionId) -> bool {
        self.0.iter().any(|known| known.session == session && known.recipient.connected())
    }
}

/// A message that is broadcast to subscribed sessions. This trait is sealed.
pub trait Broadcast: Message<Result = ()> + Clone + Send + sealed::Retained {}

mod sealed {
    use super::{Sessions, Subscribers};
    use actix::Message;

    pub trait Retained: Message<Result = ()> + Clone + Send + Sized + 'static {
        #[expect(private_interfaces, reason = "sealed: not callable from outside")]
        fn subscribers(sessions: &mut Sessions) -> &mut Subscribers<Self>;
        #[expect(private_interfaces, reason = "sealed: not callable from outside")]
        fn retained(retained: &super::RetainedEvents) -> Option<Self>;
    }
}

/// The broadcasts that are still valid. Sessions that subscribe later receive them immediately.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct RetainedEvents {
    pub(crate) start: Option<DaemonStart>,
    pub(crate) parent: Option<DaemonParent>,
    pub(crate) pause: Option<DaemonPause>,
    pub(crate) accept: Option<DaemonAccept>,
    pub(crate) shutdown: Option<DaemonShutdown>,
    pub(crate) phase: Option<DaemonPhase>,
    pub(crate) operator_pause: Option<DaemonOperatorPause>,
}

macro_rules! broadcasts {
    ($($message:ident: $list:ident, $retained:expr;)*) => {
        /// All subscriptions in this process.
        #[derive(Debug, Default)]
        pub(crate) struct Sessions {
            names: Vec<String>,
            $(pub(crate) $list: Subscribers<$message>,)*
        }

        impl Sessions {
            /// Returns each list with the name of its message.
            fn lists(&self) -> impl Iterator<Item = (&'static str, &dyn SubscriberList)> {
                [$((stringify!($message), &self.$list as &dyn SubscriberList),)*].into_iter()
            }
        }

        $(
        impl Broadcast for $message {}
        impl sealed::Retained for $message {
            #[expect(private_interfaces, reason = "sealed: not callable from outside")]
            fn subscribers(sessions: &mut Sessions) -> &mut Subscribers<Self> {
                &mut sessions.$list
            }
            #[expect(private_interfaces, reason = "sealed: not callable from outside")]
            fn retained(retained: &RetainedEvents) -> Option<Self> {
                let event: fn(&RetainedEvents) -> Option<Self> = $retained;
                event(retained)
            }
        }
        )*
    };
}

broadcasts! {
    DaemonStart: start, |retained| retained.start;
    DaemonParent: parent, |retained| retained.parent;
    DaemonAccept: accept, |retained| retained.accept;
    DaemonPause: pause, |retained| retained.pause;
    DaemonHup: hup, |_retained| None;
    DaemonShutdown: shutdown, |retained| retained.shutdown;
    ChildForked: forked, |_retained| None;
    ChildExited: exited, |_retained| None;
    RogueChild: rogue, |_retained| None;
    ForeignExited: foreign, |_retained| None;
    DaemonPhase: phase, |retained| retained.phase;
    DaemonOperatorPause: operator_pause, |retained| retained.operator_pause;
    DaemonReload: reload, |_retained| None;
}

impl Sessions {
    /// Adds a subscriber and sends it the retained event, if there is one.
    pub(crate) fn subscribe<M: Broadcast>(
        &mut self,
        subscribe: Subscribe<M>,
        retained: &RetainedEvents,
    ) -> SessionId {
        let Subscribe { recipient, name } = subscribe;
        let session = self.session(&name);
        if let Some(event) = M::retained(retained) {
            recipient.do_send(event);
        }
        let subscribers = &mut M::subscribers(self).0;
        // Remove stopped subscribers, so that short-lived sessions do not accumulate.
        subscribers.retain(|subscription| subscription.recipient.connected());
        subscribers.push(Subscription { recipient, session });
        session
    }
}

#[cfg(test)]
mod tests;
