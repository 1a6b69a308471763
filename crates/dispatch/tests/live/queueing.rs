//! Tests the order of requests, priorities, lanes, the bounded queue, starting workers on demand,
//! and pausing.

use std::path::Path;
use std::time::Duration;

use actix_daemon::{Pause, Resize, Resume, SetSize};
use actix_dispatch::{
    Cancel, CancelOutcome, CancellationToken, Failure, IfRunning, Lane, NewRequest, Rejection,
    RequestState,
};

use super::fixture::{TestDispatcher, builder, touch, wait_until, with_dispatcher, with_methods};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("requests_start_in_order_of_priority_and_then_of_arrival", order),
    ("a_lane_with_max_running_1_runs_one_task_at_a_time", lanes),
    ("requests_wait_in_the_mailbox_if_the_queue_is_full", full),
    ("requests_run_before_their_futures_are_awaited", sent_before_awaited),
    ("send_all_returns_the_results_in_the_order_of_the_requests", all_at_once),
    ("cancel_does_not_wait_behind_a_full_queue", cancelled_when_full),
    ("workers_are_started_up_to_the_maximum_while_requests_wait", on_demand),
    ("workers_are_started_one_by_one_if_fork_interval_is_set", interval),
    ("a_long_task_does_not_delay_the_tasks_behind_it", no_head_of_line_blocking),
    ("a_worker_is_replaced_after_its_request_limit", recycled),
    ("no_task_starts_while_the_daemon_is_paused", paused),
    ("the_scoreboard_shows_the_running_method_as_the_label_of_its_worker", board),
];

fn temp_path(name: &str) -> String {
    let file = std::env::temp_dir().join(format!("dispatch-{name}-{}", std::process::id()));
    file.display().to_string()
}

