//! The measured servers that run in this program: the dispatcher, a ping-pong over a socketpair,
//! with which the dispatcher is compared, and those of other modules.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_daemon::{Shutdown, StopMode};
use actix_dispatch::{
    Bytes, Dispatcher, DispatcherBuilder, Failure, NewRequest, RunningDispatcher,
};
use bench_server::{Measured, die_with_benchmark, print};
use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::process::{Signal, exit_now};
use daemon_sys::reap::wait_for;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::benches::report;
use crate::placement::Placement;
use crate::table::median;
use crate::{peers, proc};

const WORKERS: u32 = 4;
/// The number of tasks that run before the measurement starts.
const WARM_UP: usize = 2000;

/// Runs the server with this name and these arguments until it has finished or is stopped.
pub(crate) fn serve(server: &[String]) -> Measured<()> {
    die_with_benchmark()?;
    let server: Vec<&str> = server.iter().map(String::as_str).collect();
    match server.as_slice() {
        ["parallel-prefork", workers] => peers::parallel_prefork(workers),
        ["reports", count] => report::report(count.parse()?),
        ["dispatch-rate", method, bytes, tasks, outstanding] => {
            rate(method, bytes.parse()?, tasks.parse()?, outstanding.parse()?)
        }
        ["dispatch-latency", tasks, placement] => {
            latency(tasks.parse()?, Placement::named(placement)?)
        }
        ["dispatch-kill", times] => kill(times.parse()?),
        ["dispatch-hard", times] => hard(times.parse()?),
        ["dispatch-queue", tasks] => queue(tasks.parse()?),
        ["dispatch-many", tasks] => at_once(tasks.parse()?),
        ["ping-pong", bytes, trips] => ping_pong(bytes.parse()?, trips.parse()?, None),
        ["ping-pong", bytes, trips, placement] => {
            let placement = Placement::named(placement)?;
            ping_pong(bytes.parse()?, trips.parse()?, Some(placement))
        }
        other => Err(format!("no server {other:?}").into()),
    }
}

fn builder() -> DispatcherBuilder {
    Dispatcher::builder()
        .max_forks(WORKERS)
        .pre_fork(WORKERS)
        .queue_capacity(2_000_000)
        .method("nop", |_call, _bytes: Bytes| Ok::<_, String>(()))
        .method("echo", |_call, bytes: Bytes| Ok::<_, String>(bytes))
        .method("hang", |_call, (): ()| -> Result<(), String> {
            loop {
                std::thread::park();
            }
        })
        .method("pid", |_call, (): ()| Ok::<_, String>(std::process::id()))
}

/// Runs a measurement with a new dispatcher.
fn measure(act: impl AsyncFnOnce(&RunningDispatcher) -> Measured<()> + 'static) -> Measured<()> {
    let result = Rc::new(RefCell::new(Err("the measurement did not end".into())));
    let note = Rc::clone(&result);
    builder().run(move |started| {
        actix_rt::spawn(async move {
            *note.borrow_mut() = act(&started).await;
            started.daemon.do_send(Shutdown(StopMode::Immediate));
        });
    })?;
    result.replace(Ok(()))
}

async fn many(
    started: &RunningDispatcher,
    method: &'static str,
    bytes: usize,
    tasks: usize,
    outstanding: usize,
) -> Measured<Duration> {
    let payload = Bytes::from(vec![7; bytes]);
    let begun = Instant::now();
    let mut waiting = FuturesUnordered::new();
    let ask = || started.dispatcher.send(NewRequest::to(method).params(&payload));
    let mut sent = 0;
    while sent < tasks.min(outstanding) {
        waiting.push(ask());
        sent += 1;
    }
    while let Some(answer) = waiting.next().await {
        answer??;
        if sent < tasks {
            waiting.push(ask());
            sent += 1;
        }
    }
    Ok(begun.elapsed())
}

/// Sends this many no-op tasks at once. Prints the tasks per second of each of three rounds.
fn at_once(tasks: usize) -> Measured<()> {
    measure(async move |started| {
        many(started, "nop", 64, WARM_UP, 1000).await?;
        for _round in 0..3 {
            let begun = Instant::now();
            let payload = Bytes::from(vec![7; 64]);
            let requests = (0..tasks).map(|_task| NewRequest::to("nop").params(&payload));
            for result in started.send_all(requests).await? {
                result?;
            }
            print("RATE", tasks as f64 / begun.elapsed().as_secs_f64())?;
        }
        print("RATE", "end")
    })
}

/// Runs three rounds of `tasks` tasks with payloads of `bytes` bytes. At most `outstanding` tasks
/// are outstanding at a time. Prints the tasks per second of each round.
fn rate(method: &str, bytes: usize, tasks: usize, outstanding: usize) -> Measured<()> {
    let method = if method == "echo" { "echo" } else { "nop" };
    measure(async move |started| {
        many(started, method, bytes, WARM_UP.min(tasks), outstanding).await?;
        for _round in 0..3 {
            let time = many(started, method, bytes, tasks, outstanding).await?;
            print("RATE", tasks as f64 / time.as_secs_f64())?;
        }
        print("RATE", "end")
    })
}

/// Runs one task at a time with this placement of parent and workers, and prints the median latency
/// in microseconds.
fn latency(tasks: usize, placement: Placement) -> Measured<()> {
    measure(async move |started| {
        many(started, "nop", 64, 100, 8).await?;
        let report = started.daemon.send(actix_daemon::GetStatus::Board).await?;
        let workers: Vec<u32> = report.children.iter().filter_map(|child| child.pid).collect();
        placement.take(&workers)?;
        let payload = Bytes::from(vec![7; 64]);
        let mut times = Vec::new();
        for nth in 0..tasks + WARM_UP {
            let begun = Instant::now();
            started.dispatcher.send(NewRequest::to("echo").params(&payload)).await??;
            if nth >= WARM_UP {
                times.push(begun.elapsed().as_secs_f64() * 1e6);
            }
        }
        print("LATENCY", median(&times))
    })
}

