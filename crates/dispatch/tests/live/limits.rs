//! Time limits, and cancellation in each state of a request.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use actix_dispatch::{
    Call, Cancel, CancelOutcome, CancellationToken, Failure, IfRunning, LimitKind, NewRequest,
    RequestState,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fixture::{Collector, TestDispatcher, builder, touch, wait_until, with_dispatcher};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_handler_can_give_up_or_return_a_value_after_its_soft_limit", soft),
    ("an_async_handler_can_wait_for_its_soft_limit", soft_async),
    ("a_hard_limit_kills_the_worker_and_the_next_task_runs", hard),
    ("a_hard_limit_kills_the_processes_that_the_worker_has_started", hard_descendants),
    ("the_hard_limit_is_measured_from_the_start_of_the_task", hard_queued),
    ("another_worker_runs_the_tasks_of_a_worker_stopped_by_sigstop", stopped),
    (
        "the_only_worker_is_replaced_if_sigstop_stops_it_until_the_hard_limit_of_its_task",
        stopped_alone,
    ),
    ("dropping_a_future_cancels_a_queued_request_but_not_a_running_one", dropped),
    ("terminate_if_dropped_kills_the_worker_of_a_running_task", terminated),
    ("a_request_is_cancelled_by_its_id_in_each_state", cancelled),
];

fn temp_path(name: &str) -> String {
    let file = std::env::temp_dir().join(format!("dispatch-{name}-{}", std::process::id()));
    file.display().to_string()
}

fn soft() {
    let builder = builder(1).method("slow", |call: &Call, stubborn: bool| {
        while !call.is_overdue() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if stubborn { Ok("after all") } else { Err("given up") }
    });
    with_dispatcher(builder, async |test| {
        let limit = Duration::from_millis(30);
        let slow = |stubborn: bool| NewRequest::to("slow").params(stubborn).soft_limit(limit);
        let gave_up = test.send(slow(false)).await.unwrap_err();
        assert_eq!(gave_up, Failure::TimedOut { kind: LimitKind::Soft, limit });
        let stubborn = test.send(slow(true)).await.unwrap();
        assert_eq!(stubborn.value::<String>().unwrap(), "after all");
    });
}

fn soft_async() {
    let builder = builder(1).soft_limit(Duration::from_millis(30)).async_method(
        "slow",
        async |call: Call, (): ()| -> Result<(), &str> {
            call.overdue().await;
            Err("given up")
        },
    );
    with_dispatcher(builder, async |test| {
        let gave_up = test.call::<()>("slow", ()).await.unwrap_err();
        assert!(matches!(gave_up, Failure::TimedOut { kind: LimitKind::Soft, .. }), "{gave_up:?}");
        assert_eq!(test.call::<String>("echo", "x").await.unwrap(), "x");
    });
}

fn hard() {
    with_dispatcher(builder(1), async |test| {
        for _time in 0..3 {
            let before: u32 = test.call("pid", ()).await.unwrap();
            let limit = Duration::from_millis(30);
            let hang = NewRequest::to("hang").params(None::<String>).hard_limit(limit);
            let hang = test.0.dispatcher.send(hang);
            let next = test.0.dispatcher.send(NewRequest::to("pid"));
            let failure = hang.await.unwrap().unwrap_err();
            assert_eq!(failure, Failure::TimedOut { kind: LimitKind::Hard, limit });
            let after: u32 = next.await.unwrap().unwrap().value().unwrap();
            assert_ne!(before, after);
        }
    });
}

fn hard_descendants() {
    let file = temp_path("descendant");
    let builder = builder(1).method("start", |_call, file: String| -> Result<(), String> {
        let started = Command::new("sleep").arg("1000").spawn();
        let pid = started.map_err(|error| error.to_string())?.id();
        std::fs::write(file, format!("{pid}\n")).map_err(|error| error.to_string())?;
        loop {
            std::thread::park();
        }
    });
    with_dispatcher(builder, async move |test| {
        // Long enough for the start of the process on a busy machine.
        let limit = Duration::from_secs(3);
        let start = NewRequest::to("start").params(&file).hard_limit(limit);
        let failure = test.send(start).await.unwrap_err();
        assert_eq!(failure, Failure::TimedOut { kind: LimitKind::Hard, limit });
        let written = std::fs::read_to_string(&file).expect("a process was started");
        let descendant = Pid::from_raw(written.trim_end().parse().unwrap());
        wait_until("the process is gone", async || kill(descendant, None).is_err()).await;
        pid(&test).await;
        std::fs::remove_file(file).unwrap();
    });
}

