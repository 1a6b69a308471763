//! Tests subscriptions, broadcasts, pending answers to a broadcast, and the list of sessions in the
//! answer to `Peek`.

use std::cell::RefCell;
use std::rc::Rc;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, System};

use super::*;
use crate::messages::ShutdownReason;

/// Records the messages that it receives.
#[derive(Default, Clone)]
struct Recorder(Rc<RefCell<Vec<&'static str>>>);

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<DaemonPause> for Recorder {
    type Result = ();

    fn handle(&mut self, _pause: DaemonPause, _ctx: &mut Self::Context) {
        self.0.borrow_mut().push("pause");
    }
}

impl Handler<DaemonHup> for Recorder {
    type Result = ();

    fn handle(&mut self, _hup: DaemonHup, ctx: &mut Self::Context) {
        self.0.borrow_mut().push("hup");
        ctx.stop();
    }
}

impl Handler<DaemonShutdown> for Recorder {
    type Result = ();

    fn handle(&mut self, _shutdown: DaemonShutdown, ctx: &mut Self::Context) {
        self.0.borrow_mut().push("shutdown");
        ctx.notify(DaemonPause);
    }
}

const SHUTDOWN: DaemonShutdown = DaemonShutdown { reason: ShutdownReason::Stopping };

fn subscribe<M: Broadcast>(
    sessions: &mut Sessions,
    name: &str,
    actor: &Addr<Recorder>,
    retained: &RetainedEvents,
) -> SessionId
where
    Recorder: Handler<M>,
    <Recorder as Actor>::Context: actix::dev::ToEnvelope<Recorder, M>,
{
    sessions.subscribe(Subscribe::<M>::new(name, actor.clone().recipient()), retained)
}

#[test]
fn new_subscribers_receive_past_events_only_if_they_are_retained() {
    System::new().block_on(async {
        let mut sessions = Sessions::default();
        let recorder = Recorder::default();
        let actor = recorder.clone().start();
        let retained = RetainedEvents { pause: Some(DaemonPause), ..RetainedEvents::default() };
        subscribe::<DaemonPause>(&mut sessions, "late", &actor, &retained);
        subscribe::<DaemonShutdown>(&mut sessions, "late", &actor, &retained);
        sessions.pause.broadcast_and_wait(&DaemonPause).await;
        assert_eq!(*recorder.0.borrow(), ["pause", "pause"]);
    });
}

#[test]
fn broadcast_and_wait_waits_for_all_subscribers() {
    System::new().block_on(async {
        let mut sessions = Sessions::default();
        let both = [Recorder::default(), Recorder::default()];
        for recorder in &both {
            let actor = recorder.clone().start();
            subscribe::<DaemonShutdown>(&mut sessions, "one", &actor, &RetainedEvents::default());
        }
        sessions.shutdown.broadcast_and_wait(&SHUTDOWN).await;
        for recorder in &both {
            assert_eq!(recorder.0.borrow().first(), Some(&"shutdown"));
        }
    });
}

#[test]
fn a_stopped_session_is_removed_and_not_waited_for() {
    System::new().block_on(async {
        let mut sessions = Sessions::default();
        let actor = Recorder::default().start();
        subscribe::<DaemonHup>(&mut sessions, "short", &actor, &RetainedEvents::default());
        assert_eq!(sessions.count(), 1);
        sessions.hup.broadcast_and_wait(&DaemonHup).await;
        while actor.connected() {
            tokio::task::yield_now().await;
        }
        sessions.hup.broadcast_and_wait(&DaemonHup).await;
        assert_eq!(sessions.count(), 0);
    });
}

#[test]
fn the_answer_to_peek_lists_sessions_by_number_with_their_subscriptions() {
    System::new().block_on(async {
        let mut sessions = Sessions::default();
        let actor = Recorder::default().start();
        let retained = RetainedEvents::default();
        let one = subscribe::<DaemonPause>(&mut sessions, "one", &actor, &retained);
        let two = subscribe::<DaemonHup>(&mut sessions, "two", &actor, &retained);
        let again = subscribe::<DaemonShutdown>(&mut sessions, "one", &actor, &retained);
        assert_eq!((one, two, again), (SessionId(2), SessionId(3), SessionId(2)));
        assert_eq!(
            sessions.peek("Daemon"),
            [
                "session 1 (Daemon)",
                "session 2 (one)",
                "    Messages: DaemonPause DaemonShutdown",
                "session 3 (two)",
                "    Messages: DaemonHup",
            ]
        );
    });
}

/// Answers `DaemonShutdown` when the channel delivers a value or is closed.
struct Slow(Option<futures::channel::oneshot::Receiver<()>>);

impl Actor for Slow {
    type Context = Context<Self>;
}

impl Handler<DaemonShutdown> for Slow {
    type Result = actix::ResponseFuture<()>;

    fn handle(&mut self, _shutdown: DaemonShutdown, _ctx: &mut Self::Context) -> Self::Result {
        let wait = self.0.take();
        Box::pin(async move {
            if let Some(wait) = wait {
                let _ = wait.await;
            }
        })
    }
}

#[test]
fn unanswered_lists_the_sessions_that_have_not_answered_the_shutdown() {
    System::new().block_on(async {
        let (mut sessions, retained) = (Sessions::default(), RetainedEvents::default());
        let (answer, wait) = futures::channel::oneshot::channel();
        let slow = Slow(Some(wait)).start();
        let quick = Recorder::default().start();
        subscribe::<DaemonShutdown>(&mut sessions, "quick", &quick, &retained);
        sessions.subscribe(Subscribe::<DaemonShutdown>::new("slow", slow.recipient()), &retained);
        assert!(sessions.unanswered().is_empty());
        let answers = actix_rt::spawn(sessions.shutdown.broadcast_and_wait(&SHUTDOWN));
        while sessions.unanswered().len() > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(sessions.unanswered(), ["session 3 (slow)"]);
        answer.send(()).unwrap();
        answers.await.unwrap();
        assert!(sessions.unanswered().is_empty());
    });
}
