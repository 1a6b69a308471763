//! Tests the shutdown of a dispatcher: graceful, immediate, and after the loss of the fork server.
//! Also tests a dispatcher beside another daemon in one process, and the check of the
//! configuration.

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

use super::fixture::{
    Collector, TestDispatcher, builder, program_name, wait_until, with_dispatcher, with_methods,
};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("graceful_shutdown_finishes_accepted_requests_and_rejects_new_ones", graceful),
    ("graceful_shutdown_finishes_accepted_requests_with_a_quota_of_one", || quota(1)),
    ("graceful_shutdown_finishes_accepted_requests_with_a_quota_of_three", || quota(3)),
    ("immediate_shutdown_loses_running_tasks_and_rejects_queued_ones", immediate),
    ("wait_until_stopped_completes_after_an_immediate_shutdown", immediate_and_awaited),
    ("graceful_shutdown_reports_the_exit_of_each_worker", each_exit_is_reported),
    ("a_run_without_failures_logs_only_its_start_and_its_stop", log_lines),
    ("losing_the_fork_server_loses_running_tasks_and_rejects_queued_ones", fork_server_lost),
    ("a_dispatcher_and_a_daemon_run_in_one_process", beside_a_daemon),
    ("an_invalid_configuration_is_rejected_before_any_process_is_forked", invalid_config),
];

/// Runs a scenario, which must shut down the dispatcher, and waits until the dispatcher has
/// stopped.
fn to_the_end(
    builder: actix_dispatch::DispatcherBuilder,
    scenario: impl AsyncFnOnce(TestDispatcher),
) {
    let launched = builder.launch().unwrap();
    System::new().block_on(async move {
        let started = launched.start().unwrap();
        let stopped = started.daemon.send(WaitUntilStopped);
        scenario(TestDispatcher(started)).await;
        stopped.await.unwrap().unwrap();
    });
}

fn graceful() {
    let received: Rc<RefCell<Vec<Result<u32, Failure>>>> = Rc::default();
    let results = Rc::clone(&received);
    to_the_end(builder(2), async move |test| {
        let pending: Vec<_> = (0..20)
            .map(|_| test.0.dispatcher.send(NewRequest::to("sleep").params(5_u64)))
            .collect();
        wait_until("all requests are accepted", async || test.stats().await.admitted == 20).await;
        test.0.daemon.do_send(Shutdown(StopMode::Graceful));
        wait_until("new requests are rejected", async || {
            let late = test.call::<u32>("pid", ()).await;
            late == Err(Failure::Rejected(Rejection::ShuttingDown))
        })
        .await;
        for answer in pending {
            let result = answer.await.unwrap().and_then(|reply| reply.value());
            results.borrow_mut().push(result);
        }
    });
    assert_eq!(received.borrow().len(), 20);
    assert!(received.borrow().iter().all(Result::is_ok), "{received:?}");
}

/// Stops a dispatcher whose workers exit after this number of requests, at some moment in the life
/// of each worker.
fn quota(requests: u32) {
    let received: Rc<RefCell<Vec<Result<u32, Failure>>>> = Rc::default();
    let results = Rc::clone(&received);
    to_the_end(builder(2).max_requests(requests), async move |test| {
        let pending: Vec<_> = (0..20)
            .map(|_| test.0.dispatcher.send(NewRequest::to("sleep").params(20_u64)))
            .collect();
        wait_until("some tasks are done", async || {
            let stats = test.stats().await;
            stats.admitted == 20 && stats.queued <= 14 && stats.in_flight > 0
        })
        .await;
        test.0.daemon.do_send(Shutdown(StopMode::Graceful));
        for answer in pending {
            let result = answer.await.unwrap().and_then(|reply| reply.value());
            results.borrow_mut().push(result);
        }
    });
    assert_eq!(received.borrow().len(), 20);
    assert!(received.borrow().iter().all(Result::is_ok), "{requests}: {received:?}");
}

/// Sends three requests to a dispatcher with one worker. The first request hangs, so the other two
/// stay in the queue.
async fn one_running_two_queued(test: &TestDispatcher) -> [actix_rt::task::JoinHandle<Failure>; 3] {
    let hang = || NewRequest::to("hang").params(None::<String>);
    let pending = [(); 3].map(|()| {
        let answer = test.0.dispatcher.send(hang());
        actix_rt::spawn(async move { answer.await.unwrap().unwrap_err() })
    });
    wait_until("one request runs and two are queued", async || {
        let stats = test.stats().await;
        (stats.in_flight, stats.queued) == (1, 2) && test.board().await.0.contains('r')
    })
    .await;
    pending
}

