//! Workers that die in each phase of a task.

use std::time::Duration;

use actix_daemon::{ExitCause, GetStatus};
use actix_dispatch::{Failure, GetDeadLetters, NewRequest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fixture::{Collector, TestDispatcher, builder, touch, wait_until, with_dispatcher};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_crash_in_a_handler_loses_only_its_task_and_the_worker_is_replaced", in_the_handler),
    ("killing_an_idle_worker_loses_no_task", idle_worker),
    ("a_crash_while_writing_a_frame_loses_only_the_running_task", while_writing_a_frame),
    ("a_crash_after_the_result_was_sent_loses_no_task", after_the_answer),
    ("a_crash_in_a_destructor_of_a_handler_loses_its_task", in_the_destructor),
    ("the_failure_contains_the_exit_cause_of_the_worker", causes),
    ("tasks_already_sent_to_a_worker_that_dies_are_run_by_another_worker", sent_ahead),
    ("a_task_is_retried_up_to_its_number_of_attempts", retried),
    ("a_task_that_kills_its_workers_becomes_a_dead_letter", poison),
    ("tasks_on_other_workers_survive_the_crash_of_a_worker", others),
];

fn pid(worker: u32) -> Pid {
    Pid::from_raw(i32::try_from(worker).unwrap())
}

fn lost(outcome: Result<(), Failure>) -> ExitCause {
    match outcome.unwrap_err() {
        Failure::WorkerLost { cause } => cause,
        other => panic!("expected WorkerLost: {other:?}"),
    }
}

async fn wait_for_workers(test: &TestDispatcher, workers: usize) {
    wait_until("the workers are ready", async || {
        let (board, _labels) = test.board().await;
        board.chars().filter(|letter| matches!(letter, '.' | 'w')).count() >= workers
    })
    .await;
}

fn in_the_handler() {
    with_dispatcher(builder(1), async |test| {
        let before: u32 = test.call("pid", ()).await.unwrap();
        assert_eq!(lost(test.call("exit", 7).await), ExitCause::Exited(7));
        let after: u32 = test.call("pid", ()).await.unwrap();
        assert_ne!(before, after);
    });
}

fn idle_worker() {
    with_dispatcher(builder(2), async |test| {
        wait_for_workers(&test, 2).await;
        for _time in 0..20 {
            // The next task would go to the worker that ran the last one.
            let victim: u32 = test.call("pid", ()).await.unwrap();
            let _ = kill(pid(victim), Signal::SIGKILL);
            // The worker is dead or dying, and starts no task. The parent may not know yet that the
            // worker was killed.
            let survivor: u32 = test.call("pid", ()).await.unwrap();
            assert_ne!(survivor, victim);
            wait_for_workers(&test, 2).await;
        }
    });
}

/// Writes half a frame to the worker's only socket, its link, and aborts.
fn write_half_a_frame() {
    let half = [200_u8, 0, 0, 0, 2];
    for number in 3..64 {
        let flags = nix::sys::socket::MsgFlags::empty();
        let kind = std::fs::read_link(format!("/proc/self/fd/{number}"));
        if kind.is_ok_and(|kind| kind.to_string_lossy().starts_with("socket:"))
            && nix::sys::socket::send(number, &half, flags).is_ok()
        {
            std::process::abort();
        }
    }
}

fn while_writing_a_frame() {
    let builder = builder(1).method("half", |_call, (): ()| {
        write_half_a_frame();
        Ok::<_, String>(())
    });
    with_dispatcher(builder, async |test| {
        let cause = lost(test.call("half", ()).await);
        assert!(matches!(cause, ExitCause::Killed { signal: 6, .. }), "{cause:?}");
        assert_eq!(test.call::<String>("echo", "next").await.unwrap(), "next");
    });
}

fn after_the_answer() {
    let builder = builder(1).method("later", |_call, millis: u64| {
        let pid = std::process::id();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(millis));
            std::process::abort();
        });
        Ok::<_, String>(pid)
    });
    with_dispatcher(builder, async |test| {
        for millis in 0..5 {
            // The result is already delivered when the worker aborts.
            let answer = test.call::<u32>("later", 20 + millis).await.unwrap();
            wait_until("the worker has exited", async || !test.workers().await.contains(&answer))
                .await;
            let next: u32 = test.call("pid", ()).await.unwrap();
            assert_ne!(next, answer);
        }
    });
}

/// Aborts the process when it is dropped.
struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        std::process::abort();
    }
}

fn in_the_destructor() {
    let builder = builder(1).method("bomb", |_call, (): ()| {
        let _bomb = AbortOnDrop;
        Ok::<_, String>("a value that is never delivered")
    });
    with_dispatcher(builder, async |test| {
        let cause = lost(test.call::<String>("bomb", ()).await.map(drop));
        assert!(matches!(cause, ExitCause::Killed { signal: 6, .. }), "{cause:?}");
        assert_eq!(test.call::<String>("echo", "next").await.unwrap(), "next");
    });
}

