//! A pool whose children misbehave on request, and a babysitter that deals with them.
//!
//! Type
//!
//! ```sh
//! cargo run --release --example babysit -- 7075
//! nc 127.0.0.1 7075
//! ```
//!
//! and one of these words:
//!
//! - `spin` uses processor time without end: INT, TERM and KILL after 2 seconds of it
//! - `sleep` takes longer than its 8 seconds; `more` asks for a minute first
//! - `block` blocks the event loop: no heartbeat, killed after 2 seconds
//! - `leak` takes 100 MB more each time: recycled past 150 MB, killed past 400 MB
//! - anything else comes back
//!
//! The log, `babysit.log` beside the program, tells what was done; `babysit.slow` what was known of
//! each child before it was done, with its own backtrace. `daemonctl --socket babysit.control top`
//! shows it live: `t` traces a child, `K` kills one. Ctrl-C stops it.

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

/// Goes on for ever, and lets the event loop turn now and then.
async fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns + 1);
        if turns.is_multiple_of(1 << 20) {
            tokio::task::yield_now().await;
        }
    }
}
