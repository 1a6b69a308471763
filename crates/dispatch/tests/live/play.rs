//! The stage: a dispatcher in this process, a story that is told to it, an orderly end.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Context, Handler};
use actix_daemon::{GetStatus, Shutdown, StopMode};
use actix_dispatch::{
    Call, Dispatcher, DispatcherBuilder, Failure, FallbackRequest, GetStats, NewRequest,
    RequestDone, RunningDispatcher, Stats, Talkback, TaskResult,
};
use futures::FutureExt;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::scenarios::eventually;

/// How long anything may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A dispatcher with what most stories need.
pub(crate) fn builder(workers: u32) -> DispatcherBuilder {
    Dispatcher::builder()
        .max_forks(workers)
        .pre_fork(workers)
        .method("echo", |_call, word: String| Ok::<_, String>(word))
        .method("pid", |_call, (): ()| Ok::<_, String>(std::process::id()))
        .method("fail", |_call, why: String| Err::<(), _>(why))
        .method("panic", |_call, why: String| -> Result<(), String> { panic!("{why}") })
        .method("exit", |_call, code: i32| -> Result<(), String> { std::process::exit(code) })
        .method("abort", |_call, (): ()| -> Result<(), String> { std::process::abort() })
        .method("hang", |_call, file: Option<String>| -> Result<(), String> {
            if let Some(file) = file {
                mark(&file);
            }
            loop {
                std::thread::park();
            }
        })
        .method("until", |_call: &Call, file: String| {
            while !std::path::Path::new(&file).exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok::<_, String>(std::process::id())
        })
        .method("sleep", |_call, millis: u64| {
            std::thread::sleep(Duration::from_millis(millis));
            Ok::<_, String>(std::process::id())
        })
}

/// Leaves a file, for others to find.
pub(crate) fn mark(file: &str) {
    std::fs::write(file, "").expect("a place for a mark");
}

/// Tells a story to a dispatcher, and ends it. A story that fails fails the scenario.
pub(crate) fn play(builder: DispatcherBuilder, story: impl AsyncFnOnce(Stage) + 'static) {
    let failed = Rc::new(RefCell::new(true));
    let note = Rc::clone(&failed);
    let family = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&family);
    let ended = builder.run(move |started| {
        actix_rt::spawn(async move {
            let daemon = started.daemon.clone();
            let stage = Stage(started);
            let told = AssertUnwindSafe(story(stage.clone())).catch_unwind().await;
            // It may have stopped already.
            if let Ok(report) = daemon.send(GetStatus::Board).await {
                let pids = report.children.iter().filter_map(|child| child.pid);
                seen.borrow_mut().extend(pids);
            }
            *note.borrow_mut() = told.is_err();
            let manner = if told.is_ok() { StopMode::Graceful } else { StopMode::Immediate };
            daemon.do_send(Shutdown(manner));
        });
    });
    ended.expect("it ends well");
    assert!(!*failed.borrow(), "the story has failed");
    let is_there = |worker: &u32| {
        i32::try_from(*worker).is_ok_and(|pid| kill(Pid::from_raw(pid), None).is_ok())
    };
    eventually("no worker is left", || !family.borrow().iter().any(is_there));
}

/// A dispatcher that runs.
#[derive(Clone)]
pub(crate) struct Stage(pub(crate) RunningDispatcher);

impl Stage {
    pub(crate) async fn send(&self, request: NewRequest) -> TaskResult {
        self.0.dispatcher.send(request).await.expect("the dispatcher is there")
    }

    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: impl Serialize,
    ) -> Result<T, Failure> {
        self.send(NewRequest::to(method).params(params)).await?.value()
    }

    pub(crate) async fn tally(&self) -> Stats {
        self.0.dispatcher.send(GetStats).await.expect("the dispatcher is there")
    }

    /// The scoreboard, as letters, and the labels of those who are there.
    pub(crate) async fn board(&self) -> (String, Vec<String>) {
        let report = self.0.daemon.send(GetStatus::Board).await.expect("the daemon is there");
        let labels = report.children.iter().filter_map(|child| child.label.clone()).collect();
        (report.board.clone(), labels)
    }

    /// The workers that are there.
    pub(crate) async fn workers(&self) -> Vec<u32> {
        let report = self.0.daemon.send(GetStatus::Board).await.expect("the daemon is there");
        report.children.iter().filter_map(|child| child.pid).collect()
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Collects what it is told.
pub(crate) struct Notes<M>(Rc<RefCell<Vec<M>>>);

impl<M: 'static> Notes<M> {
    /// The actor, and what it will have collected.
    pub(crate) fn start() -> (Addr<Notes<M>>, Rc<RefCell<Vec<M>>>) {
        let notes = Rc::new(RefCell::new(Vec::new()));
        (Notes(Rc::clone(&notes)).start(), notes)
    }

    /// The actor for a place that was made before there was a System.
    pub(crate) fn into(notes: Rc<RefCell<Vec<M>>>) -> Addr<Notes<M>> {
        Notes(notes).start()
    }
}

impl<M: 'static> Unpin for Notes<M> {}

impl<M: 'static> Actor for Notes<M> {
    type Context = Context<Self>;
}

impl Handler<RequestDone> for Notes<RequestDone> {
    type Result = ();

    fn handle(&mut self, done: RequestDone, _ctx: &mut Self::Context) {
        self.0.borrow_mut().push(done);
    }
}

impl Handler<Talkback> for Notes<String> {
    type Result = ();

    fn handle(&mut self, talkback: Talkback, _ctx: &mut Self::Context) {
        self.0.borrow_mut().push(talkback.line);
    }
}

/// Answers what it knows, and drops what it does not.
pub(crate) struct Knows;

impl Actor for Knows {
    type Context = Context<Self>;
}

impl Handler<FallbackRequest> for Knows {
    type Result = ();

    fn handle(&mut self, transaction: FallbackRequest, _ctx: &mut Self::Context) {
        match transaction.request().method_name() {
            "twice" => match transaction.request().params::<u32>() {
                Ok(number) => transaction.return_value(&(2 * number)),
                Err(why) => transaction.fail(why),
            },
            "refuse" => transaction.fail("it will not"),
            _dropped => {}
        }
    }
}
