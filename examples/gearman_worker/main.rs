//! Ten Gearman workers.
//!
//! The worker, in `worker.rs`, knows nothing of pre-forking: it connects to a job server, does one job
//! after another, and leaves between two of them when a descriptor says so. `main` puts ten processes
//! of it to work: one that crashes is replaced, and HUP has all replaced by new ones as they finish
//! the job in hand.
//!
//! Debian's package gearman-job-server starts a server; `gearman`, a client, is in gearman-tools. Type
//!
//! ```sh
//! cargo run --release --example gearman_worker                # or: -- HOST:PORT [WORKERS]
//! ```
//!
//! and in another terminal:
//!
//! ```sh
//! gearman -f reverse hello
//! seq 2000 | gearman -n -f reverse                            # a job a line
//! pkill -HUP -o gearman_worker                                # in the middle of it
//! gearman -f wc < /etc/passwd
//! gearman -f sleep 2000
//! gearman -f fail 'for a reason'
//! ```
//!
//! Ctrl-C and TERM stop it when the jobs in hand are answered. With 0 workers there is no manager: the
//! one worker is this process.

use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd};

use daemon_prefork::SignalForward::ToAll;
use daemon_prefork::{Prefork, Signal};
use daemon_sys::signals::SignalQueue;

use crate::worker::{Address, Worker};

mod functions;
mod protocol;
mod worker;

/// Where Debian's gearmand listens.
const SERVER: &str = "127.0.0.1:4730";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let server: Address = arguments.next().as_deref().unwrap_or(SERVER).parse()?;
    let workers = arguments.next().map_or(Ok(10), |workers| {
        workers.parse().map_err(|why| format!("cannot have {workers:?} workers: {why}"))
    })?;
    if workers == 0 {
        let stop = SignalQueue::new(&[Signal::Term, Signal::Int])?;
        return work(&server, stop.as_fd());
    }
    let leave = ToAll(Signal::Term);
    let mut pm = Prefork::builder()
        .max_workers(workers)
        .trap_signals([Signal::Term, Signal::Int, Signal::Hup].map(|signal| (signal, leave)))
        .build()?;
    while !matches!(pm.signal_received(), Some(Signal::Term | Signal::Int)) {
        pm.start(|worker| work(&server, worker.as_fd()))?;
    }
    pm.wait_all_children()?;
    Ok(())
}

/// Does jobs until `stop` can be read from.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to who starts it")]
fn work(server: &Address, stop: BorrowedFd<'_>) -> Result<(), Box<dyn Error>> {
    let id = format!("gearman_worker-{}", std::process::id());
    let worker = Worker::new(server, &id)?.on_trouble(|trouble| eprintln!("{trouble}"));
    let answered = functions::all(worker)?.run(Some(stop))?;
    println!("jobs answered: {answered}");
    Ok(())
}
