//! Benchmarks of daemons: the memory, the wake-ups, the launch, the replacement of a child, and the
//! rate of requests. Servers that are compared run in alternating rounds.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use bench_server::Measured;
use daemon_core::{MonotonicTime, ScoreboardLine, ScoreboardReader, SlotEntry, Status};
use daemon_forkserver::now;
use daemon_sys::process::Signal;
use daemon_sys::shared;

use crate::duel::{Contestant, compare_alternating};
use crate::running::{Running, ServerProgram, send, wait_until};
use crate::table::{self, Bar, Row, median};
use crate::{clients, proc};

/// The number of children of a small pool.
const CHILDREN: usize = 4;
/// The number of clients of a server whose rate is measured.
const CLIENTS: usize = 16;

/// Measures the memory of a small pool. Pages that its processes share count once.
pub(crate) fn memory(bench: &'static str) -> Measured<Vec<Row>> {
    const SETTLING: Duration = Duration::from_secs(1);
    /// Each child serves some of these requests.
    const REQUESTS: usize = 1000;
    let mut server = Running::start(ServerProgram::Pool, &[&CHILDREN.to_string()])?;
    let address = server.up(CHILDREN + 1)?;
    thread::sleep(SETTLING);
    let idle = mebibytes(&mut server)?;
    for _request in 0..REQUESTS {
        clients::ask(address)?;
    }
    let used = mebibytes(&mut server)?;
    let name = "memory (PSS) of parent, fork server, 4 children, after 1000 requests";
    Ok(vec![
        Row::new(bench, "memory (PSS) of parent, fork server, 4 idle children", "MiB", idle.0)
            .against("Apache", 3.8)
            .bar(Bar::AtMost(4.0))
            .note(idle.1),
        Row::new(bench, name, "MiB", used.0).note(used.1),
    ])
}

/// Returns the total memory in MiB, and a text with the share of each process in KiB.
fn mebibytes(server: &mut Running) -> Measured<(f64, String)> {
    let family = server.family()?;
    let mut total = 0;
    let mut each = Vec::new();
    for pid in [server.pid()].into_iter().chain(family) {
        let share = proc::proportional_memory(pid)?;
        total += share;
        each.push(share.to_string());
    }
    Ok((total as f64 / 1024.0, format!("{} KiB", each.join(" + "))))
}

/// Measures how often the processes of an idle pool wake up.
pub(crate) fn idle(bench: &'static str) -> Measured<Vec<Row>> {
    const IDLE: usize = 100;
    /// How long to wait after the launch, so that start-up work is not counted.
    const SETTLING: Duration = Duration::from_secs(3);
    const TIME: Duration = Duration::from_secs(10);
    let mut server = Running::start(ServerProgram::Pool, &[&IDLE.to_string()])?;
    server.up(IDLE + 1)?;
    thread::sleep(SETTLING);
    let parent = server.pid();
    let family = server.family()?;
    // The fork server has the lowest pid, because it is the first process that the parent forked.
    let fork_server = *family.first().ok_or("cannot find the fork server")?;
    let count = || -> Measured<[f64; 3]> {
        let mut children = 0;
        for pid in family.iter().filter(|pid| **pid != fork_server) {
            children += proc::switches(*pid)?;
        }
        let (parent, fork_server) = (proc::switches(parent)?, proc::switches(fork_server)?);
        Ok([parent, fork_server, children].map(|count| count as f64))
    };
    let before = count()?;
    thread::sleep(TIME);
    let after = count()?;
    let row = |name: &str, who: usize| Row::new(bench, name, "in 10 s", after[who] - before[who]);
    Ok(vec![
        row("wake-ups of the parent of 100 idle children", 0).bar(Bar::AtMost(0.0)),
        row("wake-ups of the fork server of 100 idle children", 1),
        row("wake-ups of 100 idle children, in total", 2),
    ])
}

/// Measures the time from the call of `launch` until the children are ready. The measured daemon
/// takes the time itself, so the time does not include the start of the daemon's program.
pub(crate) fn launch(bench: &'static str) -> Measured<Vec<Row>> {
    const LAUNCHES: usize = 15;
    let ready = |children: u32, bar: f64| -> Measured<Row> {
        let (mut launched, mut up) = (Vec::new(), Vec::new());
        for _launch in 0..LAUNCHES {
            let mut server = Running::start(ServerProgram::Launch, &[&children.to_string()])?;
            launched.push(server.read_value("LAUNCHED")?.parse()?);
            up.push(server.read_value("UP")?.parse()?);
            server.ended()?;
        }
        Ok(Row::median(bench, format!("time until {children} children are ready"), "ms", &up)
            .bar(Bar::AtMost(bar))
            .note(format!("launch returns after {:.1}", median(&launched))))
    };
    Ok(vec![ready(4, 10.0)?, ready(32, 50.0)?])
}

/// Measures the time from SIGKILL of a child until its replacement is ready, according to the
/// scoreboard.
///
/// The scoreboard is a file that this program reads. For each child it contains the time at which
/// the child became ready, so the result does not depend on how often this program reads the file.
pub(crate) fn replacement(bench: &'static str) -> Measured<Vec<Row>> {
    let file = table::directory()?.join(format!("board.{}", std::process::id()));
    let rows = replacement_on(bench, &file);
    // The file does not exist if the server did not start.
    let _ = fs::remove_file(&file);
    rows
}

