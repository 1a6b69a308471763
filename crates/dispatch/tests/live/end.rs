//! The end: orderly, at once, with a fork server that is lost; and a daemon beside it.

use std::cell::RefCell;
use std::rc::Rc;

use actix::{Actor, Addr, Recipient, System};
use actix_daemon::{
    ChildActor, Daemon, DaemonActor, DaemonChild, GetStatus, HandOver, PostFork, Program, Shutdown,
    StopMode, WaitUntilStopped,
};
use actix_dispatch::{Failure, NewRequest, Rejection};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::play::{Notes, Stage, builder, play, until};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("what_was_taken_is_done_before_an_orderly_end_and_nothing_more_is_taken", orderly),
    ("at_a_hurried_end_what_runs_is_lost_and_what_waits_is_refused", at_once),
    ("a_hurried_end_is_told_to_who_awaits_it", hurried_and_awaited),
    ("the_end_of_each_worker_is_known_at_an_orderly_end", each_end_is_known),
    ("the_log_of_an_ordinary_life_tells_each_fact_once", logged),
    ("a_fork_server_that_is_lost_loses_what_runs_and_refuses_what_waits", bereaved),
    ("a_dispatcher_and_a_daemon_live_in_one_process", beside_a_daemon),
    ("nonsense_is_refused_before_anything_forks", nonsense),
];

/// Tells a story that ends the dispatcher itself: the System goes on until it is told.
fn to_the_end(builder: actix_dispatch::DispatcherBuilder, story: impl AsyncFnOnce(Stage)) {
    let launched = builder.launch().unwrap();
    System::new().block_on(async move {
        let started = launched.start().unwrap();
        let stopped = started.daemon.send(WaitUntilStopped);
        story(Stage(started)).await;
        stopped.await.unwrap().unwrap();
    });
}

fn orderly() {
    let told: Rc<RefCell<Vec<Result<u32, Failure>>>> = Rc::default();
    let results = Rc::clone(&told);
    to_the_end(builder(2), async move |stage| {
        let parts: Vec<_> = (0..20)
            .map(|_| stage.0.dispatcher.send(NewRequest::to("sleep").params(5_u64)))
            .collect();
        until("all are taken", async || stage.tally().await.admitted == 20).await;
        stage.0.daemon.do_send(Shutdown(StopMode::Graceful));
        until("it stops", async || {
            let late = stage.ask::<u32>("pid", ()).await;
            late == Err(Failure::Rejected(Rejection::ShuttingDown))
        })
        .await;
        for answer in parts {
            let result = answer.await.unwrap().and_then(|reply| reply.value());
            results.borrow_mut().push(result);
        }
    });
    assert_eq!(told.borrow().len(), 20);
    assert!(told.borrow().iter().all(Result::is_ok), "{told:?}");
}

/// One task that hangs and two that wait.
async fn in_trouble(stage: &Stage) -> [actix_rt::task::JoinHandle<Failure>; 3] {
    let hang = || NewRequest::to("hang").params(None::<String>);
    let parts = [(); 3].map(|()| {
        let answer = stage.0.dispatcher.send(hang());
        actix_rt::spawn(async move { answer.await.unwrap().unwrap_err() })
    });
    until("one runs and two wait", async || {
        let tally = stage.tally().await;
        (tally.in_flight, tally.queued) == (1, 2) && stage.board().await.0.contains('r')
    })
    .await;
    parts
}

