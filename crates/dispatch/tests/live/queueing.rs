//! Order, priorities, lanes, the bounded queue, growth by demand, the operator's pause.

use std::path::Path;
use std::time::Duration;

use actix_daemon::{Pause, Resize, Resume};
use actix_dispatch::{
    Cancel, CancelOutcome, Failure, IfRunning, Lane, NewRequest, Rejection, RequestState,
};

use super::play::{Stage, builder, mark, play, until};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("requests_are_begun_first_come_first_served_and_by_priority", order),
    ("a_lane_with_a_most_is_one_after_the_other", lanes),
    ("a_full_queue_makes_send_wait_and_try_send_refuse", full),
    ("a_full_queue_does_not_hold_up_who_cancels", cancelled_when_full),
    ("workers_are_forked_for_work_that_waits_up_to_the_most", growth),
    ("with_an_interval_workers_are_forked_one_by_one", interval),
    ("a_long_task_does_not_hold_up_those_behind_it", no_holding_up),
    ("a_worker_is_replaced_after_its_share_of_requests", recycled),
    ("while_the_operator_holds_it_nothing_is_begun", paused),
    ("the_scoreboard_shows_the_method_as_the_label", board),
];

fn place(name: &str) -> String {
    let file = std::env::temp_dir().join(format!("dispatch-{name}-{}", std::process::id()));
    file.display().to_string()
}

/// A dispatcher whose one worker notes in which order it begins what.
fn noting(queue: usize) -> actix_dispatch::DispatcherBuilder {
    let noted = std::cell::RefCell::new(Vec::<u32>::new());
    let noted = std::rc::Rc::new(noted);
    let all = std::rc::Rc::clone(&noted);
    builder(1)
        .queue_capacity(queue)
        .method("note", move |_call, number: u32| {
            noted.borrow_mut().push(number);
            Ok::<_, String>(())
        })
        .method("noted", move |_call, (): ()| Ok::<_, String>(all.borrow().clone()))
}

async fn is_busy(stage: &Stage) {
    until("the worker is busy", async || stage.board().await.0.contains('r')).await;
}

fn order() {
    play(noting(1000), async |stage| {
        let go = place("order");
        let first = stage.0.dispatcher.send(NewRequest::to("until").params(&go));
        is_busy(&stage).await;
        let mut waiting = Vec::new();
        for number in 0..60_u32 {
            let priority = i8::try_from(number % 3).unwrap() - 1;
            let request = NewRequest::to("note").params(number).priority(priority);
            waiting.push(stage.0.dispatcher.send(request));
        }
        mark(&go);
        first.await.unwrap().unwrap();
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
        let noted: Vec<u32> = stage.ask("noted", ()).await.unwrap();
        let expected: Vec<u32> =
            [2, 1, 0].into_iter().flat_map(|rest| (0..60).filter(move |n| n % 3 == rest)).collect();
        assert_eq!(noted, expected);
        std::fs::remove_file(go).unwrap();
    });
}

fn lanes() {
    let builder = builder(3).lane(Lane::new("books").max_running(1)).method(
        "alone",
        |_call, place: String| {
            let is_alone = !Path::new(&place).exists();
            mark(&place);
            std::thread::sleep(Duration::from_millis(5));
            std::fs::remove_file(&place).map_err(|error| error.to_string())?;
            Ok::<_, String>(is_alone)
        },
    );
    play(builder, async |stage| {
        let place = place("lanes");
        let parts: Vec<_> = (0..20)
            .map(|_| NewRequest::to("alone").params(&place).lane("books"))
            .map(|request| stage.0.dispatcher.send(request))
            .collect();
        for answer in parts {
            assert!(answer.await.unwrap().unwrap().value::<bool>().unwrap());
        }
    });
}

fn full() {
    play(builder(1).queue_capacity(3), async |stage| {
        let go = place("full");
        let dispatcher = &stage.0.dispatcher;
        let mut waiting = vec![dispatcher.send(NewRequest::to("until").params(&go))];
        is_busy(&stage).await;
        waiting.extend((0..3).map(|_| dispatcher.send(NewRequest::to("until").params(&go))));
        until("the queue is full", async || stage.tally().await.queued == 3).await;
        let refused = NewRequest::to("pid").refuse_if_full();
        let refused = stage.send(refused).await.unwrap_err();
        assert_eq!(refused, Failure::Rejected(Rejection::QueueFull { limit: 3 }));
        // From here on requests wait before the queue, in the mailbox, until that is full too.
        let mut tried = 0;
        while dispatcher.try_send(NewRequest::to("until").params(&go)).is_ok() {
            tried += 1;
            assert!(tried < 10_000, "it never refuses");
            tokio::task::yield_now().await;
        }
        let last = dispatcher.send(NewRequest::to("pid"));
        mark(&go);
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
        last.await.unwrap().unwrap();
        let tally = stage.tally().await;
        assert_eq!(tally.answered, 4 + tried + 1, "{tally:?}");
        std::fs::remove_file(go).unwrap();
    });
}

