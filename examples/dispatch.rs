//! Counts words in a child process, while others crash, hang and are cancelled.
//!
//!     cargo run --package examples --example dispatch
//!
//! Four workers take the tasks. One method counts words, one divides, one hangs, one crashes; the
//! parent prints what becomes of each request and then stops:
//!
//!     counted: 6 words, in process 4711
//!     divided: 6 by Task, its types known at both ends
//!     error: cannot divide by zero
//!     crashed: lost: its worker is gone: signal 6 (ABRT), core dumped
//!     hung: timed out after 200ms (its worker was killed)
//!     poison: put aside: 3 workers died over it, the last by signal 6 (ABRT), core dumped
//!     rejected: unknown method "unheard of"
//!     1000 more: 1000 values
//!
//! With `--stay` it goes on until it gets TERM; then `daemonctl --socket dispatch.sock top`
//! shows its workers at work, with the method as the label.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::error::Error;
use std::time::Duration;

use actix_daemon::{Daemon, DaemonError, Shutdown, StopMode};
use actix_dispatch::{Call, Dispatcher, NewRequest, RunTask, RunningDispatcher, Task};
use futures::future::join_all;
use serde::{Deserialize, Serialize};

/// A task whose types the compiler knows at both ends.
#[derive(Serialize, Deserialize)]
struct Divide {
    what: i64,
    by: i64,
}

impl Task for Divide {
    const NAME: &'static str = "divide";
    type Output = i64;
    type Error = &'static str;

    fn run(self, _call: &Call) -> Result<i64, &'static str> {
        self.what.checked_div(self.by).ok_or("cannot divide by zero")
    }
}

fn main() -> Result<(), DaemonError> {
    let stays = std::env::args().any(|argument| argument == "--stay");
    let mut daemon = Daemon::builder();
    if stays {
        daemon = daemon.control("dispatch.sock");
    }
    Dispatcher::builder()
        .alias("Counter")
        .daemon(daemon)
        .max_forks(4)
        .pre_fork(2)
        .max_requests(10_000)
        .method("count", |_call, text: String| {
            let words = text.split_whitespace().count();
            Ok::<_, String>((words, std::process::id()))
        })
        .task::<Divide>()
        .method("crash", |_call, (): ()| -> Result<(), String> { std::process::abort() })
        .method("hang", |_call, (): ()| -> Result<(), String> {
            loop {
                std::thread::park();
            }
        })
        .run(move |started| {
            actix_rt::spawn(async move {
                let daemon = started.daemon.clone();
                if let Err(error) = tell(started).await {
                    println!("failed: {error}");
                }
                if !stays {
                    daemon.do_send(Shutdown(StopMode::Graceful));
                }
            });
        })
}

async fn tell(
    RunningDispatcher { dispatcher, .. }: RunningDispatcher,
) -> Result<(), Box<dyn Error>> {
    let text = "what a crash costs one process";
    let counted = dispatcher.send(NewRequest::to("count").params(text)).await??;
    let (words, process): (usize, u32) = counted.value()?;
    println!("counted: {words} words, in process {process}");

    let divided = dispatcher.send(RunTask::new(Divide { what: 42, by: 7 })).await??;
    println!("divided: {divided} by Task, its types known at both ends");
    if let Err(error) = dispatcher.send(RunTask::new(Divide { what: 42, by: 0 })).await? {
        println!("error: {error}");
    }
    if let Err(lost) = dispatcher.send(NewRequest::to("crash")).await? {
        println!("crashed: {lost}");
    }
    let hang = NewRequest::to("hang").hard_limit(Duration::from_millis(200));
    if let Err(late) = dispatcher.send(hang).await? {
        println!("hung: {late}");
    }
    if let Err(aside) = dispatcher.send(NewRequest::to("crash").attempts(3)).await? {
        println!("poison: {aside}");
    }
    if let Err(rejected) = dispatcher.send(NewRequest::to("unheard of")).await? {
        println!("{rejected}");
    }
    let thousand = (0..1000).map(|_| dispatcher.send(NewRequest::to("count").params(text)));
    let values = join_all(thousand).await.into_iter().filter(|done| matches!(done, Ok(Ok(_))));
    println!("1000 more: {} values", values.count());
    Ok(())
}
