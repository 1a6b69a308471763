//! Methods: lookup order, types, async methods, classes, hooks, typed tasks, and the fallback.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::Actor;
use actix_dispatch::{Call, Class, Failure, NewRequest, Rejection, RunTask, Task};
use serde::{Deserialize, Serialize};

use super::fixture::{Collector, TestFallback, builder, with_dispatcher, with_methods};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_method_runs_in_a_worker_and_returns_its_value", value),
    ("a_failed_method_returns_its_error_text_and_a_panic_returns_its_backtrace", errors),
    ("invalid_requests_are_rejected_before_a_worker_is_started", refusals),
    ("an_anonymous_method_precedes_a_registered_method_which_precedes_a_class_method", order),
    ("an_async_method_can_return_a_value_fail_or_panic", later),
    ("a_typed_task_returns_its_output_type", task),
    ("hooks_run_in_the_documented_process_and_order", hooks),
    ("a_request_for_an_unknown_method_goes_to_the_fallback", fallback),
    ("a_result_goes_to_both_the_recipient_and_the_future", recipients),
    ("methods_run_in_the_parent_if_there_are_no_workers", in_place),
];

fn value() {
    with_dispatcher(builder(2), async |test| {
        assert_eq!(test.call::<String>("echo", "word").await.unwrap(), "word");
        let pid: u32 = test.call("pid", ()).await.unwrap();
        assert_ne!(pid, std::process::id());
        assert!(test.workers().await.contains(&pid));
    });
}

fn errors() {
    with_dispatcher(builder(1), async |test| {
        let failed = test.call::<()>("fail", "no way").await.unwrap_err();
        assert_eq!(failed, Failure::Failed { message: "no way".into() });
        let before: u32 = test.call("pid", ()).await.unwrap();
        match test.call::<()>("panic", "cannot continue").await.unwrap_err() {
            Failure::Panicked { message, backtrace } => {
                assert!(message.starts_with("cannot continue, at "), "{message}");
                assert!(backtrace.contains("fixture"), "{backtrace}");
            }
            other => panic!("expected a panic: {other:?}"),
        }
        let after: u32 = test.call("pid", ()).await.unwrap();
        assert_eq!(before, after, "a panic does not end the worker");
        let other_type = test.call::<Vec<u64>>("echo", "word").await.unwrap_err();
        assert!(matches!(other_type, Failure::Decode { .. }), "{other_type:?}");
    });
}

/// A value whose `Deserialize` panics.
struct PanicsOnDecode;

impl<'de> serde::Deserialize<'de> for PanicsOnDecode {
    fn deserialize<D: serde::Deserializer<'de>>(_from: D) -> Result<Self, D::Error> {
        panic!("on purpose")
    }
}

fn refusals() {
    let builder = with_methods()
        .max_forks(1)
        .method("explode", |_call, _params: PanicsOnDecode| Ok::<(), String>(()));
    with_dispatcher(builder, async |test| {
        let refused = async |request: NewRequest| match test.send(request).await.unwrap_err() {
            Failure::Rejected(rejection) => rejection,
            other => panic!("expected a rejection: {other:?}"),
        };
        let unknown = refused(NewRequest::to("unheard of")).await;
        assert_eq!(unknown, Rejection::UnknownMethod { name: "unheard of".into() });
        let unfit = refused(NewRequest::to("echo").params((1_u64, 2_u64, 3.5_f64))).await;
        assert!(matches!(unfit, Rejection::InvalidParams { .. }), "{unfit:?}");
        let explodes = refused(NewRequest::to("explode").params("x")).await;
        let Rejection::InvalidParams { reason, .. } = &explodes else { panic!("{explodes:?}") };
        assert!(reason.starts_with("decoding panicked at ") && reason.ends_with(": on purpose"));
        let lane = refused(NewRequest::to("echo").params("x").lane("none")).await;
        assert_eq!(lane, Rejection::UnknownLane { name: "none".into() });
        let long = refused(NewRequest::to("echo").from("x".repeat(2000))).await;
        assert_eq!(long, Rejection::NameTooLong { length: 2000, limit: 1024 });
        let never = refused(NewRequest::to("echo").params("x").attempts(0)).await;
        assert!(matches!(never, Rejection::InvalidOption { field: "attempts", .. }), "{never:?}");
        let immediate = NewRequest::to("echo").params("x").hard_limit(Duration::ZERO);
        assert!(matches!(refused(immediate).await, Rejection::InvalidOption { .. }));
        assert!(test.workers().await.is_empty(), "no worker was started");
    });
}

