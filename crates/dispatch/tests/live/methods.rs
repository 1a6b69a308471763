//! Methods: found in their order, typed, async, of a class, with hooks, as tasks; and the fallback.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::Actor;
use actix_dispatch::{Call, Class, Failure, NewRequest, Rejection, RunTask, Task};
use serde::{Deserialize, Serialize};

use super::play::{Knows, Notes, builder, play};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_method_is_run_in_a_worker_and_its_value_comes_back", value),
    ("an_error_comes_back_with_its_words_and_a_panic_with_its_backtrace", errors),
    ("what_is_refused_is_refused_before_a_worker_is_bothered", refusals),
    ("methods_are_found_in_the_original_s_order", order),
    ("an_async_method_waits_without_a_thread", later),
    ("a_task_has_its_types_at_both_ends", task),
    ("hooks_run_where_and_when_they_are_documented", hooks),
    ("what_no_method_is_found_for_goes_to_the_fallback", fallback),
    ("a_result_goes_to_a_recipient_and_to_the_future_too", recipients),
    ("without_forks_methods_run_in_place", in_place),
];

fn value() {
    play(builder(2), async |stage| {
        assert_eq!(stage.ask::<String>("echo", "word").await.unwrap(), "word");
        let pid: u32 = stage.ask("pid", ()).await.unwrap();
        assert_ne!(pid, std::process::id());
        assert!(stage.workers().await.contains(&pid));
    });
}

fn errors() {
    play(builder(1), async |stage| {
        let failed = stage.ask::<()>("fail", "no way").await.unwrap_err();
        assert_eq!(failed, Failure::Failed { message: "no way".into() });
        let before: u32 = stage.ask("pid", ()).await.unwrap();
        match stage.ask::<()>("panic", "no step further").await.unwrap_err() {
            Failure::Panicked { message, backtrace } => {
                assert!(message.starts_with("no step further, at "), "{message}");
                assert!(backtrace.contains("play"), "{backtrace}");
            }
            other => panic!("it panicked: {other:?}"),
        }
        let after: u32 = stage.ask("pid", ()).await.unwrap();
        assert_eq!(before, after, "a panic costs no worker");
        let other_type = stage.ask::<Vec<u64>>("echo", "word").await.unwrap_err();
        assert!(matches!(other_type, Failure::Decode { .. }), "{other_type:?}");
    });
}

/// A value whose own code panics when it is decoded.
struct Explosive;

impl<'de> serde::Deserialize<'de> for Explosive {
    fn deserialize<D: serde::Deserializer<'de>>(_from: D) -> Result<Self, D::Error> {
        panic!("as it shall")
    }
}