fn cancelled_when_full() {
    play(builder(1).queue_capacity(1), async |stage| {
        let cancel =
            async |id, if_running| stage.0.cancel.send(Cancel { id, if_running }).await.unwrap();
        let has_begun = async |name| {
            let file = place(name);
            until("it has begun", async || Path::new(&file).exists()).await;
            std::fs::remove_file(file).unwrap();
        };
        // One runs, one waits in the queue, one before it, and two in the mailbox.
        let (mut ids, mut answers) = (Vec::new(), Vec::new());
        for nth in 0..5 {
            let request = NewRequest::to("hang")
                .params((nth < 2).then(|| place(["cancel-0", "cancel-1"][nth])));
            ids.push(request.id());
            answers.push(Box::pin(stage.0.dispatcher.send(request)));
            match nth {
                0 => has_begun("cancel-0").await,
                1 => {
                    until("it is queued", async || stage.tally().await.queued == 1).await;
                }
                _mailed => {}
            }
        }
        let cancelled = |state| Failure::Cancelled { state };
        for nth in [3, 2] {
            // Whether it will ever come is not known.
            assert_eq!(cancel(ids[nth], IfRunning::LetFinish).await, CancelOutcome::Unknown);
        }
        for nth in [2, 3] {
            let answer = answers[nth].as_mut().await.unwrap();
            assert_eq!(answer.unwrap_err(), cancelled(RequestState::Queued));
        }
        assert_eq!(cancel(ids[0], IfRunning::Terminate).await, CancelOutcome::Terminated);
        let answer = answers[0].as_mut().await.unwrap();
        assert_eq!(answer.unwrap_err(), cancelled(RequestState::Running));
        // The second runs now, and there is room for the last.
        until("the last waits", async || stage.tally().await.queued == 1).await;
        assert_eq!(cancel(ids[4], IfRunning::LetFinish).await, CancelOutcome::Dequeued);
        assert_eq!(
            answers[4].as_mut().await.unwrap().unwrap_err(),
            cancelled(RequestState::Queued)
        );
        has_begun("cancel-1").await;
        assert_eq!(cancel(ids[1], IfRunning::Terminate).await, CancelOutcome::Terminated);
        assert_eq!(cancel(ids[1], IfRunning::Terminate).await, CancelOutcome::Unknown);
    });
}

fn growth() {
    play(builder(3).pre_fork(1), async |stage| {
        let go = place("growth");
        let until_go = || stage.0.dispatcher.send(NewRequest::to("until").params(&go));
        let running: Vec<_> = (0..8).map(|_| until_go()).collect();
        until("there are three", async || stage.workers().await.len() == 3).await;
        until("all are busy", async || stage.tally().await.in_flight == 3).await;
        assert_eq!(stage.workers().await.len(), 3);
        mark(&go);
        for answer in running {
            answer.await.unwrap().unwrap();
        }
        stage.0.daemon.send(Resize::To(2)).await.unwrap().unwrap();
        until("one is retired", async || stage.workers().await.len() == 2).await;
        std::fs::remove_file(go).unwrap();
    });
}

fn interval() {
    let builder = builder(0).max_forks(3).fork_interval(Duration::from_millis(400));
    play(builder, async |stage| {
        let go = place("interval");
        let begun = std::time::Instant::now();
        let parts: Vec<_> =
            (0..6).map(|_| stage.0.dispatcher.send(NewRequest::to("until").params(&go))).collect();
        until("there are three", async || stage.workers().await.len() == 3).await;
        assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
        mark(&go);
        for answer in parts {
            answer.await.unwrap().unwrap();
        }
        std::fs::remove_file(go).unwrap();
    });
}

fn no_holding_up() {
    play(builder(2), async |stage| {
        let go = place("holding");
        for _time in 0..50 {
            stage.ask::<String>("echo", "warm").await.unwrap();
        }
        // `echo` is known to be short and is sent ahead; the long one is among them.
        let mut parts = Vec::new();
        for nth in 0..500 {
            if nth == 200 {
                parts.push((true, stage.0.dispatcher.send(NewRequest::to("until").params(&go))));
            }
            parts.push((false, stage.0.dispatcher.send(NewRequest::to("echo").params("x"))));
        }
        let mut long = None;
        for (is_long, answer) in parts {
            if is_long {
                long = Some(answer);
            } else {
                answer.await.unwrap().unwrap();
            }
        }
        mark(&go);
        long.unwrap().await.unwrap().unwrap();
        std::fs::remove_file(go).unwrap();
    });
}

fn recycled() {
    play(builder(2).max_requests(10), async |stage| {
        let parts: Vec<_> =
            (0..200).map(|_| stage.0.dispatcher.send(NewRequest::to("pid"))).collect();
        let mut served = std::collections::HashMap::<u32, u32>::new();
        for answer in parts {
            let pid = answer.await.unwrap().unwrap().value().unwrap();
            *served.entry(pid).or_default() += 1;
        }
        assert!(served.len() >= 20, "{} workers", served.len());
        assert!(served.values().all(|requests| *requests <= 10), "{served:?}");
        assert_eq!(stage.tally().await.failed, 0);
    });
}

fn paused() {
    play(noting(100), async |stage| {
        stage.0.daemon.send(Pause).await.unwrap().unwrap();
        let parts: Vec<_> = (0..5_u32)
            .map(|number| stage.0.dispatcher.send(NewRequest::to("note").params(number)))
            .collect();
        until("all wait", async || stage.tally().await.queued == 5).await;
        assert!(!stage.board().await.0.contains('r'));
        stage.0.daemon.send(Resume).await.unwrap().unwrap();
        for answer in parts {
            answer.await.unwrap().unwrap();
        }
    });
}

fn board() {
    play(builder(2), async |stage| {
        let go = place("board");
        let running = stage.0.dispatcher.send(NewRequest::to("until").params(&go));
        until("it is shown", async || {
            let (board, labels) = stage.board().await;
            board.contains('r') && labels.iter().any(|label| label == "until")
        })
        .await;
        mark(&go);
        running.await.unwrap().unwrap();
        std::fs::remove_file(go).unwrap();
    });
}