fn causes() {
    with_dispatcher(builder(1), async |test| {
        assert_eq!(lost(test.call("exit", 0).await), ExitCause::Exited(0));
        assert_eq!(lost(test.call("exit", 3).await), ExitCause::Exited(3));
        let aborted = lost(test.call("abort", ()).await);
        assert!(matches!(aborted, ExitCause::Killed { signal: 6, .. }), "{aborted:?}");
        let file = std::env::temp_dir().join(format!("dispatch-causes-{}", std::process::id()));
        let file = file.display().to_string();
        let hanging = test.0.dispatcher.send(NewRequest::to("hang").params(Some(&file)));
        let hanging = actix_rt::spawn(hanging);
        wait_until("the task hangs", async || std::path::Path::new(&file).exists()).await;
        let victim = test.workers().await[0];
        kill(pid(victim), Signal::SIGKILL).unwrap();
        let outcome = hanging.await.unwrap().unwrap();
        assert_eq!(lost(outcome.map(drop)), ExitCause::Killed { signal: 9, core: false });
        std::fs::remove_file(file).unwrap();
    });
}

/// Runs `echo` 50 times, so that the dispatcher expects `echo` tasks to be short. The dispatcher
/// then sends such tasks ahead to a worker that is still running another task.
async fn warm(test: &TestDispatcher) {
    for _time in 0..50 {
        test.call::<String>("echo", "warm").await.unwrap();
    }
}

fn sent_ahead() {
    with_dispatcher(builder(1), async |test| {
        warm(&test).await;
        let before = test.stats().await;
        let mut waiting = Vec::new();
        for nth in 0..300 {
            if nth == 100 {
                waiting.push((None, test.0.dispatcher.send(NewRequest::to("exit").params(1))));
            }
            let word = nth.to_string();
            let request = NewRequest::to("echo").params(&word);
            waiting.push((Some(word), test.0.dispatcher.send(request)));
        }
        for (word, answer) in waiting {
            let outcome = answer.await.unwrap();
            match word {
                Some(word) => assert_eq!(outcome.unwrap().value::<String>().unwrap(), word),
                None => assert_eq!(lost(outcome.map(drop)), ExitCause::Exited(1)),
            }
        }
        let after = test.stats().await;
        assert_eq!(after.answered - before.answered, 300);
        assert_eq!(after.failed - before.failed, 1);
    });
}

fn retried() {
    let file = std::env::temp_dir().join(format!("dispatch-retried-{}", std::process::id()));
    let seen = file.display().to_string();
    let builder = builder(1).method("twice", move |call, (): ()| {
        if call.attempt() < 3 {
            touch(&format!("{seen}-{}", call.attempt()));
            daemon_sys::process::exit_now(9);
        }
        Ok::<_, String>(call.attempt())
    });
    let seen = file.display().to_string();
    with_dispatcher(builder, async move |test| {
        let (own, received) = Collector::start();
        let request = NewRequest::to("twice").attempts(3).upon_result(own.recipient());
        assert_eq!(test.send(request).await.unwrap().value::<u32>().unwrap(), 3);
        wait_until("the result is delivered", async || received.borrow().len() == 1).await;
        assert_eq!(received.borrow()[0].request.attempts(), 3);
        assert_eq!(test.stats().await.retried, 2);
        for attempt in [1, 2] {
            std::fs::remove_file(format!("{seen}-{attempt}")).unwrap();
        }
    });
}

fn poison() {
    with_dispatcher(builder(2), async |test| {
        let poison = test.send(NewRequest::to("exit").params(5).attempts(4)).await;
        let expected = Failure::DeadLettered { attempts: 4, cause: ExitCause::Exited(5) };
        assert_eq!(poison.unwrap_err(), expected);
        let dead_letters = test.0.dispatcher.send(GetDeadLetters).await.unwrap();
        assert_eq!(dead_letters.len(), 1);
        assert_eq!(dead_letters[0].request.method_name(), "exit");
        assert_eq!(dead_letters[0].request.params::<i32>().unwrap(), 5);
        assert_eq!(dead_letters[0].request.attempts(), 4);
        assert_eq!(test.call::<String>("echo", "fine").await.unwrap(), "fine");
    });
}

fn others() {
    with_dispatcher(builder(3), async |test| {
        wait_for_workers(&test, 3).await;
        let file = std::env::temp_dir().join(format!("dispatch-others-{}", std::process::id()));
        let path = file.display().to_string();
        let [one, two] = [(); 2].map(|()| {
            actix_rt::spawn(test.0.dispatcher.send(NewRequest::to("until").params(&path)))
        });
        for _time in 0..5 {
            assert!(matches!(lost(test.call("abort", ()).await), ExitCause::Killed { .. }));
        }
        touch(&path);
        let mut pids = Vec::new();
        for running in [one, two] {
            pids.push(running.await.unwrap().unwrap().unwrap().value::<u32>().unwrap());
        }
        assert_ne!(pids[0], pids[1]);
        let report = test.0.daemon.send(GetStatus::Board).await.unwrap();
        let there: Vec<_> = report.children.iter().filter_map(|child| child.pid).collect();
        assert!(pids.iter().all(|pid| there.contains(pid)), "{pids:?} of {there:?}");
        std::fs::remove_file(file).unwrap();
    });
}
