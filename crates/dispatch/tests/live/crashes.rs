//! Workers that die: in each phase of a task, killed, by themselves, and what is left of it.

use std::time::Duration;

use actix_daemon::{ExitCause, GetStatus};
use actix_dispatch::{Failure, GetDeadLetters, NewRequest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::play::{Notes, Stage, builder, mark, play, until};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_worker_that_dies_in_a_handler_costs_that_task_and_is_replaced", in_the_handler),
    ("a_worker_that_is_killed_while_it_waits_costs_nothing", before_the_frame),
    ("a_worker_that_dies_in_the_middle_of_its_frame_costs_that_task", in_the_frame),
    ("a_worker_that_dies_after_its_answer_costs_nothing", after_the_answer),
    ("a_worker_that_dies_in_a_destructor_after_the_value_costs_that_task", in_the_destructor),
    ("a_cause_of_death_is_told_as_it_was", causes),
    ("what_was_sent_ahead_to_a_worker_that_dies_is_done_by_others", sent_ahead),
    ("a_task_is_tried_again_as_often_as_it_may", retried),
    ("a_task_that_kills_its_workers_is_put_aside_and_told", poison),
    ("the_others_do_not_notice_a_worker_s_death", others),
];

fn pid(worker: u32) -> Pid {
    Pid::from_raw(i32::try_from(worker).unwrap())
}

fn lost(outcome: Result<(), Failure>) -> ExitCause {
    match outcome.unwrap_err() {
        Failure::WorkerLost { cause } => cause,
        other => panic!("it is lost: {other:?}"),
    }
}

async fn is_up(stage: &Stage, workers: usize) {
    until("the workers are there", async || {
        let (board, _labels) = stage.board().await;
        board.chars().filter(|letter| matches!(letter, '.' | 'w')).count() >= workers
    })
    .await;
}

fn in_the_handler() {
    play(builder(1), async |stage| {
        let before: u32 = stage.ask("pid", ()).await.unwrap();
        assert_eq!(lost(stage.ask("exit", 7).await), ExitCause::Exited(7));
        let after: u32 = stage.ask("pid", ()).await.unwrap();
        assert_ne!(before, after);
    });
}

fn before_the_frame() {
    play(builder(2), async |stage| {
        is_up(&stage, 2).await;
        for _time in 0..20 {
            let victim = stage.workers().await[0];
            let _ = kill(pid(victim), Signal::SIGKILL);
            // It is dead, or dying, and nobody has said so yet: what is sent to it was never begun.
            let survivor: u32 = stage.ask("pid", ()).await.unwrap();
            assert_ne!(survivor, victim);
            is_up(&stage, 2).await;
        }
    });
}

/// Writes half a frame to whatever socket the worker has, which is its link, and dies.
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

fn in_the_frame() {
    let builder = builder(1).method("half", |_call, (): ()| {
        write_half_a_frame();
        Ok::<_, String>(())
    });
    play(builder, async |stage| {
        let cause = lost(stage.ask("half", ()).await);
        assert!(matches!(cause, ExitCause::Killed { signal: 6, .. }), "{cause:?}");
        assert_eq!(stage.ask::<String>("echo", "next").await.unwrap(), "next");
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
    play(builder, async |stage| {
        for millis in 0..5 {
            // It has its answer, or was lost to a thread that was quicker: never both, never none.
            let answer = stage.ask::<u32>("later", 20 + millis).await.unwrap();
            until("the worker is gone", async || !stage.workers().await.contains(&answer)).await;
            let next: u32 = stage.ask("pid", ()).await.unwrap();
            assert_ne!(next, answer);
        }
    });
}

/// What aborts when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::process::abort();
    }
}

fn in_the_destructor() {
    let builder = builder(1).method("bomb", |_call, (): ()| {
        let _bomb = Bomb;
        Ok::<_, String>("a value that nobody gets")
    });
    play(builder, async |stage| {
        let cause = lost(stage.ask::<String>("bomb", ()).await.map(drop));
        assert!(matches!(cause, ExitCause::Killed { signal: 6, .. }), "{cause:?}");
        assert_eq!(stage.ask::<String>("echo", "next").await.unwrap(), "next");
    });
}