fn refusals() {
    let builder =
        builder(0).max_forks(1).method("explode", |_call, _params: Explosive| Ok::<(), String>(()));
    play(builder, async |stage| {
        let refused = async |request: NewRequest| match stage.send(request).await.unwrap_err() {
            Failure::Rejected(rejection) => rejection,
            other => panic!("it is rejected: {other:?}"),
        };
        let unknown = refused(NewRequest::to("unheard of")).await;
        assert_eq!(unknown, Rejection::UnknownMethod { name: "unheard of".into() });
        let unfit = refused(NewRequest::to("echo").params((1_u64, 2_u64, 3.5_f64))).await;
        assert!(matches!(unfit, Rejection::InvalidParams { .. }), "{unfit:?}");
        let explodes = refused(NewRequest::to("explode").params("x")).await;
        let Rejection::InvalidParams { reason, .. } = &explodes else { panic!("{explodes:?}") };
        assert!(reason.contains("to decode them panics: as it shall"), "{reason}");
        let lane = refused(NewRequest::to("echo").params("x").lane("none")).await;
        assert_eq!(lane, Rejection::UnknownLane { name: "none".into() });
        let long = refused(NewRequest::to("echo").from("x".repeat(2000))).await;
        assert_eq!(long, Rejection::NameTooLong { length: 2000, limit: 1024 });
        let never = refused(NewRequest::to("echo").params("x").attempts(0)).await;
        assert!(matches!(never, Rejection::InvalidOption { field: "attempts", .. }), "{never:?}");
        let at_once = NewRequest::to("echo").params("x").hard_limit(Duration::ZERO);
        assert!(matches!(refused(at_once).await, Rejection::InvalidOption { .. }));
        assert!(stage.workers().await.is_empty(), "nobody was forked for it");
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
    play(builder, async move |stage| {
        let own = stage.send(NewRequest::to("Image::flip").method(own).params(())).await;
        assert_eq!(own.unwrap().value::<String>().unwrap(), "own Image::flip");
        assert_eq!(stage.ask::<String>("Image::flip", ()).await.unwrap(), "registered");
        let resized: String = stage.ask("Image::resize", (640, 480)).await.unwrap();
        assert_eq!(resized, "Image::resize 640x480");
        assert_eq!(stage.ask::<String>("Image::turn", ()).await.unwrap(), "turned");
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
    play(builder, async |stage| {
        assert_eq!(stage.ask::<u32>("wait", 3_u64).await.unwrap(), 1);
        let failed = stage.ask::<u32>("wait", 7_u64).await.unwrap_err();
        assert_eq!(failed.to_string(), "too short");
        let panicked = stage.ask::<u32>("wait", 13_u64).await.unwrap_err();
        assert!(matches!(panicked, Failure::Panicked { .. }), "{panicked:?}");
        assert_eq!(stage.ask::<u32>("wait", 1_u64).await.unwrap(), 1);
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
    play(builder(1).task::<Divide>(), async |stage| {
        let divide = async |by| {
            stage.0.dispatcher.send(RunTask::new(Divide { by, what: 42 })).await.unwrap()
        };
        assert_eq!(divide(2).await.unwrap(), 21);
        assert_eq!(divide(0).await.unwrap_err().to_string(), "cannot be divided");
        assert_eq!(stage.ask::<i64>("divide", (6_i64, 42_i64)).await.unwrap(), 7);
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
            if call.from() == "stranger" { Err("who is that?") } else { Ok(()) }
        })
        .postcall(|call| see(&format!("postcall {}", call.method_name())))
        .method("seen", |_call, (): ()| Ok::<_, String>(SEEN.with_borrow(Clone::clone)));
    play(builder, async |stage| {
        stage.send(NewRequest::to("echo").params("x").from("friend")).await.unwrap();
        let stranger = stage.send(NewRequest::to("echo").params("x").from("stranger")).await;
        assert_eq!(stranger.unwrap_err().to_string(), "who is that?");
        let seen: Vec<String> = stage.ask("seen", ()).await.unwrap();
        let expected = [
            "init",
            "precall echo friend",
            "postcall echo",
            "precall echo stranger",
            "precall seen local",
        ];
        assert_eq!(seen, expected);
        let pid: u32 = stage.ask("pid", ()).await.unwrap();
        let here = SEEN.with_borrow(Clone::clone);
        assert_eq!(here, ["preinit".to_owned(), format!("postinit {pid}")]);
    });
}

fn fallback() {
    let builder = builder(1).fallback(|_dispatcher| Knows.start().recipient());
    play(builder, async |stage| {
        assert_eq!(stage.ask::<String>("echo", "x").await.unwrap(), "x");
        assert_eq!(stage.ask::<u32>("twice", 21_u32).await.unwrap(), 42);
        let refused = stage.ask::<u32>("refuse", ()).await.unwrap_err();
        assert_eq!(refused.to_string(), "it will not");
        let dropped = stage.ask::<u32>("anything", ()).await.unwrap_err();
        assert!(dropped.to_string().contains("without an answer"), "{dropped}");
    });
}

fn recipients() {
    let common = Rc::new(RefCell::new(Vec::new()));
    let notes = Rc::clone(&common);
    let builder = builder(1).upon_result(move |_| Notes::into(notes).recipient());
    play(builder, async move |stage| {
        let (own, told) = Notes::start();
        let request = NewRequest::to("echo").params("both").from("me");
        let id = request.id();
        let outcome = stage.send(request.upon_result(own.clone().recipient())).await;
        assert_eq!(outcome.unwrap().value::<String>().unwrap(), "both");
        super::play::until("it is delivered", async || told.borrow().len() == 1).await;
        let done = told.borrow_mut().remove(0);
        assert_eq!((done.request.id(), done.request.from()), (id, "me"));
        assert_eq!(done.request.method_name(), "echo");
        assert_eq!(done.request.params::<String>().unwrap(), "both");
        let pid = done.request.pid().unwrap().as_raw().unsigned_abs();
        assert!(stage.workers().await.contains(&pid));
        assert!(done.request.elapsed() >= done.request.run_time());
        assert_eq!(done.outcome.unwrap().value::<String>().unwrap(), "both");
        // Nobody waits, and no recipient of its own: the dispatcher's gets it.
        stage.0.dispatcher.do_send(NewRequest::to("fail").params("alone"));
        super::play::until("it is delivered", async || common.borrow().len() == 1).await;
        assert_eq!(common.borrow()[0].outcome.as_ref().unwrap_err().to_string(), "alone");
    });
}

fn in_place() {
    let builder =
        builder(0).async_method("later", async |_call, (): ()| Ok::<_, String>(std::process::id()));
    play(builder, async |stage| {
        assert_eq!(stage.ask::<u32>("pid", ()).await.unwrap(), std::process::id());
        assert_eq!(stage.ask::<u32>("later", ()).await.unwrap(), std::process::id());
        let failed = stage.ask::<()>("fail", "here").await.unwrap_err();
        assert_eq!(failed.to_string(), "here");
        let panicked = stage.ask::<()>("panic", "here").await.unwrap_err();
        let Failure::Panicked { message, backtrace } = panicked else { panic!("{panicked:?}") };
        assert!(message.starts_with("here, at "), "{message}");
        assert!(backtrace.contains("play"), "{backtrace}");
        let tally = stage.tally().await;
        assert_eq!((tally.admitted, tally.answered, tally.failed), (4, 4, 0), "{tally:?}");
        let (own, told) = Notes::start();
        stage.0.dispatcher.do_send(NewRequest::to("pid").upon_result(own.recipient()));
        super::play::until("it is delivered", async || told.borrow().len() == 1).await;
        assert_eq!(told.borrow()[0].request.pid(), None);
        assert!(stage.workers().await.is_empty());
    });
}