fn order() {
    let mut builder =
        builder(1).method("Image::flip", |_call, (): ()| Ok::<_, String>("registered")).class(
            Class::new("Image")
                .method("flip", |_call, (): ()| Ok::<_, String>("class"))
                .method("resize", |call, (w, h): (u32, u32)| {
                    Ok::<_, String>(format!("{} {w}x{h}", call.method_name()))
                })
                .async_method("turn", async |_call, (): ()| Ok::<_, String>("turned")),
        );
    let own = builder
        .anonymous_method(|call, (): ()| Ok::<_, String>(format!("own {}", call.method_name())));
    with_dispatcher(builder, async move |test| {
        let own = test.send(NewRequest::to("Image::flip").method(own).params(())).await;
        assert_eq!(own.unwrap().value::<String>().unwrap(), "own Image::flip");
        assert_eq!(test.call::<String>("Image::flip", ()).await.unwrap(), "registered");
        let resized: String = test.call("Image::resize", (640, 480)).await.unwrap();
        assert_eq!(resized, "Image::resize 640x480");
        assert_eq!(test.call::<String>("Image::turn", ()).await.unwrap(), "turned");
    });
}

fn later() {
    let builder = builder(1).async_method("wait", async |call: Call, millis: u64| {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        if millis == 13 {
            panic!("unlucky")
        }
        if millis == 7 { Err("too short") } else { Ok(call.attempt()) }
    });
    with_dispatcher(builder, async |test| {
        assert_eq!(test.call::<u32>("wait", 3_u64).await.unwrap(), 1);
        let failed = test.call::<u32>("wait", 7_u64).await.unwrap_err();
        assert_eq!(failed.to_string(), "too short");
        let panicked = test.call::<u32>("wait", 13_u64).await.unwrap_err();
        assert!(matches!(panicked, Failure::Panicked { .. }), "{panicked:?}");
        assert_eq!(test.call::<u32>("wait", 1_u64).await.unwrap(), 1);
    });
}

#[derive(Serialize, Deserialize)]
struct Divide {
    by: i64,
    what: i64,
}

impl Task for Divide {
    const NAME: &'static str = "divide";
    type Output = i64;
    type Error = &'static str;

    fn run(self, _call: &Call) -> Result<i64, &'static str> {
        self.what.checked_div(self.by).ok_or("cannot be divided")
    }
}

fn task() {
    with_dispatcher(builder(1).task::<Divide>(), async |test| {
        let divide =
            async |by| test.0.dispatcher.send(RunTask::new(Divide { by, what: 42 })).await.unwrap();
        assert_eq!(divide(2).await.unwrap(), 21);
        assert_eq!(divide(0).await.unwrap_err().to_string(), "cannot be divided");
        assert_eq!(test.call::<i64>("divide", (6_i64, 42_i64)).await.unwrap(), 7);
    });
}

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn see(what: &str) {
    SEEN.with_borrow_mut(|seen| seen.push(what.to_owned()));
}

fn hooks() {
    let builder = builder(1)
        .fork_preinit(|| see("preinit"))
        .fork_postinit(|pid| see(&format!("postinit {pid}")))
        .fork_init(|| see("init"))
        .precall(|call| {
            see(&format!("precall {} {}", call.method_name(), call.from()));
            if call.from() == "stranger" { Err("unknown sender") } else { Ok(()) }
        })
        .postcall(|call| see(&format!("postcall {}", call.method_name())))
        .method("seen", |_call, (): ()| Ok::<_, String>(SEEN.with_borrow(Clone::clone)));
    with_dispatcher(builder, async |test| {
        test.send(NewRequest::to("echo").params("x").from("friend")).await.unwrap();
        let stranger = test.send(NewRequest::to("echo").params("x").from("stranger")).await;
        assert_eq!(stranger.unwrap_err().to_string(), "unknown sender");
        let seen: Vec<String> = test.call("seen", ()).await.unwrap();
        let expected = [
            "init",
            "precall echo friend",
            "postcall echo",
            "precall echo stranger",
            "precall seen local",
        ];
        assert_eq!(seen, expected);
        let pid: u32 = test.call("pid", ()).await.unwrap();
        let here = SEEN.with_borrow(Clone::clone);
        assert_eq!(here, ["preinit".to_owned(), format!("postinit {pid}")]);
    });
}