/// Returns a builder with one worker that records the order in which it starts tasks.
fn recording(queue: usize) -> actix_dispatch::DispatcherBuilder {
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

async fn wait_until_busy(test: &TestDispatcher) {
    wait_until("the worker is busy", async || test.board().await.0.contains('r')).await;
}

fn order() {
    with_dispatcher(recording(1000), async |test| {
        let go = temp_path("order");
        let first = test.0.dispatcher.send(NewRequest::to("until").params(&go));
        wait_until_busy(&test).await;
        let mut waiting = Vec::new();
        for number in 0..60_u32 {
            let priority = i8::try_from(number % 3).unwrap() - 1;
            let request = NewRequest::to("note").params(number).priority(priority);
            waiting.push(test.0.dispatcher.send(request));
        }
        touch(&go);
        first.await.unwrap().unwrap();
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
        let noted: Vec<u32> = test.call("noted", ()).await.unwrap();
        let expected: Vec<u32> =
            [2, 1, 0].into_iter().flat_map(|rest| (0..60).filter(move |n| n % 3 == rest)).collect();
        assert_eq!(noted, expected);
        std::fs::remove_file(go).unwrap();
    });
}

fn lanes() {
    let builder = builder(3).lane(Lane::new("books").max_running(1)).method(
        "alone",
        |_call, temp_path: String| {
            let is_alone = !Path::new(&temp_path).exists();
            touch(&temp_path);
            std::thread::sleep(Duration::from_millis(5));
            std::fs::remove_file(&temp_path).map_err(|error| error.to_string())?;
            Ok::<_, String>(is_alone)
        },
    );
    with_dispatcher(builder, async |test| {
        let temp_path = temp_path("lanes");
        let pending: Vec<_> = (0..20)
            .map(|_| NewRequest::to("alone").params(&temp_path).lane("books"))
            .map(|request| test.0.dispatcher.send(request))
            .collect();
        for answer in pending {
            assert!(answer.await.unwrap().unwrap().value::<bool>().unwrap());
        }
    });
}

/// More requests than actix's mailboxes hold by default, and more than the queue holds.
const MANY: usize = 1000;

fn sent_before_awaited() {
    with_dispatcher(builder(2).queue_capacity(100), async |test| {
        let send =
            |nth: usize| test.0.dispatcher.send(NewRequest::to("echo").params(nth.to_string()));
        let sent: Vec<_> = (0..MANY).map(send).collect();
        let answered = async || test.stats().await.answered == MANY as u64;
        wait_until("all requests are answered, although no future was polled", answered).await;
        drop(sent);
    });
}

fn all_at_once() {
    with_dispatcher(builder(2).queue_capacity(100), async |test| {
        let requests = (0..MANY).map(|nth| match nth {
            500 => NewRequest::to("fail").params("on purpose"),
            nth => NewRequest::to("echo").params(nth.to_string()),
        });
        let results = test.0.send_all(requests).await.unwrap();
        assert_eq!(results.len(), MANY);
        for (nth, result) in results.into_iter().enumerate() {
            match result {
                Ok(reply) => assert_eq!(reply.value::<String>().unwrap(), nth.to_string()),
                Err(failure) => {
                    assert_eq!((nth, failure.to_string().as_str()), (500, "on purpose"));
                }
            }
        }
    });
}

fn full() {
    with_dispatcher(builder(1).queue_capacity(3), async |test| {
        let go = temp_path("full");
        let dispatcher = &test.0.dispatcher;
        let mut waiting = vec![dispatcher.send(NewRequest::to("until").params(&go))];
        wait_until_busy(&test).await;
        waiting.extend((0..3).map(|_| dispatcher.send(NewRequest::to("until").params(&go))));
        wait_until("the queue is full", async || test.stats().await.queued == 3).await;
        let refused = NewRequest::to("pid").refuse_if_full();
        let refused = test.send(refused).await.unwrap_err();
        assert_eq!(refused, Failure::Rejected(Rejection::QueueFull { limit: 3 }));
        // Further requests wait in the mailbox, however many they are.
        let further = 1000;
        for _nth in 0..further {
            assert!(dispatcher.try_send(NewRequest::to("until").params(&go)).is_ok());
        }
        let last = dispatcher.send(NewRequest::to("pid"));
        touch(&go);
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
        last.await.unwrap().unwrap();
        let stats = test.stats().await;
        assert_eq!(stats.answered, 4 + further + 1, "{stats:?}");
        std::fs::remove_file(go).unwrap();
    });
}

fn cancelled_when_full() {
    with_dispatcher(builder(1).queue_capacity(1), async |test| {
        let cancel = async |token: &CancellationToken, if_running| {
            let cancel = Cancel { token: token.clone(), if_running };
            test.0.cancel.send(cancel).await.unwrap()
        };
        let has_started = async |name| {
            let file = temp_path(name);
            wait_until("the request has started", async || Path::new(&file).exists()).await;
            std::fs::remove_file(file).unwrap();
        };
        // One request runs, one is queued, one waits for queue capacity, and two are in the
        // mailbox.
        let (mut tokens, mut answers) = (Vec::new(), Vec::new());
        for nth in 0..5 {
            let request = NewRequest::to("hang")
                .params((nth < 2).then(|| temp_path(["cancel-0", "cancel-1"][nth])));
            tokens.push(request.cancellation_token());
            answers.push(Box::pin(test.0.dispatcher.send(request)));
            match nth {
                0 => has_started("cancel-0").await,
                1 => {
                    wait_until("the second request is queued", async || {
                        test.stats().await.queued == 1
                    })
                    .await;
                }
                _mailed => {}
            }
        }
        let cancelled = |state| Failure::Cancelled { state };
        for nth in [3, 2] {
            // The request is not in the queue yet, so its state is unknown.
            assert_eq!(cancel(&tokens[nth], IfRunning::LetFinish).await, CancelOutcome::Unknown);
        }
        for nth in [2, 3] {
            let answer = answers[nth].as_mut().await.unwrap();
            assert_eq!(answer.unwrap_err(), cancelled(RequestState::Queued));
        }
        assert_eq!(cancel(&tokens[0], IfRunning::Terminate).await, CancelOutcome::Terminated);
        let answer = answers[0].as_mut().await.unwrap();
        assert_eq!(answer.unwrap_err(), cancelled(RequestState::Running));
        // The second request runs now, so the queue has capacity for the last one.
        wait_until("the last request is queued", async || test.stats().await.queued == 1).await;
        assert_eq!(cancel(&tokens[4], IfRunning::LetFinish).await, CancelOutcome::Dequeued);
        assert_eq!(
            answers[4].as_mut().await.unwrap().unwrap_err(),
            cancelled(RequestState::Queued)
        );
        has_started("cancel-1").await;
        assert_eq!(cancel(&tokens[1], IfRunning::Terminate).await, CancelOutcome::Terminated);
        assert_eq!(cancel(&tokens[1], IfRunning::Terminate).await, CancelOutcome::Unknown);
    });
}

fn on_demand() {
    with_dispatcher(builder(3).pre_fork(1), async |test| {
        let go = temp_path("on_demand");
        let until_go = || test.0.dispatcher.send(NewRequest::to("until").params(&go));
        let running: Vec<_> = (0..8).map(|_| until_go()).collect();
        wait_until("three workers are running", async || test.workers().await.len() == 3).await;
        wait_until("all workers are busy", async || test.stats().await.in_flight == 3).await;
        assert_eq!(test.workers().await.len(), 3);
        touch(&go);
        for answer in running {
            answer.await.unwrap().unwrap();
        }
        test.0.daemon.send(SetSize(Resize::To(2))).await.unwrap().unwrap();
        wait_until("one worker is retired", async || test.workers().await.len() == 2).await;
        std::fs::remove_file(go).unwrap();
    });
}

fn interval() {
    let builder = with_methods().max_forks(3).fork_interval(Duration::from_millis(400));
    with_dispatcher(builder, async |test| {
        let go = temp_path("interval");
        let started = std::time::Instant::now();
        let pending: Vec<_> =
            (0..6).map(|_| test.0.dispatcher.send(NewRequest::to("until").params(&go))).collect();
        wait_until("three workers are running", async || test.workers().await.len() == 3).await;
        assert!(started.elapsed() >= Duration::from_millis(800), "{:?}", started.elapsed());
        touch(&go);
        for answer in pending {
            answer.await.unwrap().unwrap();
        }
        std::fs::remove_file(go).unwrap();
    });
}

fn no_head_of_line_blocking() {
    with_dispatcher(builder(2), async |test| {
        let go = temp_path("holding");
        for _time in 0..50 {
            test.call::<String>("echo", "warm").await.unwrap();
        }
        // The dispatcher now expects `echo` to be short, and sends its tasks to a worker that is
        // still running another task. One long task is among the following requests.
        let mut pending = Vec::new();
        for nth in 0..500 {
            if nth == 200 {
                pending.push((true, test.0.dispatcher.send(NewRequest::to("until").params(&go))));
            }
            pending.push((false, test.0.dispatcher.send(NewRequest::to("echo").params("x"))));
        }
        let mut long = None;
        for (is_long, answer) in pending {
            if is_long {
                long = Some(answer);
            } else {
                answer.await.unwrap().unwrap();
            }
        }
        touch(&go);
        long.unwrap().await.unwrap().unwrap();
        std::fs::remove_file(go).unwrap();
    });
}

fn recycled() {
    with_dispatcher(builder(2).max_requests(10), async |test| {
        let pending: Vec<_> =
            (0..200).map(|_| test.0.dispatcher.send(NewRequest::to("pid"))).collect();
        let mut served = std::collections::HashMap::<u32, u32>::new();
        for answer in pending {
            let pid = answer.await.unwrap().unwrap().value().unwrap();
            *served.entry(pid).or_default() += 1;
        }
        assert!(served.len() >= 20, "{} workers", served.len());
        assert!(served.values().all(|requests| *requests <= 10), "{served:?}");
        assert_eq!(test.stats().await.failed, 0);
    });
}

fn paused() {
    with_dispatcher(recording(100), async |test| {
        test.0.daemon.send(Pause).await.unwrap().unwrap();
        let pending: Vec<_> = (0..5_u32)
            .map(|number| test.0.dispatcher.send(NewRequest::to("note").params(number)))
            .collect();
        wait_until("all requests are queued", async || test.stats().await.queued == 5).await;
        assert!(!test.board().await.0.contains('r'));
        test.0.daemon.send(Resume).await.unwrap().unwrap();
        for answer in pending {
            answer.await.unwrap().unwrap();
        }
    });
}

fn board() {
    with_dispatcher(builder(2), async |test| {
        let go = temp_path("board");
        let running = test.0.dispatcher.send(NewRequest::to("until").params(&go));
        wait_until("the method is shown", async || {
            let (board, labels) = test.board().await;
            board.contains('r') && labels.iter().any(|label| label == "until")
        })
        .await;
        touch(&go);
        running.await.unwrap().unwrap();
        std::fs::remove_file(go).unwrap();
    });
}