fn causes() {
    play(builder(1), async |stage| {
        assert_eq!(lost(stage.ask("exit", 0).await), ExitCause::Exited(0));
        assert_eq!(lost(stage.ask("exit", 3).await), ExitCause::Exited(3));
        let aborted = lost(stage.ask("abort", ()).await);
        assert!(matches!(aborted, ExitCause::Killed { signal: 6, .. }), "{aborted:?}");
        let file = std::env::temp_dir().join(format!("dispatch-causes-{}", std::process::id()));
        let file = file.display().to_string();
        let hanging = stage.0.dispatcher.send(NewRequest::to("hang").params(Some(&file)));
        let hanging = actix_rt::spawn(hanging);
        until("it hangs", async || std::path::Path::new(&file).exists()).await;
        let victim = stage.workers().await[0];
        kill(pid(victim), Signal::SIGKILL).unwrap();
        let outcome = hanging.await.unwrap().unwrap();
        assert_eq!(lost(outcome.map(drop)), ExitCause::Killed { signal: 9, core: false });
        std::fs::remove_file(file).unwrap();
    });
}

/// Has a worker know that the method is short, so that tasks are sent ahead.
async fn warm(stage: &Stage) {
    for _time in 0..50 {
        stage.ask::<String>("echo", "warm").await.unwrap();
    }
}

fn sent_ahead() {
    play(builder(1), async |stage| {
        warm(&stage).await;
        let before = stage.tally().await;
        let mut waiting = Vec::new();
        for nth in 0..300 {
            if nth == 100 {
                waiting.push((None, stage.0.dispatcher.send(NewRequest::to("exit").params(1))));
            }
            let word = nth.to_string();
            let request = NewRequest::to("echo").params(&word);
            waiting.push((Some(word), stage.0.dispatcher.send(request)));
        }
        for (word, answer) in waiting {
            let outcome = answer.await.unwrap();
            match word {
                Some(word) => assert_eq!(outcome.unwrap().value::<String>().unwrap(), word),
                None => assert_eq!(lost(outcome.map(drop)), ExitCause::Exited(1)),
            }
        }
        let after = stage.tally().await;
        assert_eq!(after.answered - before.answered, 300);
        assert_eq!(after.failed - before.failed, 1);
    });
}

fn retried() {
    let file = std::env::temp_dir().join(format!("dispatch-retried-{}", std::process::id()));
    let seen = file.display().to_string();
    let builder = builder(1).method("twice", move |call, (): ()| {
        if call.attempt() < 3 {
            mark(&format!("{seen}-{}", call.attempt()));
            daemon_sys::process::exit_now(9);
        }
        Ok::<_, String>(call.attempt())
    });
    let seen = file.display().to_string();
    play(builder, async move |stage| {
        let (own, told) = Notes::start();
        let request = NewRequest::to("twice").attempts(3).upon_result(own.recipient());
        assert_eq!(stage.send(request).await.unwrap().value::<u32>().unwrap(), 3);
        until("it is delivered", async || told.borrow().len() == 1).await;
        assert_eq!(told.borrow()[0].request.attempts(), 3);
        assert_eq!(stage.tally().await.retried, 2);
        for attempt in [1, 2] {
            std::fs::remove_file(format!("{seen}-{attempt}")).unwrap();
        }
    });
}

fn poison() {
    play(builder(2), async |stage| {
        let poison = stage.send(NewRequest::to("exit").params(5).attempts(4)).await;
        let expected = Failure::DeadLettered { attempts: 4, cause: ExitCause::Exited(5) };
        assert_eq!(poison.unwrap_err(), expected);
        let aside = stage.0.dispatcher.send(GetDeadLetters).await.unwrap();
        assert_eq!(aside.len(), 1);
        assert_eq!(aside[0].request.method_name(), "exit");
        assert_eq!(aside[0].request.params::<i32>().unwrap(), 5);
        assert_eq!(aside[0].request.attempts(), 4);
        assert_eq!(stage.ask::<String>("echo", "fine").await.unwrap(), "fine");
    });
}

fn others() {
    play(builder(3), async |stage| {
        is_up(&stage, 3).await;
        let file = std::env::temp_dir().join(format!("dispatch-others-{}", std::process::id()));
        let path = file.display().to_string();
        let [one, two] = [(); 2].map(|()| {
            actix_rt::spawn(stage.0.dispatcher.send(NewRequest::to("until").params(&path)))
        });
        for _time in 0..5 {
            assert!(matches!(lost(stage.ask("abort", ()).await), ExitCause::Killed { .. }));
        }
        mark(&path);
        let mut pids = Vec::new();
        for running in [one, two] {
            pids.push(running.await.unwrap().unwrap().unwrap().value::<u32>().unwrap());
        }
        assert_ne!(pids[0], pids[1]);
        let report = stage.0.daemon.send(GetStatus::Board).await.unwrap();
        let there: Vec<_> = report.children.iter().filter_map(|child| child.pid).collect();
        assert!(pids.iter().all(|pid| there.contains(pid)), "{pids:?} of {there:?}");
        std::fs::remove_file(file).unwrap();
    });
}
