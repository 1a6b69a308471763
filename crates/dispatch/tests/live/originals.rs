//! What the original's test does: the same tasks, with and without forks, and its bugs, that are
//! none here.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix_daemon::Jitter;
use actix_dispatch::{Failure, NewRequest, RequestDone};
use serde::{Deserialize, Serialize};

use super::play::{Notes, builder, mark, play, until};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("the_original_s_tasks_with_forks", with_forks),
    ("the_original_s_tasks_without_forks", without_forks),
    ("a_result_may_be_anything", plain_results),
    ("a_worker_bears_the_name_that_forks_were_given", named),
    ("verbose_talk_tells_what_the_original_tells", talk),
    ("verbose_talk_tells_why_a_request_waits_and_why_a_fork_is_closed", talk_of_forks),
    ("verbose_talk_tells_that_a_fork_is_delayed", talk_of_delay),
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Info {
    number: u32,
    squared: u64,
    words: Vec<String>,
}

fn tasks(forks: u32) {
    let told: Rc<RefCell<Vec<RequestDone>>> = Rc::default();
    let notes = Rc::clone(&told);
    let builder = builder(forks).upon_result(move |_| Notes::into(notes).recipient()).method(
        "square",
        |call, (number, words): (u32, Vec<String>)| {
            if number == 13 {
                panic!("unlucky")
            }
            if call.from() != "t" {
                return Err("not from here".to_owned());
            }
            Ok(Info { number, squared: u64::from(number).pow(2), words })
        },
    );
    play(builder, async move |stage| {
        for number in 0..30_u32 {
            let words = vec!["w".to_owned(); number as usize];
            let request = NewRequest::to("square").params((number, words)).from("t");
            stage.0.dispatcher.do_send(request);
        }
        until("all are told", async || told.borrow().len() == 30).await;
        let mut numbers = Vec::new();
        for RequestDone { request, outcome, .. } in told.take() {
            let (number, words): (u32, Vec<String>) = request.params().unwrap();
            numbers.push(number);
            match outcome {
                Ok(reply) => {
                    let squared = u64::from(number).pow(2);
                    assert_eq!(reply.value::<Info>().unwrap(), Info { number, squared, words });
                    assert_eq!(request.pid().is_some(), forks > 0);
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

fn with_forks() {
    tasks(3);
}

fn without_forks() {
    tasks(0);
}

fn plain_results() {
    let builder = builder(1)
        .method("nothing", |_call, (): ()| Ok::<_, String>(()))
        .method("none", |_call, (): ()| Ok::<_, String>(None::<u32>))
        .method("number", |_call, (): ()| Ok::<_, String>(42));
    play(builder, async |stage| {
        stage.ask::<()>("nothing", ()).await.unwrap();
        assert_eq!(stage.ask::<Option<u32>>("none", ()).await.unwrap(), None);
        assert_eq!(stage.ask::<u64>("number", ()).await.unwrap(), 42);
    });
}

fn named() {
    let builder = builder(1).fork_name("resizer").method("title", |_call, (): ()| {
        let title = std::fs::read("/proc/self/cmdline").map_err(|error| error.to_string())?;
        Ok::<_, String>(String::from_utf8_lossy(&title).replace('\0', " "))
    });
    play(builder, async |stage| {
        if !std::path::Path::new("/proc/self/cmdline").exists() {
            println!("skipped: there is no /proc here");
            return;
        }
        let title: String = stage.ask("title", ()).await.unwrap();
        assert!(title.starts_with("resizer"), "{title}");
        assert!(title.contains("title"), "its label is the method: {title}");
    });
}

fn talk() {
    let told: Rc<RefCell<Vec<String>>> = Rc::default();
    let notes = Rc::clone(&told);
    let builder = builder(1).verbose().talkback(move |_| Notes::into(notes).recipient());
    play(builder, async move |stage| {
        let request = NewRequest::to("exit").params(3);
        let id = request.id();
        stage.send(request).await.unwrap_err();
        let expected = [
            "dispatcher started".to_owned(),
            "pre-spawning worker, slot: 0".to_owned(),
            format!("handling request, request: {id}, slot: 0"),
            "worker closed, slot: 0".to_owned(),
            "worker exited, slot: 0, reason: exit code 3".to_owned(),
        ];
        until("all is told", async || {
            expected.iter().all(|wanted| told.borrow().iter().any(|line| line == wanted))
        })
        .await;
    });
}

fn talk_of_forks() {
    let told: Rc<RefCell<Vec<String>>> = Rc::default();
    let notes = Rc::clone(&told);
    let builder = builder(1)
        .max_forks(2)
        .max_requests(2)
        .jitter(Jitter::from_percent(0).unwrap())
        .verbose()
        .talkback(move |_| Notes::into(notes).recipient());
    play(builder, async move |stage| {
        let go = std::env::temp_dir().join(format!("dispatch-talk-{}", std::process::id()));
        let file = go.display().to_string();
        let until_go = || stage.0.dispatcher.send(NewRequest::to("until").params(&file));
        let place = |wanted: &str| told.borrow().iter().position(|line| line == wanted);
        let mut running = vec![until_go()];
        until("it runs", async || stage.tally().await.in_flight == 1).await;
        // The second worker is forked at once, and no third; the second also serves two.
        running.extend((0..3).map(|_| until_go()));
        let busy = "all workers are busy, requests wait, workers: 2";
        until("all are busy", async || place(busy).is_some()).await;
        assert!(
            place("pre-spawning worker, slot: 0").unwrap()
                < place("creating worker, slot: 1").unwrap()
        );
        assert!(place("creating worker, slot: 1").unwrap() < place(busy).unwrap());
        let said = told.borrow().iter().filter(|line| *line == busy).count();
        assert_eq!(said, 1, "once for the time that it is so");
        mark(&file);
        for answer in running {
            answer.await.unwrap().unwrap();
        }
        until("a worker that has done its share is closed", async || {
            told.borrow().iter().any(|line| {
                line.starts_with("worker reached its request limit, slot: ")
                    && line.ends_with(", requests: 2")
            })
        })
        .await;
        std::fs::remove_file(&go).unwrap();
    });
}

fn talk_of_delay() {
    let told: Rc<RefCell<Vec<String>>> = Rc::default();
    let notes = Rc::clone(&told);
    let builder = builder(0)
        .max_forks(2)
        .fork_interval(Duration::from_secs(3600))
        .verbose()
        .talkback(move |_| Notes::into(notes).recipient());
    play(builder, async move |stage| {
        let running: Vec<_> = (0..2)
            .map(|_| stage.0.dispatcher.send(NewRequest::to("sleep").params(1_u64)))
            .collect();
        for answer in running {
            answer.await.unwrap().unwrap();
        }
        let place = |wanted: &str| told.borrow().iter().position(|line| line == wanted);
        let created = place("creating worker, slot: 0").unwrap();
        let delayed = place("delaying the next worker, interval: 3600s").unwrap();
        assert!(created < delayed, "{:?}", told.borrow());
    });
}
