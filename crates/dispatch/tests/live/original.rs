//! The tests of `POE::Component::PreforkDispatch`: its tasks with and without workers, the names of
//! the dispatcher, and the lines sent to `talkback`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix_daemon::{Daemon, GetStatus, Jitter};
use actix_dispatch::{DispatcherBuilder, Failure, NewRequest, RequestDone};
use serde::{Deserialize, Serialize};

use super::fixture::{
    Collector, builder, program_name, touch, wait_until, with_dispatcher, with_methods,
};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("the_original_s_tasks_run_with_workers", with_workers),
    ("the_original_s_tasks_run_without_workers", without_workers),
    ("a_method_can_return_unit_an_option_or_a_number", plain_results),
    ("a_worker_s_process_title_starts_with_fork_name_and_contains_the_method", named),
    ("without_an_alias_a_dispatcher_has_the_name_of_its_program", default_name),
    ("without_an_alias_a_dispatcher_has_the_alias_of_its_daemon_settings", name_of_the_daemon),
    ("the_alias_of_a_dispatcher_overrides_that_of_its_daemon_settings", own_name),
    ("verbose_talkback_reports_requests_and_workers", talkback_lines),
    ("verbose_talkback_says_why_a_request_waits_and_why_a_worker_is_replaced", talkback_of_workers),
    ("verbose_talkback_says_that_the_next_worker_is_delayed", talkback_of_delay),
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Info {
    number: u32,
    squared: u64,
    words: Vec<String>,
}

