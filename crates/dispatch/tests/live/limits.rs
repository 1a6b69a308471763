//! Limits of time, and cancellation, in each state.

use std::path::Path;
use std::time::Duration;

use actix_dispatch::{
    Call, Cancel, CancelOutcome, Failure, IfRunning, LimitKind, NewRequest, RequestState,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::play::{Notes, Stage, builder, mark, play, until};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_handler_is_told_that_it_takes_too_long_and_may_give_up_or_not", soft),
    ("an_async_handler_waits_for_its_limit", soft_async),
    ("a_hard_limit_kills_the_worker_and_the_next_task_runs", hard),
    ("the_hard_limit_runs_from_when_the_task_is_begun", hard_queued),
    ("a_stopped_worker_holds_up_no_request", stopped),
    ("a_stopped_worker_that_is_alone_is_replaced_for_a_request_with_a_hard_limit", stopped_alone),
    ("dropping_a_future_cancels_what_is_queued_and_not_what_runs", dropped),
    ("a_running_task_is_terminated_when_its_future_is_dropped_if_so_asked", terminated),
    ("a_task_is_cancelled_by_its_number_in_each_state", cancelled),
];

fn place(name: &str) -> String {
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
    play(builder, async |stage| {
        let limit = Duration::from_millis(30);
        let slow = |stubborn: bool| NewRequest::to("slow").params(stubborn).soft_limit(limit);
        let gave_up = stage.send(slow(false)).await.unwrap_err();
        assert_eq!(gave_up, Failure::TimedOut { kind: LimitKind::Soft, limit });
        let stubborn = stage.send(slow(true)).await.unwrap();
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
    play(builder, async |stage| {
        let gave_up = stage.ask::<()>("slow", ()).await.unwrap_err();
        assert!(matches!(gave_up, Failure::TimedOut { kind: LimitKind::Soft, .. }), "{gave_up:?}");
        assert_eq!(stage.ask::<String>("echo", "x").await.unwrap(), "x");
    });
}

fn hard() {
    play(builder(1), async |stage| {
        for _time in 0..3 {
            let before: u32 = stage.ask("pid", ()).await.unwrap();
            let limit = Duration::from_millis(30);
            let hang = NewRequest::to("hang").params(None::<String>).hard_limit(limit);
            let hang = stage.0.dispatcher.send(hang);
            let next = stage.0.dispatcher.send(NewRequest::to("pid"));
            let failure = hang.await.unwrap().unwrap_err();
            assert_eq!(failure, Failure::TimedOut { kind: LimitKind::Hard, limit });
            let after: u32 = next.await.unwrap().unwrap().value().unwrap();
            assert_ne!(before, after);
        }
    });
}

fn hard_queued() {
    play(builder(1), async |stage| {
        // It waits longer than it may take.
        let slow = stage.0.dispatcher.send(NewRequest::to("sleep").params(300_u64));
        let limit = Duration::from_secs(20);
        let quick = NewRequest::to("echo").params("x").hard_limit(limit);
        let quick = stage.0.dispatcher.send(quick);
        slow.await.unwrap().unwrap();
        quick.await.unwrap().unwrap();
    });
}

fn signal(worker: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(worker).unwrap()), signal).unwrap();
}

fn stopped() {
    play(builder(2), async |stage| {
        until("both are there", async || stage.workers().await.len() == 2).await;
        let stopped: u32 = stage.ask("pid", ()).await.unwrap();
        signal(stopped, Signal::SIGSTOP);
        for _time in 0..3 {
            let other: u32 = stage.ask("pid", ()).await.unwrap();
            assert_ne!(stopped, other);
        }
        signal(stopped, Signal::SIGCONT);
    });
}

fn stopped_alone() {
    play(builder(1), async |stage| {
        let stopped: u32 = stage.ask("pid", ()).await.unwrap();
        signal(stopped, Signal::SIGSTOP);
        let limited = NewRequest::to("pid").hard_limit(Duration::from_millis(30));
        let other: u32 = stage.send(limited).await.unwrap().value().unwrap();
        assert_ne!(stopped, other);
    });
}

async fn is_there(file: &str) {
    until("the task has begun", async || Path::new(file).exists()).await;
}

/// Whether the one worker is still the same after what was done.
async fn pid(stage: &Stage) -> u32 {
    stage.ask("pid", ()).await.unwrap()
}

fn dropped() {
    let (begun, go) = (place("begun"), place("go"));
    let (seen, wait) = (begun.clone(), go.clone());
    let builder = builder(1).method("begin", move |_call, (): ()| {
        mark(&seen);
        while !Path::new(&wait).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok::<_, String>(())
    });
    play(builder, async move |stage| {
        let before = pid(&stage).await;
        let running = stage.0.dispatcher.send(NewRequest::to("begin"));
        let queued = stage.0.dispatcher.send(NewRequest::to("exit").params(1));
        is_there(&begun).await;
        drop((running, queued));
        until("it is cancelled", async || stage.tally().await.failed == 1).await;
        mark(&go);
        assert_eq!(pid(&stage).await, before, "what runs runs on, what waited is not begun");
        assert_eq!(stage.tally().await.answered, 3);
        [begun, go].iter().for_each(|file| std::fs::remove_file(file).unwrap());
    });
}

fn terminated() {
    let begun = place("terminated");
    play(builder(1), async move |stage| {
        let before = pid(&stage).await;
        let hang = NewRequest::to("hang").params(Some(&begun)).terminate_if_dropped();
        let hang = stage.0.dispatcher.send(hang);
        is_there(&begun).await;
        drop(hang);
        assert_ne!(pid(&stage).await, before);
        std::fs::remove_file(begun).unwrap();
    });
}

fn cancelled() {
    let begun = place("cancelled");
    play(builder(1), async move |stage| {
        let before = pid(&stage).await;
        let (own, told) = Notes::start();
        let hang = NewRequest::to("hang").params(Some(&begun)).upon_result(own.recipient());
        let running = hang.id();
        stage.0.dispatcher.do_send(hang);
        let echo = NewRequest::to("echo").params("x");
        let queued = echo.id();
        let echo = stage.0.dispatcher.send(echo);
        is_there(&begun).await;
        let cancel =
            async |id, if_running| stage.0.cancel.send(Cancel { id, if_running }).await.unwrap();
        assert_eq!(cancel(queued, IfRunning::LetFinish).await, CancelOutcome::Dequeued);
        let failure = echo.await.unwrap().unwrap_err();
        assert_eq!(failure, Failure::Cancelled { state: RequestState::Queued });
        assert_eq!(cancel(queued, IfRunning::LetFinish).await, CancelOutcome::Unknown);
        assert_eq!(cancel(running, IfRunning::LetFinish).await, CancelOutcome::StillRunning);
        assert_eq!(cancel(running, IfRunning::Terminate).await, CancelOutcome::Terminated);
        until("it is told", async || !told.borrow().is_empty()).await;
        let outcome = told.borrow_mut().remove(0).outcome;
        assert_eq!(outcome.unwrap_err(), Failure::Cancelled { state: RequestState::Running });
        assert_ne!(pid(&stage).await, before);
        std::fs::remove_file(begun).unwrap();
    });
}
