//! The servers that are measured, ours and the bare ones: each a process of this program.

mod bare;
mod daemon;
mod dispatch;
mod echo;
mod launch;
mod plain;
pub(crate) mod reports;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};

use daemon_sys::process::{Pid, Signal, die_with_parent};

use crate::Measured;

/// Becomes the server of this name, until it is told to end.
pub(crate) fn serve(server: &[String]) -> Measured<()> {
    // Whoever measures may be interrupted: nothing is to be left then.
    if let Some(parent) = Pid::of_parent() {
        die_with_parent(Signal::Term, parent)?;
    }
    let server: Vec<&str> = server.iter().map(String::as_str).collect();
    match server.as_slice() {
        ["bare-fork", megabytes] => bare::fork_for_each(megabytes.parse()?),
        ["plain-fork", megabytes] => plain::fork_for_each(megabytes.parse()?),
        ["actix-fork"] => daemon::fork_for_each(),
        ["actix-fork", megabytes] => daemon::fork_from_a_large_parent(megabytes.parse()?),
        ["bare-pool", children] => bare::pool(children.parse()?),
        ["actix-pool", children] => daemon::pool(children.parse()?, None),
        ["actix-pool", children, board] => daemon::pool(children.parse()?, Some(board)),
        ["launch", children] => launch::until_up(children.parse()?),
        ["reports", count] => reports::report(count.parse()?),
        ["dispatch-rate", method, bytes, tasks, outstanding] => {
            dispatch::rate(method, bytes.parse()?, tasks.parse()?, outstanding.parse()?)
        }
        ["dispatch-latency", tasks] => dispatch::latency(tasks.parse()?),
        ["dispatch-kill", times] => dispatch::kill(times.parse()?),
        ["dispatch-hard", times] => dispatch::hard(times.parse()?),
        ["dispatch-queue", tasks] => dispatch::queue(tasks.parse()?),
        ["ping-pong", bytes, trips] => dispatch::ping_pong(bytes.parse()?, trips.parse()?),
        other => Err(format!("there is no server {other:?}").into()),
    }
}

/// A listener on a port of its own, which it tells.
fn listen() -> Measured<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    tell("PORT", listener.local_addr()?.port())?;
    Ok(listener)
}

/// Tells who measures a value.
fn tell(key: &str, value: impl std::fmt::Display) -> Measured<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{key}={value}")?;
    Ok(out.flush()?)
}

/// Memory that this process has written to, for as long as it lives.
fn touch(megabytes: usize) {
    const PAGE: usize = 4096;
    let mut memory = vec![0_u8; megabytes * 1024 * 1024];
    for page in memory.chunks_mut(PAGE) {
        page[0] = 1;
    }
    std::hint::black_box(memory.leak());
}