async fn one_is_lost_and_two_are_refused(parts: [actix_rt::task::JoinHandle<Failure>; 3]) {
    let (mut lost, mut refused) = (0, 0);
    for failure in parts {
        match failure.await.unwrap() {
            Failure::WorkerLost { .. } => lost += 1,
            Failure::Rejected(Rejection::ShuttingDown) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((lost, refused), (1, 2));
}

fn at_once() {
    play(builder(1), async |stage| {
        let parts = in_trouble(&stage).await;
        stage.0.daemon.do_send(Shutdown(StopMode::Immediate));
        one_is_lost_and_two_are_refused(parts).await;
    });
}

fn hurried_and_awaited() {
    to_the_end(builder(1), async |stage| {
        let parts = in_trouble(&stage).await;
        stage.0.daemon.do_send(Shutdown(StopMode::Immediate));
        one_is_lost_and_two_are_refused(parts).await;
    });
}

/// Who has done what he was told is not told to have got lost.
fn each_end_is_known() {
    let told: Rc<RefCell<Vec<String>>> = Rc::default();
    let notes = Rc::clone(&told);
    let talkback = move |_| Notes::into(notes).recipient();
    let launched = builder(3).verbose().talkback(talkback).launch().unwrap();
    System::new().block_on(async move {
        let started = launched.start().unwrap();
        let stopped = started.daemon.send(WaitUntilStopped);
        let stage = Stage(started);
        stage.ask::<String>("echo", "x").await.unwrap();
        stage.0.daemon.do_send(Shutdown(StopMode::Graceful));
        stopped.await.unwrap().unwrap();
        let said = |begin: &str| {
            told.borrow().iter().filter(|line| line.starts_with(begin)).cloned().collect::<Vec<_>>()
        };
        let closed = [0, 1, 2].map(|slot| format!("worker closed, slot: {slot}"));
        until("all are closed", async || {
            closed.iter().all(|line| told.borrow().iter().any(|said| said == line))
        })
        .await;
        assert_eq!(said("worker closed").len(), 3, "{:?}", told.borrow());
        assert_eq!(said("worker exited"), [""; 0]);
    });
}

/// A line of the log without its time and its facts.
fn fact(line: &str) -> String {
    let said = line.split_whitespace().skip(3).collect::<Vec<_>>().join(" ");
    said.split(", role: ").next().unwrap_or_default().to_owned()
}

fn logged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let builder = builder(2).max_requests(5).daemon(Daemon::builder().logfile(&file));
    to_the_end(builder, async |stage| {
        // More than there are workers, so that all are busy, and more than a worker's share.
        let parts: Vec<_> = (0..30)
            .map(|_| stage.0.dispatcher.send(NewRequest::to("sleep").params(2_u64)))
            .collect();
        for answer in parts {
            answer.await.unwrap().unwrap();
        }
        stage.0.daemon.do_send(Shutdown(StopMode::Graceful));
    });
    let log = std::fs::read_to_string(&file).unwrap();
    let facts: Vec<String> = log.lines().map(fact).collect();
    let expected = [
        "INFO dispatcher started",
        "INFO PreforkDispatch is up",
        "INFO PreforkDispatch is stopping",
        "INFO PreforkDispatch has stopped",
    ];
    assert_eq!(facts, expected, "{log}");
}

fn bereaved() {
    let grace = std::time::Duration::from_millis(300);
    let builder = builder(1).daemon(Daemon::builder().grace(grace));
    let launched = builder.launch().unwrap();
    let ended = System::new().block_on(async move {
        let started = launched.start().unwrap();
        let daemon = started.daemon.clone();
        let stage = Stage(started);
        let parts = in_trouble(&stage).await;
        let report = daemon.send(GetStatus::Board).await.unwrap();
        let fork_server = i32::try_from(report.fork_server.unwrap()).unwrap();
        let until_stopped = daemon.send(WaitUntilStopped);
        kill(Pid::from_raw(fork_server), Signal::SIGKILL).unwrap();
        one_is_lost_and_two_are_refused(parts).await;
        until_stopped.await
    });
    assert!(ended.unwrap().is_err(), "the fork server is lost");
}

/// A post-forking daemon whose children write what they were handed into a file.
struct Writes;

impl Program for Writes {
    type Request = (String, String);

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<Self::Request>> {
        Writer { daemon }.start().recipient()
    }
}

struct Writer {
    daemon: Addr<ChildActor>,
}

impl Actor for Writer {
    type Context = actix::Context<Self>;
}

impl actix::Handler<DaemonChild<(String, String)>> for Writer {
    type Result = ();

    fn handle(&mut self, child: DaemonChild<(String, String)>, _ctx: &mut Self::Context) {
        let (file, word) = child.request;
        std::fs::write(file, word).expect("a place");
        self.daemon.do_send(actix_daemon::UpdateStatus::Done);
    }
}

fn beside_a_daemon() {
    let daemon = Daemon::builder().model(PostFork::new(2)).launch(Writes).unwrap();
    let dispatcher = builder(2).launch().unwrap();
    System::new().block_on(async move {
        let daemon: Addr<DaemonActor<(String, String)>> = daemon.start().unwrap();
        let stage = Stage(dispatcher.start().unwrap());
        let file = std::env::temp_dir().join(format!("dispatch-beside-{}", std::process::id()));
        let path = file.display().to_string();
        daemon.send(HandOver((path, "handed".to_owned()))).await.unwrap().unwrap();
        assert_eq!(stage.ask::<String>("echo", "sent").await.unwrap(), "sent");
        until("the child has written", async || {
            std::fs::read_to_string(&file).is_ok_and(|word| word == "handed")
        })
        .await;
        std::fs::remove_file(&file).unwrap();
        let (both, ended) = (daemon.send(WaitUntilStopped), stage.0.daemon.send(WaitUntilStopped));
        daemon.do_send(Shutdown(StopMode::Graceful));
        both.await.unwrap().unwrap();
        assert_eq!(stage.ask::<String>("echo", "alone").await.unwrap(), "alone");
        stage.0.daemon.do_send(Shutdown(StopMode::Graceful));
        ended.await.unwrap().unwrap();
    });
}

fn nonsense() {
    use actix_dispatch::Lane;
    let refusal =
        |builder: actix_dispatch::DispatcherBuilder| builder.launch().unwrap_err().to_string();
    assert_eq!(
        refusal(builder(2).pre_fork(3)),
        "pre_fork is 3: it must not be more than max_forks, which is 2"
    );
    assert_eq!(refusal(builder(1).queue_capacity(0)), "queue is 0: it must be more than nothing");
    assert_eq!(refusal(builder(1).attempts(0)), "attempts is 0: it must be more than nothing");
    let twice = builder(1).method("echo", |_call, (): ()| Ok::<_, String>(()));
    assert_eq!(refusal(twice), "method is echo: it is there twice");
    let lane = builder(1).lane(Lane::new("a")).lane(Lane::new("a"));
    assert_eq!(refusal(lane), "lane is \"a\": it must be a name, and no other lane's");
    let shut = builder(1).lane(Lane::new("a").max_running(0));
    assert_eq!(refusal(shut), "at_most is 0 in lane a: nothing would ever get through");
    let never = builder(1).hard_limit(std::time::Duration::ZERO);
    assert_eq!(refusal(never), "hard_limit is 0s: it must be more than nothing");
}
