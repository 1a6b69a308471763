//! Counts words in worker processes, while other tasks crash and hang.
//!
//!     cargo run --package examples --example dispatch
//!
//! Up to four workers run the tasks. One method counts words, one divides, one hangs and one
//! crashes. The parent prints the result of each request and then stops:
//!
//!     counted: 6 words, in process 4711
//!     divided: 6, computed by a typed task
//!     error: cannot divide by zero
//!     crashed: worker died while running the task: killed by signal ABRT, core dumped
//!     hung: timed out after 200ms (hard limit, the worker was killed)
//!     dead letter: gave up after 3 attempts: the worker died each time, last cause: killed by signal ABRT, core dumped
//!     rejected: unknown method "unheard of"
//!     1000 requests: 1000 values
//!
//! With `--stay` the program runs until it receives SIGTERM. `daemonctl --socket dispatch.sock top`
//! then shows the workers, and the method that each worker runs.

#![expect(clippy::print_stdout, reason = "an example that prints its results")]

use std::error::Error;
use std::time::Duration;

use actix_daemon::{Daemon, DaemonError, Shutdown, StopMode};
use actix_dispatch::{Call, Dispatcher, NewRequest, RunTask, RunningDispatcher, Task};
use serde::{Deserialize, Serialize};

/// A typed task: the compiler checks its parameters and its result.
#[derive(Serialize, Deserialize)]
struct Divide {
    dividend: i64,
    divisor: i64,
}

impl Task for Divide {
    const NAME: &'static str = "divide";
    type Output = i64;
    type Error = &'static str;

    fn run(self, _call: &Call) -> Result<i64, &'static str> {
        self.dividend.checked_div(self.divisor).ok_or("cannot divide by zero")
    }
}

fn main() -> Result<(), DaemonError> {
    let stay = std::env::args().any(|argument| argument == "--stay");
    let mut daemon = Daemon::builder();
    if stay {
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
        .run(move |running| {
            actix_rt::spawn(async move {
                let daemon = running.daemon.clone();
                if let Err(error) = send_requests(running).await {
                    println!("failed: {error}");
                }
                if !stay {
                    daemon.do_send(Shutdown(StopMode::Graceful));
                }
            });
        })
}

async fn send_requests(running: RunningDispatcher) -> Result<(), Box<dyn Error>> {
    let dispatcher = &running.dispatcher;
    let text = "a crash ends only one process";
    let counted = dispatcher.send(NewRequest::to("count").params(text)).await??;
    let (words, process): (usize, u32) = counted.value()?;
    println!("counted: {words} words, in process {process}");

    let divided = dispatcher.send(RunTask::new(Divide { dividend: 42, divisor: 7 })).await??;
    println!("divided: {divided}, computed by a typed task");
    if let Err(error) = dispatcher.send(RunTask::new(Divide { dividend: 42, divisor: 0 })).await? {
        println!("error: {error}");
    }
    if let Err(lost) = dispatcher.send(NewRequest::to("crash")).await? {
        println!("crashed: {lost}");
    }
    let hang = NewRequest::to("hang").hard_limit(Duration::from_millis(200));
    if let Err(late) = dispatcher.send(hang).await? {
        println!("hung: {late}");
    }
    if let Err(dead_letter) = dispatcher.send(NewRequest::to("crash").attempts(3)).await? {
        println!("dead letter: {dead_letter}");
    }
    if let Err(rejected) = dispatcher.send(NewRequest::to("unheard of")).await? {
        println!("{rejected}");
    }
    let thousand = (0..1000).map(|_| NewRequest::to("count").params(text));
    let values = running.send_all(thousand).await?.into_iter().flatten();
    println!("1000 requests: {} values", values.count());
    Ok(())
}