async fn one_is_lost_and_two_are_refused(pending: [actix_rt::task::JoinHandle<Failure>; 3]) {
    let (mut lost, mut refused) = (0, 0);
    for failure in pending {
        match failure.await.unwrap() {
            Failure::WorkerLost { .. } => lost += 1,
            Failure::Rejected(Rejection::ShuttingDown) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((lost, refused), (1, 2));
}

fn immediate() {
    with_dispatcher(builder(1), async |test| {
        let pending = one_running_two_queued(&test).await;
        test.0.daemon.do_send(Shutdown(StopMode::Immediate));
        one_is_lost_and_two_are_refused(pending).await;
    });
}

fn immediate_and_awaited() {
    to_the_end(builder(1), async |test| {
        let pending = one_running_two_queued(&test).await;
        test.0.daemon.do_send(Shutdown(StopMode::Immediate));
        one_is_lost_and_two_are_refused(pending).await;
    });
}

/// A worker that stops on request is not reported as crashed.
fn each_exit_is_reported() {
    let received: Rc<RefCell<Vec<String>>> = Rc::default();
    let results = Rc::clone(&received);
    let talkback = move |_| Collector::into(results).recipient();
    let launched = builder(3).verbose().talkback(talkback).launch().unwrap();
    System::new().block_on(async move {
        let started = launched.start().unwrap();
        let stopped = started.daemon.send(WaitUntilStopped);
        let test = TestDispatcher(started);
        test.call::<String>("echo", "x").await.unwrap();
        test.0.daemon.do_send(Shutdown(StopMode::Graceful));
        stopped.await.unwrap().unwrap();
        let lines_with = |prefix: &str| {
            received
                .borrow()
                .iter()
                .filter(|line| line.starts_with(prefix))
                .cloned()
                .collect::<Vec<_>>()
        };
        let closed = [0, 1, 2].map(|slot| format!("worker closed, slot: {slot}"));
        wait_until("the exit of each worker is reported", async || {
            closed.iter().all(|line| received.borrow().iter().any(|sent| sent == line))
        })
        .await;
        assert_eq!(lines_with("worker closed").len(), 3, "{:?}", received.borrow());
        assert_eq!(lines_with("worker exited"), [""; 0]);
    });
}

/// Returns the level and the message of a log line, without its time and keys.
fn message_of(line: &str) -> String {
    let text = line.split_whitespace().skip(3).collect::<Vec<_>>().join(" ");
    text.split(", role: ").next().unwrap_or_default().to_owned()
}

fn log_lines() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let builder = builder(2).max_requests(5).daemon(Daemon::builder().logfile(&file));
    to_the_end(builder, async |test| {
        // There are more requests than workers, and more than the workers can serve before they are
        // replaced.
        let pending: Vec<_> = (0..30)
            .map(|_| test.0.dispatcher.send(NewRequest::to("sleep").params(2_u64)))
            .collect();
        for answer in pending {
            answer.await.unwrap().unwrap();
        }
        test.0.daemon.do_send(Shutdown(StopMode::Graceful));
    });
    let log = std::fs::read_to_string(&file).unwrap();
    let messages: Vec<String> = log.lines().map(message_of).collect();
    let expected = [
        "INFO dispatcher started",
        "INFO daemon ready",
        "INFO daemon stopping",
        "INFO daemon stopped",
    ];
    assert_eq!(messages, expected, "{log}");
    assert_eq!(log.matches(&format!(", daemon: {}, ", program_name())).count(), 3, "{log}");
}

fn fork_server_lost() {
    let grace = std::time::Duration::from_millis(300);
    let builder = builder(1).daemon(Daemon::builder().grace(grace));
    let launched = builder.launch().unwrap();
    let ended = System::new().block_on(async move {
        let started = launched.start().unwrap();
        let daemon = started.daemon.clone();
        let test = TestDispatcher(started);
        let pending = one_running_two_queued(&test).await;
        let report = daemon.send(GetStatus::Board).await.unwrap();
        let fork_server = i32::try_from(report.fork_server.unwrap()).unwrap();
        let until_stopped = daemon.send(WaitUntilStopped);
        kill(Pid::from_raw(fork_server), Signal::SIGKILL).unwrap();
        one_is_lost_and_two_are_refused(pending).await;
        until_stopped.await
    });
    assert!(ended.unwrap().is_err(), "the loss of the fork server is an error");
}

/// A post-forking daemon whose children write their request to a file.
struct WriteFile;

impl Program for WriteFile {
    type Request = (String, String);

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<Self::Request>> {
        WriteFileChild { daemon }.start().recipient()
    }
}

struct WriteFileChild {
    daemon: Addr<ChildActor>,
}

impl Actor for WriteFileChild {
    type Context = actix::Context<Self>;
}

impl actix::Handler<DaemonChild<(String, String)>> for WriteFileChild {
    type Result = ();

    fn handle(&mut self, child: DaemonChild<(String, String)>, _ctx: &mut Self::Context) {
        let (file, word) = child.request;
        std::fs::write(file, word).expect("write the file");
        self.daemon.do_send(actix_daemon::UpdateStatus::Done);
    }
}

fn beside_a_daemon() {
    let daemon = Daemon::builder().model(PostFork::new(2)).launch(WriteFile).unwrap();
    let dispatcher = builder(2).launch().unwrap();
    System::new().block_on(async move {
        let daemon: Addr<DaemonActor<(String, String)>> = daemon.start().unwrap();
        let test = TestDispatcher(dispatcher.start().unwrap());
        let file = std::env::temp_dir().join(format!("dispatch-beside-{}", std::process::id()));
        let path = file.display().to_string();
        daemon.send(HandOver((path, "handed".to_owned()))).await.unwrap().unwrap();
        assert_eq!(test.call::<String>("echo", "sent").await.unwrap(), "sent");
        wait_until("the child has written the file", async || {
            std::fs::read_to_string(&file).is_ok_and(|word| word == "handed")
        })
        .await;
        std::fs::remove_file(&file).unwrap();
        let (both, ended) = (daemon.send(WaitUntilStopped), test.0.daemon.send(WaitUntilStopped));
        daemon.do_send(Shutdown(StopMode::Graceful));
        both.await.unwrap().unwrap();
        assert_eq!(test.call::<String>("echo", "alone").await.unwrap(), "alone");
        test.0.daemon.do_send(Shutdown(StopMode::Graceful));
        ended.await.unwrap().unwrap();
    });
}

fn invalid_config() {
    use actix_dispatch::Lane;
    let error_of =
        |builder: actix_dispatch::DispatcherBuilder| builder.launch().unwrap_err().to_string();
    assert_eq!(
        error_of(builder(2).pre_fork(3)),
        "pre_fork is 3: must not be greater than max_forks (2)"
    );
    assert_eq!(
        error_of(with_methods()),
        "max_forks is not set: set the maximum number of workers, or run methods in this process \
        with in_place()"
    );
    assert_eq!(
        error_of(builder(0)),
        "max_forks is 0: must be greater than 0; in_place() runs methods in this process"
    );
    assert_eq!(
        error_of(builder(2).in_place()),
        "max_forks is 2: in_place() runs methods in this process, without workers"
    );
    let in_place = || with_methods().in_place();
    let second = std::time::Duration::from_secs(1);
    for (setting, builder) in [
        ("pre_fork", in_place().pre_fork(1)),
        ("max_requests", in_place().max_requests(1)),
        ("fork_interval", in_place().fork_interval(second)),
        ("hard_limit", in_place().hard_limit(second)),
        ("attempts", in_place().attempts(2)),
    ] {
        let expected =
            format!("{setting} is set: it concerns workers, and with in_place() there are none");
        assert_eq!(error_of(builder), expected);
    }
    assert_eq!(
        error_of(builder(1).queue_capacity(0)),
        "queue_capacity is 0: must be greater than 0"
    );
    assert_eq!(error_of(builder(1).output_limit(0)), "output_limit is 0: must be greater than 0");
    let limit = |bytes| error_of(builder(1).result_limit(bytes));
    assert_eq!(limit(0), "result_limit is 0: must be greater than 0");
    let expected = "result_limit is 4294967296: must not be greater than 4294967295";
    assert_eq!(limit(1 << 32), expected);
    assert_eq!(error_of(builder(1).attempts(0)), "attempts is 0: must be greater than 0");
    let twice = builder(1).method("echo", |_call, (): ()| Ok::<_, String>(()));
    assert_eq!(error_of(twice), "method is echo: another method has the same name");
    let lane = builder(1).lane(Lane::new("a")).lane(Lane::new("a"));
    assert_eq!(error_of(lane), "lane is \"a\": must be a unique, non-empty name");
    let blocked = builder(1).lane(Lane::new("a").max_running(0));
    assert_eq!(error_of(blocked), "max_running is 0 in lane \"a\": must be greater than 0");
    let never = builder(1).hard_limit(std::time::Duration::ZERO);
    assert_eq!(error_of(never), "hard_limit is 0s: must be greater than 0");
}
