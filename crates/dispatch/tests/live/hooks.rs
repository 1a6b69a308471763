//! Hooks and recipients of the program that fail: each request has an answer, and the stop ends.

use std::cell::Cell;
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler};
use actix_daemon::{ChildHandle, Daemon, DaemonError, StatusError, UpdateStatus};
use actix_dispatch::{
    Call, DispatcherBuilder, Failure, FallbackRequest, LimitKind, NewRequest, Rejection,
    RequestDone, RunTask, Talkback, Task,
};
use serde::{Deserialize, Deserializer, Serialize};

use super::fixture::{
    TestDispatcher, builder, run_dispatcher, wait_until, with_dispatcher, with_methods,
};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("requests_are_answered_if_fork_preinit_always_panics", preinit_always),
    ("requests_are_answered_if_fork_postinit_always_panics", postinit_always),
    ("requests_are_answered_if_fork_init_always_panics", init_always),
    ("requests_are_answered_if_fork_init_always_exits", init_exits),
    ("requests_are_answered_if_fork_init_never_returns", init_never_returns),
    ("another_worker_runs_the_tasks_if_fork_preinit_panics_once", preinit_once),
    ("another_worker_runs_the_tasks_if_fork_postinit_panics_once", postinit_once),
    ("the_first_workers_may_fail_in_fork_postinit_and_the_stop_ends", postinit_of_first_workers),
    ("a_dispatcher_whose_first_workers_fail_does_not_start", init_of_first_workers),
    ("a_precall_or_postcall_hook_that_fails_costs_its_call", calls),
    ("a_precall_or_postcall_hook_in_place_that_fails_costs_its_call", calls_in_place),
    ("a_precall_hook_that_never_returns_is_stopped_by_the_hard_limit", precall_never_returns),
    ("an_output_that_panics_when_it_is_decoded_costs_its_request", output_panics),
    ("an_output_in_place_that_panics_when_it_is_decoded_costs_its_request", output_panics_in_place),
    ("upon_result_that_panics_ends_the_dispatcher_with_an_error", upon_result_panics),
    ("a_fallback_that_panics_ends_the_dispatcher_with_an_error", fallback_panics),
    ("talkback_that_panics_ends_the_dispatcher_with_an_error", talkback_panics),
    ("a_maker_of_upon_result_that_panics_ends_the_dispatcher", upon_result_maker),
    ("a_maker_of_a_fallback_that_panics_ends_the_dispatcher", fallback_maker),
    ("a_maker_of_talkback_that_panics_ends_the_dispatcher", talkback_maker),
    ("a_function_start_that_panics_ends_the_dispatcher", start_panics),
    ("recipients_that_have_stopped_lose_no_answer", stopped),
    ("a_method_cannot_end_its_request_on_the_scoreboard", statuses),
];

/// Returns a builder without first workers.
fn idle() -> DispatcherBuilder {
    builder(2).pre_fork(0)
}

/// Sends requests one after the other and at the same time. None of them has a worker.
async fn expect_no_worker(test: &TestDispatcher, expected: &str) {
    let first = test.call::<u32>("pid", ()).await;
    let waiting: Vec<_> =
        (0..10).map(|_| test.0.dispatcher.send(NewRequest::to("pid").params(()))).collect();
    let mut outcomes = vec![first.map(drop)];
    for outcome in waiting {
        outcomes.push(outcome.await.unwrap().map(drop));
    }
    for outcome in outcomes {
        match outcome.unwrap_err() {
            Failure::Rejected(Rejection::NoWorker { failures, reason }) => {
                assert!(failures >= 5, "{failures}");
                assert!(reason.contains(expected), "{reason}");
            }
            other => panic!("expected a rejection: {other:?}"),
        }
    }
}

fn without_workers(builder: DispatcherBuilder, expected: &'static str) {
    with_dispatcher(builder, async move |test| expect_no_worker(&test, expected).await);
}

fn preinit_always() {
    without_workers(
        idle().fork_preinit(|| panic!("no licence")),
        "fork_preinit panicked at crates/dispatch/tests/live/hooks.rs",
    );
}

fn postinit_always() {
    without_workers(idle().fork_postinit(|_pid| panic!("no cgroup")), "no cgroup");
}

fn init_always() {
    without_workers(idle().fork_init(|| panic!("no database")), "exited with code 101");
}

fn init_exits() {
    without_workers(idle().fork_init(|| std::process::exit(3)), "exited with code 3");
}

fn init_never_returns() {
    let daemon = Daemon::builder().boot_timeout(Duration::from_millis(200));
    let builder = idle().daemon(daemon).fork_init(|| {
        loop {
            std::thread::park();
        }
    });
    without_workers(builder, "killed");
}

/// Panics when it is called for the first time.
fn panic_once() -> impl Fn() {
    let is_first = Cell::new(true);
    move || {
        if is_first.replace(false) {
            panic!("once");
        }
    }
}

async fn serves(test: TestDispatcher) {
    for _time in 0..3 {
        assert_eq!(test.call::<String>("echo", "word").await.unwrap(), "word");
    }
}

