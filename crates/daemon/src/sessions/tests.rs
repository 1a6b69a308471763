//! Sessions that subscribe early, late and not at all.

use std::cell::RefCell;
use std::rc::Rc;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, System};

use super::*;
use crate::messages::ShutdownReason;

/// Notes what it is told.
#[derive(Default, Clone)]
struct Notes(Rc<RefCell<Vec<&'static str>>>);

impl Actor for Notes {
    type Context = Context<Self>;
}

impl Handler<DaemonPause> for Notes {
    type Result = ();

    fn handle(&mut self, _pause: DaemonPause, _ctx: &mut Self::Context) {
        self.0.borrow_mut().push("pause");
    }
}

impl Handler<DaemonHup> for Notes {
    type Result = ();

    fn handle(&mut self, _hup: DaemonHup, ctx: &mut Self::Context) {
        self.0.borrow_mut().push("hup");
        ctx.stop();
    }
}

impl Handler<DaemonShutdown> for Notes {
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
    actor: &Addr<Notes>,
    retained: &RetainedEvents,
) -> SessionId
where
    Notes: Handler<M>,
    <Notes as Actor>::Context: actix::dev::ToEnvelope<Notes, M>,
{
    sessions.subscribe(Subscribe::<M>::new(name, actor.clone().recipient()), retained)
}

#[test]
fn a_late_subscriber_is_told_what_still_holds_and_nothing_else() {
    System::new().block_on(async {
        let mut sessions = Sessions::default();
        let notes = Notes::default();
        let actor = notes.clone().start();
        let retained = RetainedEvents { pause: Some(DaemonPause), ..RetainedEvents::default() };
        subscribe::<DaemonPause>(&mut sessions, "late", &actor, &retained);
        subscribe::<DaemonShutdown>(&mut sessions, "late", &actor, &retained);
        sessions.pause.ask(&DaemonPause).await;
        assert_eq!(*notes.0.borrow(), ["pause", "pause"]);
    });
}

#[test]
fn all_are_asked_and_the_answer_waits_for_all() {
    System::new().block_on(async {
        let mut sessions = Sessions::default();
        let both = [Notes::default(), Notes::default()];
        for notes in &both {
            let actor = notes.clone().start();
            subscribe::<DaemonShutdown>(&mut sessions, "one", &actor, &RetainedEvents::default());
        }
        sessions.shutdown.ask(&SHUTDOWN).await;
        for notes in &both {
            assert_eq!(notes.0.borrow().first(), Some(&"shutdown"));
        }
    });
}

#[test]
fn a_session_that_has_ended_is_forgotten_and_keeps_nobody_waiting() {
    System::new().block_on(async {
        let mut sessions = Sessions::default();
        let actor = Notes::default().start();
        subscribe::<DaemonHup>(&mut sessions, "short", &actor, &RetainedEvents::default());
        assert_eq!(sessions.count(), 1);
        sessions.hup.ask(&DaemonHup).await;
        while actor.connected() {
            tokio::task::yield_now().await;
        }
        sessions.hup.ask(&DaemonHup).await;
        assert_eq!(sessions.count(), 0);
    });
}

#[test]
fn a_peek_lists_sessions_by_number_with_what_they_want() {
    System::new().block_on(async {
        let mut sessions = Sessions::default();
        let actor = Notes::default().start();
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
                "    Signals: DaemonPause DaemonShutdown",
                "session 3 (two)",
                "    Signals: DaemonHup",
            ]
        );
    });
}

/// Answers to the shutdown when it is let.
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
fn who_has_not_answered_to_the_shutdown_is_named() {
    System::new().block_on(async {
        let (mut sessions, retained) = (Sessions::default(), RetainedEvents::default());
        let (answer, wait) = futures::channel::oneshot::channel();
        let slow = Slow(Some(wait)).start();
        let quick = Notes::default().start();
        subscribe::<DaemonShutdown>(&mut sessions, "quick", &quick, &retained);
        sessions.subscribe(Subscribe::<DaemonShutdown>::new("slow", slow.recipient()), &retained);
        assert!(sessions.unanswered().is_empty());
        let answers = actix_rt::spawn(sessions.shutdown.ask(&SHUTDOWN));
        while sessions.unanswered().len() > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(sessions.unanswered(), ["session 3 (slow)"]);
        answer.send(()).unwrap();
        answers.await.unwrap();
        assert!(sessions.unanswered().is_empty());
    });
}