fn tasks(builder: DispatcherBuilder, has_workers: bool) {
    let received: Rc<RefCell<Vec<RequestDone>>> = Rc::default();
    let results = Rc::clone(&received);
    let builder = builder.upon_result(move |_| Collector::into(results).recipient()).method(
        "square",
        |call, (number, words): (u32, Vec<String>)| {
            if number == 13 {
                panic!("unlucky")
            }
            if call.from() != "t" {
                return Err("wrong sender".to_owned());
            }
            Ok(Info { number, squared: u64::from(number).pow(2), words })
        },
    );
    with_dispatcher(builder, async move |test| {
        for number in 0..30_u32 {
            let words = vec!["w".to_owned(); number as usize];
            let request = NewRequest::to("square").params((number, words)).from("t");
            test.0.dispatcher.do_send(request);
        }
        wait_until("all results are delivered", async || received.borrow().len() == 30).await;
        let mut numbers = Vec::new();
        for RequestDone { request, outcome, .. } in received.take() {
            let (number, words): (u32, Vec<String>) = request.params().unwrap();
            numbers.push(number);
            match outcome {
                Ok(reply) => {
                    let squared = u64::from(number).pow(2);
                    assert_eq!(reply.value::<Info>().unwrap(), Info { number, squared, words });
                    assert_eq!(request.pid().is_some(), has_workers);
                }
                Err(Failure::Panicked { message, .. }) => {
                    assert_eq!((number, message.starts_with("unlucky")), (13, true));
                }
                Err(other) => panic!("request {number}: {other}"),
            }
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    });
}

fn with_workers() {
    tasks(builder(3), true);
}

fn without_workers() {
    tasks(with_methods().in_place(), false);
}

fn plain_results() {
    let builder = builder(1)
        .method("nothing", |_call, (): ()| Ok::<_, String>(()))
        .method("none", |_call, (): ()| Ok::<_, String>(None::<u32>))
        .method("number", |_call, (): ()| Ok::<_, String>(42));
    with_dispatcher(builder, async |test| {
        test.call::<()>("nothing", ()).await.unwrap();
        assert_eq!(test.call::<Option<u32>>("none", ()).await.unwrap(), None);
        assert_eq!(test.call::<u64>("number", ()).await.unwrap(), 42);
    });
}

/// Returns a builder with a method that returns the title of its process.
fn with_title() -> DispatcherBuilder {
    builder(1).method("title", |_call, (): ()| {
        let title = std::fs::read("/proc/self/cmdline").map_err(|error| error.to_string())?;
        Ok::<_, String>(String::from_utf8_lossy(&title).replace('\0', " "))
    })
}

fn has_titles() -> bool {
    let has_titles = std::path::Path::new("/proc/self/cmdline").exists();
    if !has_titles {
        println!("skipped: no /proc on this system");
    }
    has_titles
}

/// Checks the alias in the status report and the title of a worker.
fn is_called(builder: DispatcherBuilder, name: &str) {
    let name = name.to_owned();
    with_dispatcher(builder, async move |test| {
        let report = test.0.daemon.send(GetStatus::Board).await.unwrap();
        assert_eq!(report.alias, name);
        if has_titles() {
            let title: String = test.call("title", ()).await.unwrap();
            assert!(title.starts_with(&name), "{title}");
        }
    });
}

fn default_name() {
    is_called(with_title(), &program_name());
}

fn name_of_the_daemon() {
    is_called(with_title().daemon(Daemon::builder().alias("mailer")), "mailer");
}

fn own_name() {
    is_called(with_title().daemon(Daemon::builder().alias("mailer")).alias("resizer"), "resizer");
}

fn named() {
    with_dispatcher(with_title().fork_name("resizer"), async |test| {
        if !has_titles() {
            return;
        }
        let title: String = test.call("title", ()).await.unwrap();
        assert!(title.starts_with("resizer"), "{title}");
        assert!(title.contains("title"), "the title contains the method: {title}");
    });
}

fn talkback_lines() {
    let received: Rc<RefCell<Vec<String>>> = Rc::default();
    let results = Rc::clone(&received);
    let builder = builder(1).verbose().talkback(move |_| Collector::into(results).recipient());
    with_dispatcher(builder, async move |test| {
        let request = NewRequest::to("exit").params(3);
        let id = request.id();
        test.send(request).await.unwrap_err();
        let expected = [
            "dispatcher started".to_owned(),
            "pre-spawning worker, slot: 0".to_owned(),
            format!("handling request, request: {id}, slot: 0"),
            "worker closed, slot: 0".to_owned(),
            "worker exited, slot: 0, reason: exited with code 3".to_owned(),
        ];
        wait_until("all lines are sent", async || {
            expected.iter().all(|wanted| received.borrow().iter().any(|line| line == wanted))
        })
        .await;
    });
}

fn talkback_of_workers() {
    let received: Rc<RefCell<Vec<String>>> = Rc::default();
    let results = Rc::clone(&received);
    let builder = builder(1)
        .max_forks(2)
        .max_requests(2)
        .jitter(Jitter::from_percent(0).unwrap())
        .verbose()
        .talkback(move |_| Collector::into(results).recipient());
    with_dispatcher(builder, async move |test| {
        let go = std::env::temp_dir().join(format!("dispatch-talk-{}", std::process::id()));
        let file = go.display().to_string();
        let until_go = || test.0.dispatcher.send(NewRequest::to("until").params(&file));
        let position = |wanted: &str| received.borrow().iter().position(|line| line == wanted);
        let mut running = vec![until_go()];
        wait_until("the first request runs", async || test.stats().await.in_flight == 1).await;
        // The second worker is started immediately, and no third worker is started. Each worker
        // serves two requests.
        running.extend((0..3).map(|_| until_go()));
        let busy = "all workers are busy, requests wait, workers: 2";
        wait_until("a line reports that all workers are busy", async || position(busy).is_some())
            .await;
        assert!(
            position("pre-spawning worker, slot: 0").unwrap()
                < position("creating worker, slot: 1").unwrap()
        );
        assert!(position("creating worker, slot: 1").unwrap() < position(busy).unwrap());
        let lines = received.borrow().iter().filter(|line| *line == busy).count();
        assert_eq!(lines, 1, "only one line reports that all workers are busy");
        touch(&file);
        for answer in running {
            answer.await.unwrap().unwrap();
        }
        wait_until("a worker that reached its limit is reported", async || {
            received.borrow().iter().any(|line| {
                line.starts_with("worker reached its request limit, slot: ")
                    && line.ends_with(", requests: 2")
            })
        })
        .await;
        std::fs::remove_file(&go).unwrap();
    });
}

fn talkback_of_delay() {
    let received: Rc<RefCell<Vec<String>>> = Rc::default();
    let results = Rc::clone(&received);
    let builder = with_methods()
        .max_forks(2)
        .fork_interval(Duration::from_secs(3600))
        .verbose()
        .talkback(move |_| Collector::into(results).recipient());
    with_dispatcher(builder, async move |test| {
        let running: Vec<_> =
            (0..2).map(|_| test.0.dispatcher.send(NewRequest::to("sleep").params(1_u64))).collect();
        for answer in running {
            answer.await.unwrap().unwrap();
        }
        let position = |wanted: &str| received.borrow().iter().position(|line| line == wanted);
        let created = position("creating worker, slot: 0").unwrap();
        let delayed = position("delaying the next worker, interval: 1h00m").unwrap();
        assert!(created < delayed, "{:?}", received.borrow());
    });
}
