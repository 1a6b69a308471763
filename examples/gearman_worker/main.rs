//! Runs ten Gearman workers.
//!
//! The worker in `worker.rs` does not depend on `daemon-prefork`. It connects to a job server, runs
//! one job after another, and stops between two jobs when a descriptor becomes readable. `main`
//! runs this worker in ten processes. A process that crashes is replaced. HUP replaces all
//! processes, each after its current job.
//!
//! Debian's package gearman-job-server starts a server; the client `gearman` is in gearman-tools.
//! Run
//!
//! ```sh
//! cargo run --release --example gearman_worker                # or: -- HOST:PORT [WORKERS]
//! ```
//!
//! and in another terminal:
//!
//! ```sh
//! gearman -f reverse hello
//! seq 2000 | gearman -n -f reverse                            # one job per line
//! pkill -HUP -o gearman_worker                                # during the 2000 jobs
//! gearman -f wc < /etc/passwd
//! gearman -f sleep 2000
//! gearman -f fail 'for a reason'
//! ```
//!
//! Ctrl-C and TERM stop the program after the current jobs are answered. With 0 workers there is no
//! manager, and the program itself is the only worker.

use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd};

use daemon_prefork::SignalForward::ToAll;
use daemon_prefork::{Prefork, Signal};
use daemon_sys::signals::SignalQueue;

use crate::worker::{GearmanWorker, ServerAddress};

mod functions;
mod protocol;
mod worker;

/// The address on which Debian's gearmand listens.
const SERVER: &str = "127.0.0.1:4730";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let server: ServerAddress = arguments.next().as_deref().unwrap_or(SERVER).parse()?;
    let workers = arguments.next().map_or(Ok(10), |workers| {
        workers.parse().map_err(|error| format!("invalid number of workers {workers:?}: {error}"))
    })?;
    if workers == 0 {
        let stop = SignalQueue::new(&[Signal::Term, Signal::Int])?;
        return work(&server, stop.as_fd());
    }
    let stop = ToAll(Signal::Term);
    let mut pm = Prefork::builder()
        .max_workers(workers)
        .trap_signals([Signal::Term, Signal::Int, Signal::Hup].map(|signal| (signal, stop)))
        .build()?;
    while !matches!(pm.signal_received(), Some(Signal::Term | Signal::Int)) {
        pm.start(|worker| work(&server, worker.as_fd()))?;
    }
    pm.wait_all_children()?;
    Ok(())
}

/// Runs jobs until `stop` is readable.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it reports to its user")]
fn work(server: &ServerAddress, stop: BorrowedFd<'_>) -> Result<(), Box<dyn Error>> {
    let id = format!("gearman_worker-{}", std::process::id());
    let worker = GearmanWorker::new(server, &id)?.on_problem(|problem| eprintln!("{problem}"));
    let answer_counts = functions::all(worker)?.run(Some(stop))?;
    println!("jobs answered: {answer_counts}");
    Ok(())
}