fn replacement_on(bench: &'static str, file: &Path) -> Measured<Vec<Row>> {
    const KILLS: usize = 40;
    let path = file.display().to_string();
    let mut server = Running::start(ServerProgram::Pool, &[&CHILDREN.to_string(), &path])?;
    let address = server.up(CHILDREN + 1)?;
    let lines: &'static [ScoreboardLine] = shared::open_file(file)?;
    let board = ScoreboardReader::open(lines)?;
    let (mut forked, mut ready) = (Vec::new(), Vec::new());
    for kill in 0..KILLS {
        // Make each child serve a request before one of them is killed, because backoff delays the
        // replacement of a child that ends early without having served a request.
        serve_each(address, board)?;
        server.family()?;
        let (killed, new) = replace(board, kill % CHILDREN)?;
        let since = |time: MonotonicTime| time.saturating_since(killed).as_secs_f64() * 1e3;
        forked.push(since(new.started_at));
        ready.push(since(new.since));
    }
    let name = "time from SIGKILL of a child until its replacement is ready";
    Ok(vec![
        Row::median(bench, name, "ms", &ready)
            .against("nginx", 1.4)
            .bar(Bar::AtMost(2.0))
            .note(format!("forked after {:.2} (median)", median(&forked))),
    ])
}

/// Kills a child. Returns the time of the kill, and the new child.
fn replace(board: ScoreboardReader, which: usize) -> Measured<(MonotonicTime, SlotEntry)> {
    let before = waiting(board);
    let old: BTreeSet<u32> = before.iter().map(|child| child.pid).collect();
    let victim = before.get(which).ok_or("a child is missing")?;
    let killed = now();
    send(victim.pid, Signal::Kill)?;
    let mut new = None;
    wait_until("the killed child is replaced", || {
        new = waiting(board).into_iter().find(|child| !old.contains(&child.pid));
        Ok(new.is_some())
    })?;
    Ok((killed, new.ok_or("the new child was not found")?))
}

fn waiting(board: ScoreboardReader) -> Vec<SlotEntry> {
    let is_waiting =
        |entry: &SlotEntry| matches!(entry.status, Some(Status::Fresh | Status::Waiting));
    board.entries().filter(is_waiting).collect()
}

/// Makes every child serve a request: opens as many connections as there are children, and then
/// sends a line on each connection.
fn serve_each(address: SocketAddr, board: ScoreboardReader) -> Measured<()> {
    let all_wait = || Ok(waiting(board).len() == CHILDREN);
    wait_until("all children wait", all_wait)?;
    let connections: Vec<_> =
        (0..CHILDREN).map(|_child| clients::connect(address)).collect::<Result<_, _>>()?;
    wait_until("all children serve", || Ok(waiting(board).is_empty()))?;
    for connection in connections {
        clients::answer(connection)?;
    }
    wait_until("all children wait", all_wait)
}

/// Measures three servers that fork a child for each connection, with little memory in the parent:
/// a loop that only accepts, forks and echoes (`bare`), the fork server without actix, and the
/// daemon.
pub(crate) fn fork(bench: &'static str) -> Measured<Vec<Row>> {
    let [bare, plain, actix] = forking("0", ServerProgram::Fork)?;
    let function = "processor time per connection, child is a function";
    let system = "processor time per connection, child with a System";
    Ok(vec![
        plain
            .row(bench, "fork per connection, child is a function", &bare)
            .bar(Bar::RatioAtLeast(0.75)),
        actix
            .row(bench, "fork per connection, child with a System", &bare)
            .bar(Bar::RatioAtLeast(0.5)),
        Row::new(bench, function, "us", plain.cost()).against("bare", bare.cost()),
        Row::new(bench, system, "us", actix.cost())
            .against("bare", bare.cost())
            .note(format!("bare: {}", bare.note())),
    ])
}

/// Measures the three servers with a parent that has written to 300 MB of its memory.
pub(crate) fn fork_large(bench: &'static str) -> Measured<Vec<Row>> {
    let [bare, plain, actix] = forking("300", ServerProgram::Large)?;
    Ok(vec![
        plain
            .row(bench, "fork per connection, 300 MB, child is a function", &bare)
            .bar(Bar::RatioAtLeast(20.0)),
        actix.row(bench, "fork per connection, 300 MB, child with a System", &bare),
    ])
}

fn forking(megabytes: &str, daemon: ServerProgram) -> Measured<[Contestant; 3]> {
    let mut contestants = [
        Contestant::start(ServerProgram::Loops, &["bare-fork", megabytes], 0)?,
        Contestant::start(ServerProgram::Loops, &["plain-fork", megabytes], 1)?,
        Contestant::start(daemon, &[megabytes], 1)?,
    ];
    compare_alternating(&mut contestants, CLIENTS)?;
    Ok(contestants)
}

/// Compares a daemon that has a pool of 4 children with `bare`, which is 4 processes without actix
/// that only accept connections and echo a line. Each request has its own connection.
pub(crate) fn pool(bench: &'static str) -> Measured<Vec<Row>> {
    let mut contestants = [
        Contestant::start(ServerProgram::Loops, &["bare-pool", "4"], 4)?,
        Contestant::start(ServerProgram::Pool, &["4"], 5)?,
    ];
    compare_alternating(&mut contestants, CLIENTS)?;
    let [bare, ours] = &contestants;
    Ok(vec![
        ours.row(bench, "pool of 4, throughput", bare).bar(Bar::RatioAtLeast(0.7)),
        Row::new(bench, "pool of 4, processor time per request", "us", ours.cost())
            .against("bare", bare.cost())
            .bar(Bar::RatioAtMost(1.3))
            .note(format!("bare: {}", bare.note())),
    ])
}
