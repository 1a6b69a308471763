//! A pool whose children misbehave on request, and a babysitter that stops them.
//!
//! Type
//!
//! ```sh
//! cargo run --release --example babysit -- 7075
//! nc 127.0.0.1 7075     # in another terminal
//! ```
//!
//! and one of these words:
//!
//! - `spin` starts an endless loop. After 2 seconds of processor time the child gets INT, TERM and
//!   KILL.
//! - `sleep` exceeds the request timeout of 8 seconds. If `more` is typed before
//!   `sleep`, the request may take one minute from then on, and the child is not stopped.
//! - `block` blocks the event loop. The child is killed after 2 seconds without a heartbeat.
//! - `leak` allocates 100 MB each time. The child is recycled above 150 MB and killed above 400 MB.
//! - Any other word is only echoed.
//!
//! `babysit.log` beside the program lists the steps that were taken. `babysit.slow` contains
//! evidence, usually with a backtrace. Evidence is collected about each rogue before the first
//! step, and about each request that takes longer than a second.
//! `daemonctl --socket target/release/examples/babysit.control top` shows the pool live: `t` traces
//! a child, and `K` kills a child. Ctrl-C stops the daemon.

use std::hint::black_box;
use std::net::TcpStream;
use std::time::Duration;

use actix_daemon::{Babysit, ChildHandle, Connection, Daemon, PreFork};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const SECOND: Duration = Duration::from_secs(1);
const MEGABYTES: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = examples::listen()?;
    let log = examples::logfile("babysit")?;
    Daemon::builder()
        .alias("babysit")
        .model(PreFork::new(2).max_children(8))
        .babysit(
            Babysit::new(SECOND / 2)
                .cpu(2 * SECOND)
                .request_timeout(8 * SECOND)
                .heartbeat_timeout(2 * SECOND)
                .soft_memory(150 * MEGABYTES)
                .hard_memory(400 * MEGABYTES)
                .slowlog(log.with_extension("slow"))
                .slowlog_after(SECOND),
        )
        .control(log.with_extension("control"))
        .logfile(log)
        .serve(listener, converse)?;
    Ok(())
}

async fn converse(stream: Connection<TcpStream>, child: ChildHandle) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let word = line.trim();
        child.label(word);
        match word {
            "spin" => spin().await,
            "sleep" => tokio::time::sleep(20 * SECOND).await,
            "more" => child.extend(60 * SECOND),
            "block" => std::thread::sleep(1000 * SECOND),
            "leak" => std::mem::forget(black_box(vec![1_u8; 100 << 20])),
            _ => {}
        }
        stream.write_all(line.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

/// Never returns, but yields to the event loop from time to time.
async fn spin() {
    let mut iterations = 0_u64;
    loop {
        iterations = black_box(iterations + 1);
        if iterations.is_multiple_of(1 << 20) {
            tokio::task::yield_now().await;
        }
    }
}
