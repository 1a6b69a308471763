//! Tests subscriptions, events, pending answers to an event, streams, and the list of sessions in
//! the answer to `Peek`.

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

const SHUTDOWN: DaemonEvent = DaemonEvent::Shutdown { reason: ShutdownReason::Stopping };
const PAUSE: DaemonEvent = DaemonEvent::Accepting { state: AcceptState::Paused };

fn subscribe<M: Broadcast>(
    events: &mut Events,
    name: &str,
    actor: &Addr<Recorder>,
    current: &[DaemonEvent],
) -> SessionId
where
    Recorder: Handler<M>,
    <Recorder as Actor>::Context: actix::dev::ToEnvelope<Recorder, M>,
{
    events.subscribe(Subscribe::<M>::new(name, actor.clone().recipient()), current)
}

#[test]
fn late_subscribers_receive_the_current_events_that_pass_their_filter() {
    System::new().block_on(async {
        let mut events = Events::default();
        let recorder = Recorder::default();
        let actor = recorder.clone().start();
        let current = [DaemonEvent::Start, PAUSE];
        subscribe::<DaemonPause>(&mut events, "late", &actor, &current);
        subscribe::<DaemonShutdown>(&mut events, "late", &actor, &current);
        events.emit_and_wait(PAUSE).await;
        assert_eq!(*recorder.0.borrow(), ["pause", "pause"]);
    });
}

#[test]
fn emit_and_wait_waits_for_all_subscribers() {
    System::new().block_on(async {
        let mut events = Events::default();
        let both = [Recorder::default(), Recorder::default()];
        for recorder in &both {
            let actor = recorder.clone().start();
            subscribe::<DaemonShutdown>(&mut events, "one", &actor, &[]);
        }
        events.emit_and_wait(SHUTDOWN).await;
        for recorder in &both {
            assert_eq!(recorder.0.borrow().first(), Some(&"shutdown"));
        }
    });
}

#[test]
fn a_stopped_session_is_removed_and_not_waited_for() {
    System::new().block_on(async {
        let mut events = Events::default();
        let actor = Recorder::default().start();
        subscribe::<DaemonHup>(&mut events, "short", &actor, &[]);
        assert_eq!(events.count(), 1);
        events.emit_and_wait(DaemonEvent::Hup).await;
        while actor.connected() {
            tokio::task::yield_now().await;
        }
        events.emit_and_wait(DaemonEvent::Hup).await;
        assert_eq!(events.count(), 0);
    });
}

#[test]
fn the_answer_to_peek_lists_sessions_by_number_with_their_subscriptions() {
    System::new().block_on(async {
        let mut events = Events::default();
        let actor = Recorder::default().start();
        let one = subscribe::<DaemonPause>(&mut events, "one", &actor, &[]);
        let two = subscribe::<DaemonHup>(&mut events, "two", &actor, &[]);
        let again = subscribe::<DaemonShutdown>(&mut events, "one", &actor, &[]);
        assert_eq!((one, two, again), (SessionId(2), SessionId(3), SessionId(2)));
        assert_eq!(
            events.peek("Daemon"),
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
        let mut events = Events::default();
        let (answer, wait) = futures::channel::oneshot::channel();
        let slow = Slow(Some(wait)).start();
        let quick = Recorder::default().start();
        subscribe::<DaemonShutdown>(&mut events, "quick", &quick, &[]);
        events.subscribe(Subscribe::<DaemonShutdown>::new("slow", slow.recipient()), &[]);
        assert!(events.unanswered().is_empty());
        let answers = actix_rt::spawn(events.emit_and_wait(SHUTDOWN));
        while events.unanswered().len() > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(events.unanswered(), ["session 3 (slow)"]);
        answer.send(()).unwrap();
        answers.await.unwrap();
        assert!(events.unanswered().is_empty());
    });
}

impl Handler<DaemonEvent> for Recorder {
    type Result = ();

    fn handle(&mut self, event: DaemonEvent, _ctx: &mut Self::Context) {
        self.0.borrow_mut().push(match event {
            DaemonEvent::Hup => "hup",
            DaemonEvent::Shutdown { .. } => "shutdown",
            _ => "other",
        });
    }
}

#[test]
fn a_subscriber_to_all_events_receives_each_of_them() {
    System::new().block_on(async {
        let mut events = Events::default();
        let recorder = Recorder::default();
        let actor = recorder.clone().start();
        subscribe::<DaemonEvent>(&mut events, "all", &actor, &[DaemonEvent::Start]);
        events.emit(DaemonEvent::Hup);
        events.emit_and_wait(SHUTDOWN).await;
        assert_eq!(*recorder.0.borrow(), ["other", "hup", "shutdown"]);
    });
}

fn missed(events: u64) -> DaemonEvent {
    DaemonEvent::Missed { events }
}

/// Reads the stream until it would wait.
async fn read(stream: &mut EventStream) -> Vec<String> {
    let mut read = Vec::new();
    while let Some(Some(event)) = tokio::task::unconstrained(stream.next()).now_or_never() {
        read.push(format!("{event:?}"));
    }
    read
}

#[test]
fn a_stream_begins_with_the_current_events() {
    System::new().block_on(async {
        let mut events = Events::default();
        events.emit(DaemonEvent::Start);
        let mut stream = events.stream(vec![PAUSE]);
        events.emit(DaemonEvent::Hup);
        let expected = [PAUSE, DaemonEvent::Hup].map(|event| format!("{event:?}"));
        assert_eq!(read(&mut stream).await, expected);
        drop(events);
        assert!(stream.next().await.is_none());
    });
}

#[test]
fn the_number_of_dropped_events_takes_the_place_of_the_oldest() {
    System::new().block_on(async {
        let mut events = Events::default();
        let mut stream = events.stream(Vec::new());
        (0..STREAM_CAPACITY + 3).for_each(|_event| events.emit(DaemonEvent::Hup));
        let read = read(&mut stream).await;
        assert_eq!(read.len(), STREAM_CAPACITY + 1);
        assert_eq!(read[0], format!("{:?}", missed(3)));
        assert_eq!(read[1], format!("{:?}", DaemonEvent::Hup));
    });
}

#[test]
fn events_are_not_kept_after_the_last_stream_has_ended() {
    let mut events = Events::default();
    drop(events.stream(Vec::new()));
    events.emit(DaemonEvent::Hup);
    assert!(events.stream.is_none());
}

#[test]
fn dropped_events_are_counted_between_those_that_were_read_and_those_that_are_kept() {
    System::new().block_on(async {
        let mut events = Events::default();
        let mut stream = events.stream(Vec::new());
        events.emit(DaemonEvent::Start);
        assert!(matches!(stream.next().await, Some(DaemonEvent::Start)));
        (0..=STREAM_CAPACITY).for_each(|_event| events.emit(DaemonEvent::Hup));
        events.emit(DaemonEvent::Ready);
        let read = read(&mut stream).await;
        assert_eq!(read[0], format!("{:?}", missed(2)));
        assert_eq!(read.last(), Some(&format!("{:?}", DaemonEvent::Ready)));
    });
}
