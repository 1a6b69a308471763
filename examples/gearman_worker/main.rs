//! A Gearman worker.
//!
//! Debian's package gearman-job-server starts a server; `gearman`, a client, is in gearman-tools. Type
//!
//! ```sh
//! cargo run --release --example gearman_worker                # or: -- HOST:PORT
//! ```
//!
//! and in another terminal:
//!
//! ```sh
//! gearman -f reverse hello
//! seq 2000 | gearman -n -f reverse                            # a job a line
//! gearman -f wc < /etc/passwd
//! gearman -f sleep 2000
//! gearman -f fail 'for a reason'
//! ```
//!
//! Ctrl-C and TERM stop it when the job in hand is answered.

use std::error::Error;
use std::os::fd::AsFd;

use daemon_sys::Signal;
use daemon_sys::signals::SignalQueue;

use crate::worker::Worker;

mod functions;
mod protocol;
mod worker;

/// Where Debian's gearmand listens.
const SERVER: &str = "127.0.0.1:4730";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to who starts it")]
fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args().nth(1).unwrap_or_else(|| SERVER.to_owned());
    let stop = SignalQueue::of(&[Signal::Term, Signal::Int])?;
    let id = format!("gearman_worker-{}", std::process::id());
    let worker = Worker::new(&server, &id)?.on_trouble(|trouble| eprintln!("{trouble}"));
    let answered = functions::all(worker)?.run(Some(stop.as_fd()))?;
    println!("jobs answered: {answered}");
    Ok(())
}
