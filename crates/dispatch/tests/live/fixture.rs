//! The test fixture. It starts a dispatcher in this process, runs a scenario with the dispatcher,
//! and shuts the dispatcher down.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Context, Handler};
use actix_daemon::{DaemonError, GetStatus, Shutdown, StopMode, panics};
use actix_dispatch::{
    Call, Dispatcher, DispatcherBuilder, Failure, FallbackRequest, GetStats, NewRequest,
    RequestDone, RunningDispatcher, Stats, Talkback, TaskResult,
};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::scenarios::eventually;

/// The longest time that a test waits for a condition before it fails.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns a builder for this number of workers, with the methods that most scenarios need.
pub(crate) fn builder(workers: u32) -> DispatcherBuilder {
    with_methods().max_forks(workers).pre_fork(workers)
}

/// Returns a builder with the methods that most scenarios need.
pub(crate) fn with_methods() -> DispatcherBuilder {
    Dispatcher::builder()
        .method("echo", |_call, word: String| Ok::<_, String>(word))
        .method("pid", |_call, (): ()| Ok::<_, String>(std::process::id()))
        .method("fail", |_call, message: String| Err::<(), _>(message))
        .method("panic", |_call, message: String| -> Result<(), String> { panic!("{message}") })
        .method("exit", |_call, code: i32| -> Result<(), String> { std::process::exit(code) })
        .method("abort", |_call, (): ()| -> Result<(), String> { std::process::abort() })
        .method("hang", |_call, file: Option<String>| -> Result<(), String> {
            if let Some(file) = file {
                touch(&file);
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

/// Returns the file name of this test program.
pub(crate) fn program_name() -> String {
    let path = std::path::PathBuf::from(std::env::args_os().next().expect("a program name"));
    path.file_name().expect("a file name").to_string_lossy().into_owned()
}

/// Creates an empty file that other processes wait for.
pub(crate) fn touch(file: &str) {
    std::fs::write(file, "").expect("create the file");
}

/// Runs a scenario with a dispatcher, then shuts the dispatcher down. Panics if the scenario
/// panicked, or if the dispatcher stops with an error.
pub(crate) fn with_dispatcher(
    builder: DispatcherBuilder,
    scenario: impl AsyncFnOnce(TestDispatcher) + 'static,
) {
    run_dispatcher(builder, scenario).expect("the dispatcher stops without an error");
}

/// Runs a scenario with a dispatcher, then shuts the dispatcher down. Panics if the scenario
/// panicked. Returns the result of the dispatcher.
pub(crate) fn run_dispatcher(
    builder: DispatcherBuilder,
    scenario: impl AsyncFnOnce(TestDispatcher) + 'static,
) -> Result<(), DaemonError> {
    let outcome = Rc::new(RefCell::new(None));
    let note = Rc::clone(&outcome);
    let pids = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&pids);
    let ended = builder.run(move |started| {
        actix_rt::spawn(async move {
            let daemon = started.daemon.clone();
            let test = TestDispatcher(started);
            let result = panics::contain(scenario(test.clone())).await;
            // The daemon may have stopped already.
            if let Ok(report) = daemon.send(GetStatus::Board).await {
                let children = report.children.iter().filter_map(|child| child.pid);
                seen.borrow_mut().extend(children);
            }
            *note.borrow_mut() = Some(result.is_ok());
            let manner = if result.is_ok() { StopMode::Graceful } else { StopMode::Immediate };
            daemon.do_send(Shutdown(manner));
        });
    });
    match (*outcome.borrow(), &ended) {
        (Some(passed), _) => assert!(passed, "the scenario panicked"),
        (None, Ok(())) => panic!("the dispatcher stopped before the scenario ended"),
        // The dispatcher has stopped by itself.
        (None, Err(_)) => {}
    }
    let is_alive = |worker: &u32| {
        i32::try_from(*worker).is_ok_and(|pid| kill(Pid::from_raw(pid), None).is_ok())
    };
    eventually("no worker is left", || !pids.borrow().iter().any(is_alive));
    ended
}

/// A running dispatcher.
#[derive(Clone)]
pub(crate) struct TestDispatcher(pub(crate) RunningDispatcher);

impl TestDispatcher {
    pub(crate) async fn send(&self, request: NewRequest) -> TaskResult {
        self.0.dispatcher.send(request).await.expect("the dispatcher is running")
    }

    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: impl Serialize,
    ) -> Result<T, Failure> {
        self.send(NewRequest::to(method).params(params)).await?.value()
    }

    pub(crate) async fn stats(&self) -> Stats {
        self.0.dispatcher.send(GetStats).await.expect("the dispatcher is running")
    }

    /// Returns the scoreboard as letters, and the labels of the workers.
    pub(crate) async fn board(&self) -> (String, Vec<String>) {
        let report = self.0.daemon.send(GetStatus::Board).await.expect("the daemon is running");
        let labels = report.children.iter().filter_map(|child| child.label.clone()).collect();
        (report.board.clone(), labels)
    }

    /// Returns the process ids of the workers.
    pub(crate) async fn workers(&self) -> Vec<u32> {
        let report = self.0.daemon.send(GetStatus::Board).await.expect("the daemon is running");
        report.children.iter().filter_map(|child| child.pid).collect()
    }
}

/// Waits until a condition is true.
pub(crate) async fn wait_until(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_true().await {
        assert!(
            Instant::now() < deadline,
            "timed out after {TIMEOUT:?} while waiting until {what}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// An actor that collects the messages that it receives.
pub(crate) struct Collector<M>(Rc<RefCell<Vec<M>>>);

impl<M: 'static> Collector<M> {
    /// Starts the actor. Returns its address and the list of the collected messages.
    pub(crate) fn start() -> (Addr<Collector<M>>, Rc<RefCell<Vec<M>>>) {
        let results = Rc::new(RefCell::new(Vec::new()));
        (Collector(Rc::clone(&results)).start(), results)
    }

    /// Starts the actor with a list that was created before the actix System started.
    pub(crate) fn into(results: Rc<RefCell<Vec<M>>>) -> Addr<Collector<M>> {
        Collector(results).start()
    }
}

impl<M: 'static> Unpin for Collector<M> {}

impl<M: 'static> Actor for Collector<M> {
    type Context = Context<Self>;
}

impl Handler<RequestDone> for Collector<RequestDone> {
    type Result = ();

    fn handle(&mut self, done: RequestDone, _ctx: &mut Self::Context) {
        self.0.borrow_mut().push(done);
    }
}

impl Handler<Talkback> for Collector<String> {
    type Result = ();

    fn handle(&mut self, talkback: Talkback, _ctx: &mut Self::Context) {
        self.0.borrow_mut().push(talkback.line);
    }
}

/// The dispatcher's fallback actor, which receives the requests for unknown methods. It answers
/// requests for two methods, and drops all other requests.
pub(crate) struct TestFallback;

impl Actor for TestFallback {
    type Context = Context<Self>;
}

impl Handler<FallbackRequest> for TestFallback {
    type Result = ();

    fn handle(&mut self, request: FallbackRequest, _ctx: &mut Self::Context) {
        match request.request().method_name() {
            "twice" => match request.request().params::<u32>() {
                Ok(number) => request.return_value(&(2 * number)),
                Err(message) => request.fail(message),
            },
            "refuse" => request.fail("refused"),
            _dropped => {}
        }
    }
}