fn preinit_once() {
    with_dispatcher(idle().fork_preinit(panic_once()), serves);
}

fn postinit_once() {
    let hook = panic_once();
    with_dispatcher(idle().fork_postinit(move |_pid| hook()), serves);
}

fn postinit_of_first_workers() {
    without_workers(builder(2).fork_postinit(|_pid| panic!("no cgroup")), "no cgroup");
}

fn init_of_first_workers() {
    let builder = builder(2).fork_init(|| panic!("no database"));
    let ended = run_dispatcher(builder, async |test| {
        let outcome = test.0.dispatcher.send(NewRequest::to("pid").params(())).await;
        // The dispatcher may have stopped already.
        if let Ok(outcome) = outcome {
            assert!(matches!(outcome, Err(Failure::Rejected(_))), "{outcome:?}");
        }
    });
    assert!(matches!(ended, Err(DaemonError::NotReady(_))), "{ended:?}");
}

fn failing_calls(builder: DispatcherBuilder) -> DispatcherBuilder {
    builder
        .precall(|call| match call.from() {
            "refused" => Err("refused"),
            "before" => panic!("before the call"),
            _other => Ok(()),
        })
        .postcall(|call| {
            if call.from() == "after" {
                panic!("after the call")
            }
        })
        .async_method("later", async |_call: Call, (): ()| {
            tokio::task::yield_now().await;
            Ok::<_, String>(std::process::id())
        })
}

async fn expect_failing_calls(test: &TestDispatcher) {
    for method in ["pid", "later"] {
        let call =
            async |from| test.send(NewRequest::to(method).params(()).from(from)).await.map(drop);
        let before = test.call::<u32>(method, ()).await.unwrap();
        assert_eq!(call("refused").await.unwrap_err().to_string(), "refused");
        for from in ["before", "after"] {
            match call(from).await.unwrap_err() {
                Failure::Panicked { message, backtrace } => {
                    let expected =
                        format!("{from} the call, at crates/dispatch/tests/live/hooks.rs:");
                    assert!(message.starts_with(&expected), "{message}");
                    assert!(!backtrace.is_empty());
                }
                other => panic!("expected a panic: {other:?}"),
            }
        }
        assert_eq!(test.call::<u32>(method, ()).await.unwrap(), before);
    }
}

fn calls() {
    with_dispatcher(failing_calls(builder(1)), async |test| expect_failing_calls(&test).await);
}

fn calls_in_place() {
    with_dispatcher(failing_calls(with_methods().in_place()), async |test| {
        expect_failing_calls(&test).await;
    });
}

fn precall_never_returns() {
    let builder = builder(1).precall(|call| {
        while call.from() == "stuck" {
            std::thread::park();
        }
        Ok::<_, String>(())
    });
    with_dispatcher(builder, async |test| {
        let stuck = NewRequest::to("pid").params(()).from("stuck");
        let outcome = test.send(stuck.hard_limit(Duration::from_millis(100))).await;
        let is_hard =
            |failure: &Failure| matches!(failure, Failure::TimedOut { kind: LimitKind::Hard, .. });
        assert!(outcome.as_ref().is_err_and(is_hard), "{outcome:?}");
        serves(test).await;
    });
}

/// A task whose output panics when it is decoded, if it is odd.
#[derive(Serialize, Deserialize)]
struct Numbered(u32);

impl Task for Numbered {
    const NAME: &'static str = "numbered";
    type Output = Even;
    type Error = String;

    fn run(self, _call: &Call) -> Result<Even, String> {
        Ok(Even(self.0))
    }
}

#[derive(Debug, Serialize)]
struct Even(u32);

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        assert!(number.is_multiple_of(2), "odd");
        Ok(Even(number))
    }
}

fn with_numbered(builder: DispatcherBuilder) {
    with_dispatcher(builder.task::<Numbered>(), async |test| {
        for number in 0..4 {
            let output = test.0.dispatcher.send(RunTask::new(Numbered(number))).await.unwrap();
            match output {
                Ok(Even(even)) => assert_eq!((number % 2, even), (0, number)),
                Err(Failure::Decode { reason }) => {
                    let expected = "panicked at crates/dispatch/tests/live/hooks.rs:";
                    assert!(number % 2 == 1 && reason.starts_with(expected), "{reason}");
                }
                Err(other) => panic!("expected a failure of the decoder: {other:?}"),
            }
        }
    });
}

fn output_panics() {
    with_numbered(builder(1));
}

fn output_panics_in_place() {
    with_numbered(with_methods().in_place());
}

/// An actor that panics, or stops itself, when it receives a message.
enum Broken {
    Panics,
    Stops,
}

impl Broken {
    fn act(&self, ctx: &mut Context<Self>) {
        match self {
            Broken::Panics => panic!("the recipient is broken"),
            Broken::Stops => ctx.stop(),
        }
    }
}

impl Actor for Broken {
    type Context = Context<Self>;
}

impl Handler<RequestDone> for Broken {
    type Result = ();

    fn handle(&mut self, _done: RequestDone, ctx: &mut Self::Context) {
        self.act(ctx);
    }
}