fn fallback() {
    let builder = builder(1).fallback(|_dispatcher| TestFallback.start().recipient());
    with_dispatcher(builder, async |test| {
        assert_eq!(test.call::<String>("echo", "x").await.unwrap(), "x");
        assert_eq!(test.call::<u32>("twice", 21_u32).await.unwrap(), 42);
        let refused = test.call::<u32>("refuse", ()).await.unwrap_err();
        assert_eq!(refused.to_string(), "refused");
        let dropped = test.call::<u32>("anything", ()).await.unwrap_err();
        assert!(dropped.to_string().contains("without an answer"), "{dropped}");
    });
}

fn recipients() {
    let common = Rc::new(RefCell::new(Vec::new()));
    let results = Rc::clone(&common);
    let builder = builder(1).upon_result(move |_| Collector::into(results).recipient());
    with_dispatcher(builder, async move |test| {
        let (own, received) = Collector::start();
        let request = NewRequest::to("echo").params("both").from("me");
        let id = request.id();
        let outcome = test.send(request.upon_result(own.clone().recipient())).await;
        assert_eq!(outcome.unwrap().value::<String>().unwrap(), "both");
        super::fixture::wait_until("the result is delivered", async || {
            received.borrow().len() == 1
        })
        .await;
        let done = received.borrow_mut().remove(0);
        assert_eq!((done.request.id(), done.request.from()), (id, "me"));
        assert_eq!(done.request.method_name(), "echo");
        assert_eq!(done.request.params::<String>().unwrap(), "both");
        let pid = done.request.pid().unwrap().as_raw().unsigned_abs();
        assert!(test.workers().await.contains(&pid));
        assert!(done.request.elapsed() >= done.request.run_time());
        assert_eq!(done.outcome.unwrap().value::<String>().unwrap(), "both");
        // The request has no future and no recipient of its own, so its result goes to the
        // dispatcher's recipient.
        test.0.dispatcher.do_send(NewRequest::to("fail").params("alone"));
        super::fixture::wait_until("the result is delivered", async || common.borrow().len() == 1)
            .await;
        assert_eq!(common.borrow()[0].outcome.as_ref().unwrap_err().to_string(), "alone");
    });
}

fn in_place() {
    let builder = with_methods()
        .in_place()
        .async_method("later", async |_call, (): ()| Ok::<_, String>(std::process::id()));
    with_dispatcher(builder, async |test| {
        assert_eq!(test.call::<u32>("pid", ()).await.unwrap(), std::process::id());
        assert_eq!(test.call::<u32>("later", ()).await.unwrap(), std::process::id());
        let failed = test.call::<()>("fail", "here").await.unwrap_err();
        assert_eq!(failed.to_string(), "here");
        let panicked = test.call::<()>("panic", "here").await.unwrap_err();
        let Failure::Panicked { message, backtrace } = panicked else { panic!("{panicked:?}") };
        assert!(message.starts_with("here, at "), "{message}");
        assert!(backtrace.contains("fixture"), "{backtrace}");
        let stats = test.stats().await;
        assert_eq!((stats.admitted, stats.answered, stats.failed), (4, 4, 0), "{stats:?}");
        let (own, received) = Collector::start();
        test.0.dispatcher.do_send(NewRequest::to("pid").upon_result(own.recipient()));
        super::fixture::wait_until("the result is delivered", async || {
            received.borrow().len() == 1
        })
        .await;
        assert_eq!(received.borrow()[0].request.pid(), None);
        assert!(test.workers().await.is_empty());
    });
}