fn hard_queued() {
    with_dispatcher(builder(1), async |test| {
        // The second request waits while the first runs. The waiting time does not count.
        let slow = test.0.dispatcher.send(NewRequest::to("sleep").params(300_u64));
        let limit = Duration::from_secs(20);
        let quick = NewRequest::to("echo").params("x").hard_limit(limit);
        let quick = test.0.dispatcher.send(quick);
        slow.await.unwrap().unwrap();
        quick.await.unwrap().unwrap();
    });
}

fn signal(worker: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(worker).unwrap()), signal).unwrap();
}

fn stopped() {
    with_dispatcher(builder(2), async |test| {
        wait_until("both workers are ready", async || test.workers().await.len() == 2).await;
        let stopped: u32 = test.call("pid", ()).await.unwrap();
        signal(stopped, Signal::SIGSTOP);
        for _time in 0..3 {
            let other: u32 = test.call("pid", ()).await.unwrap();
            assert_ne!(stopped, other);
        }
        signal(stopped, Signal::SIGCONT);
    });
}

fn stopped_alone() {
    with_dispatcher(builder(1), async |test| {
        let stopped: u32 = test.call("pid", ()).await.unwrap();
        signal(stopped, Signal::SIGSTOP);
        let limited = NewRequest::to("pid").hard_limit(Duration::from_millis(30));
        let other: u32 = test.send(limited).await.unwrap().value().unwrap();
        assert_ne!(stopped, other);
    });
}

async fn wait_for_file(file: &str) {
    wait_until("the task has started", async || Path::new(file).exists()).await;
}

/// Returns the pid of the only worker.
async fn pid(test: &TestDispatcher) -> u32 {
    test.call("pid", ()).await.unwrap()
}

fn dropped() {
    let (started, go) = (temp_path("started"), temp_path("go"));
    let (seen, wait) = (started.clone(), go.clone());
    let builder = builder(1).method("begin", move |_call, (): ()| {
        touch(&seen);
        while !Path::new(&wait).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok::<_, String>(())
    });
    with_dispatcher(builder, async move |test| {
        let before = pid(&test).await;
        let running = test.0.dispatcher.send(NewRequest::to("begin"));
        let queued = test.0.dispatcher.send(NewRequest::to("exit").params(1));
        wait_for_file(&started).await;
        drop((running, queued));
        wait_until("the queued request is cancelled", async || test.stats().await.failed == 1)
            .await;
        touch(&go);
        assert_eq!(
            pid(&test).await,
            before,
            "the running task continues, the queued one never starts"
        );
        assert_eq!(test.stats().await.answered, 3);
        [started, go].iter().for_each(|file| std::fs::remove_file(file).unwrap());
    });
}

fn terminated() {
    let started = temp_path("terminated");
    with_dispatcher(builder(1), async move |test| {
        let before = pid(&test).await;
        let hang = NewRequest::to("hang").params(Some(&started)).terminate_if_dropped();
        let hang = test.0.dispatcher.send(hang);
        wait_for_file(&started).await;
        drop(hang);
        assert_ne!(pid(&test).await, before);
        std::fs::remove_file(started).unwrap();
    });
}

fn cancelled() {
    let started = temp_path("cancelled");
    with_dispatcher(builder(1), async move |test| {
        let before = pid(&test).await;
        let (own, received) = Collector::start();
        let hang = NewRequest::to("hang").params(Some(&started)).upon_result(own.recipient());
        let running = hang.cancellation_token();
        test.0.dispatcher.do_send(hang);
        let echo = NewRequest::to("echo").params("x");
        let queued = echo.cancellation_token();
        let echo = test.0.dispatcher.send(echo);
        wait_for_file(&started).await;
        let cancel = async |token: &CancellationToken, if_running| {
            let cancel = Cancel { token: token.clone(), if_running };
            test.0.cancel.send(cancel).await.unwrap()
        };
        assert_eq!(cancel(&queued, IfRunning::LetFinish).await, CancelOutcome::Dequeued);
        let failure = echo.await.unwrap().unwrap_err();
        assert_eq!(failure, Failure::Cancelled { state: RequestState::Queued });
        assert_eq!(cancel(&queued, IfRunning::LetFinish).await, CancelOutcome::Unknown);
        assert_eq!(cancel(&running, IfRunning::LetFinish).await, CancelOutcome::StillRunning);
        assert_eq!(cancel(&running, IfRunning::Terminate).await, CancelOutcome::Terminated);
        wait_until("the result is delivered", async || !received.borrow().is_empty()).await;
        let outcome = received.borrow_mut().remove(0).outcome;
        assert_eq!(outcome.unwrap_err(), Failure::Cancelled { state: RequestState::Running });
        assert_ne!(pid(&test).await, before);
        std::fs::remove_file(started).unwrap();
    });
}