impl Handler<FallbackRequest> for Broken {
    type Result = ();

    fn handle(&mut self, _request: FallbackRequest, ctx: &mut Self::Context) {
        self.act(ctx);
    }
}

impl Handler<Talkback> for Broken {
    type Result = ();

    fn handle(&mut self, _talkback: Talkback, ctx: &mut Self::Context) {
        self.act(ctx);
    }
}

/// Runs a scenario in which code of the parent panics, and checks the error of the dispatcher.
fn expect_panic(
    builder: DispatcherBuilder,
    message: &str,
    scenario: impl AsyncFnOnce(&TestDispatcher) + 'static,
) {
    let ended = run_dispatcher(builder, async move |test| {
        scenario(&test).await;
        // The dispatcher stops by itself, and answers what it is asked meanwhile.
        wait_until("the dispatcher rejects requests", async || {
            match test.0.dispatcher.send(NewRequest::to("pid").params(())).await {
                Ok(outcome) => {
                    matches!(outcome, Err(Failure::Rejected(Rejection::ShuttingDown)))
                }
                Err(_stopped) => true,
            }
        })
        .await;
    });
    match ended {
        Err(DaemonError::Panicked(panic)) => {
            assert_eq!(panic.message, message);
            assert!(panic.location.starts_with("crates/dispatch/tests/live/hooks.rs:"), "{panic}");
        }
        other => panic!("expected a panic: {other:?}"),
    }
}

const BROKEN: &str = "the recipient is broken";

fn upon_result_panics() {
    let builder = builder(1).upon_result(|_| Broken::Panics.start().recipient());
    expect_panic(builder, BROKEN, async |test| {
        // A task that runs while the recipient panics is answered.
        let running = test.0.dispatcher.send(NewRequest::to("sleep").params(300_u64));
        test.0.dispatcher.do_send(NewRequest::to("sleep").params(1_u64));
        running.await.unwrap().unwrap();
    });
}

fn fallback_panics() {
    let builder = builder(1).fallback(|_| Broken::Panics.start().recipient());
    expect_panic(builder, BROKEN, async |test| {
        let waiting: Vec<_> =
            (0..3).map(|_| test.0.dispatcher.send(NewRequest::to("unheard of"))).collect();
        for outcome in waiting {
            let failure = outcome.await.unwrap().unwrap_err().to_string();
            assert!(failure.contains("without an answer"), "{failure}");
        }
    });
}

fn talkback_panics() {
    let builder = builder(1).talkback(|_| Broken::Panics.start().recipient());
    expect_panic(builder, BROKEN, async |_test| {});
}

fn upon_result_maker() {
    expect_panic(builder(1).upon_result(|_| panic!("no mail")), "no mail", async |_test| {});
}

fn fallback_maker() {
    expect_panic(builder(1).fallback(|_| panic!("no mail")), "no mail", async |_test| {});
}

fn talkback_maker() {
    expect_panic(builder(1).talkback(|_| panic!("no mail")), "no mail", async |_test| {});
}

fn start_panics() {
    let ended = builder(1).run(|_started| panic!("no mail"));
    assert!(matches!(&ended, Err(DaemonError::Panicked(panic)) if panic.message == "no mail"));
}

fn stopped() {
    let builder = builder(1)
        .upon_result(|_| Broken::Stops.start().recipient())
        .fallback(|_| Broken::Stops.start().recipient())
        .talkback(|_| Broken::Stops.start().recipient());
    with_dispatcher(builder, async |test| {
        for _time in 0..3 {
            test.0.dispatcher.do_send(NewRequest::to("fail").params("alone"));
            let failure = test.call::<u32>("unheard of", ()).await.unwrap_err().to_string();
            assert!(failure.contains("without an answer"), "{failure}");
        }
        serves(test).await;
    });
}

fn statuses() {
    let builder = builder(1).max_requests(0).method("say", |call: &Call, (): ()| {
        let child = ChildHandle::current().ok_or("not in a worker")?;
        let done = child.update_status(UpdateStatus::Done).unwrap_err();
        let wait = child.update_status(UpdateStatus::Wait).unwrap_err();
        assert_eq!(done, StatusError::NotYours { update: "done" });
        assert_eq!(wait, StatusError::NotYours { update: "wait" });
        child.daemon().do_send(UpdateStatus::Done);
        call.mark_long();
        call.label("saying");
        child.extend(Duration::from_secs(60));
        // A task that outlives its request cannot make the worker busy.
        let left_behind = child.clone();
        actix_rt::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let _ = left_behind.long();
            }
        });
        Ok::<_, String>(std::process::id())
    });
    with_dispatcher(builder, async |test| {
        let first = test.call::<u32>("say", ()).await.unwrap();
        for _time in 0..20 {
            assert_eq!(test.call::<u32>("say", ()).await.unwrap(), first);
        }
        wait_until("the worker is idle", async || test.board().await.0.trim() == "w").await;
        assert_eq!(test.call::<u32>("pid", ()).await.unwrap(), first, "the same worker");
        for _time in 0..50 {
            assert_eq!(test.board().await.0.trim(), "w");
        }
    });
}