/// Queues this many requests while the daemon is paused. Prints how many bytes of the parent's
/// memory each queued request takes. Then resumes the daemon and prints the requests per second.
fn queue(tasks: usize) -> Measured<()> {
    measure(async move |started| {
        many(started, "nop", 64, 100_000, 1000).await?;
        let pid = std::process::id();
        let before = proc::proportional_memory(pid)?;
        let payload = Bytes::from(vec![7; 64]);
        started.daemon.send(actix_daemon::Pause).await??;
        let dispatcher = &started.dispatcher;
        let mut waiting = FuturesUnordered::new();
        while waiting.len() < tasks {
            // Fill the mailbox, then let the dispatcher empty it.
            let more = (tasks - waiting.len()).min(200);
            waiting.extend(
                (0..more).map(|_task| dispatcher.send(NewRequest::to("nop").params(&payload))),
            );
            dispatcher.send(actix_dispatch::GetStats).await?;
        }
        let kept = proc::proportional_memory(pid)?.saturating_sub(before);
        let each = kept as f64 * 1024.0 / tasks as f64;
        print("EACH", each)?;
        let begun = Instant::now();
        started.daemon.send(actix_daemon::Resume).await??;
        // Without `unconstrained`, the runtime's cooperative budget would make the runtime poll a
        // million futures again and again.
        tokio::task::unconstrained(async {
            while let Some(answer) = waiting.next().await {
                answer??;
            }
            Measured::Ok(())
        })
        .await?;
        print("RATE", tasks as f64 / begun.elapsed().as_secs_f64())
    })
}

/// Kills a worker during a task, and prints the milliseconds until the task's caller is notified.
fn kill(times: usize) -> Measured<()> {
    measure(async move |started| {
        for _time in 0..times {
            // Run tasks, so that no backoff delays the fork of a worker: backoff applies only to
            // workers that end before they have run a task.
            many(started, "nop", 64, 100, 8).await?;
            let mut hanging = Box::pin(started.dispatcher.send(NewRequest::to("hang")));
            let victim = loop {
                let report = started.daemon.send(actix_daemon::GetStatus::Board).await?;
                let hangs = |child: &&actix_daemon::ChildReport| {
                    child.label.as_deref() == Some("hang") && child.letter == 'r'
                };
                if let Some(pid) = report.children.iter().find(hangs).and_then(|child| child.pid) {
                    break pid;
                }
                if futures::poll!(hanging.as_mut()).is_ready() {
                    return Err("the task ended before its worker was killed".into());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            let begun = Instant::now();
            crate::running::send(victim, Signal::Kill)?;
            match hanging.await? {
                Err(Failure::WorkerLost { .. }) => {
                    print("NOTIFIED", begun.elapsed().as_secs_f64() * 1e3)?;
                }
                other => return Err(format!("the task was not lost: {other:?}").into()),
            }
        }
        print("NOTIFIED", "end")
    })
}

/// Runs, on the only worker, a task that exceeds its hard time limit of 50 ms. Prints the
/// milliseconds from the end of these 50 ms until the next task is done.
fn hard(times: usize) -> Measured<()> {
    const LIMIT: Duration = Duration::from_millis(50);
    measure(async move |started| {
        started.daemon.send(actix_daemon::SetSize(actix_daemon::Resize::To(1))).await??;
        for _time in 0..times {
            many(started, "nop", 64, 100, 1).await?;
            let hang = NewRequest::to("hang").hard_limit(LIMIT);
            let begun = Instant::now();
            let hanging = started.dispatcher.send(hang);
            let next = started.dispatcher.send(NewRequest::to("pid"));
            let (hanging, next) = futures::join!(hanging, next);
            if !matches!(hanging?, Err(Failure::TimedOut { .. })) {
                return Err("the task did not time out at its hard limit".into());
            }
            next??;
            print("NEXT", (begun.elapsed() - LIMIT).as_secs_f64() * 1e3)?;
        }
        print("NEXT", "end")
    })
}

/// Makes this many round trips with this many bytes between two processes, over a socketpair.
/// Prints the trips per second, and the median duration of a trip in microseconds.
fn ping_pong(bytes: usize, trips: usize, placement: Option<Placement>) -> Measured<()> {
    let (mut near, mut far) = UnixStream::pair()?;
    let mut buffer = vec![7; bytes];
    match fork()? {
        ForkResult::Child => {
            drop(near);
            while far.read_exact(&mut buffer).is_ok() && far.write_all(&buffer).is_ok() {}
            exit_now(0)
        }
        ForkResult::Parent(child) => {
            drop(far);
            if let Some(placement) = placement {
                placement.take(&[u32::try_from(child.as_raw())?])?;
            }
            let mut times = Vec::new();
            let begun = Instant::now();
            for _trip in 0..trips {
                let one = Instant::now();
                near.write_all(&buffer)?;
                near.read_exact(&mut buffer)?;
                times.push(one.elapsed().as_secs_f64() * 1e6);
            }
            let rate = trips as f64 / begun.elapsed().as_secs_f64();
            drop(near);
            wait_for(child)?;
            print("RATE", rate)?;
            print("LATENCY", median(&times))
        }
    }
}
