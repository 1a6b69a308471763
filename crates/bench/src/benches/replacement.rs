//! Measures the time from SIGKILL of a child until its replacement is ready, according to the
//! scoreboard.
//!
//! The scoreboard is a file that this program reads. For each child it contains the time at which
//! the child became ready, so the result does not depend on how often this program reads the file.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use daemon_core::{ScoreboardLine, ScoreboardReader, SlotEntry, Status};
use daemon_forkserver::now;
use daemon_sys::process::Signal;
use daemon_sys::shared;

use crate::figures::{median, range};
use crate::running::{Running, ServerProgram, send, wait_until};
use crate::table::{self, Bar, Row};
use crate::{Measured, clients};

const CHILDREN: usize = 4;
const KILLS: usize = 40;

pub(crate) fn run(bench: &'static str) -> Measured<Vec<Row>> {
    let file = table::directory()?.join(format!("board.{}", std::process::id()));
    let rows = measure(bench, &file);
    // The file does not exist if the server did not start.
    let _ = fs::remove_file(&file);
    rows
}

fn measure(bench: &'static str, file: &Path) -> Measured<Vec<Row>> {
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
        let times = replace(board, kill % CHILDREN)?;
        forked.push(times.forked);
        ready.push(times.ready);
    }
    let (least, most) = range(&ready);
    let note =
        format!("range {least:.2} to {most:.2}; forked after {:.2} (median)", median(&forked));
    Ok(vec![
        Row::new(
            bench,
            "time from SIGKILL of a child until its replacement is ready",
            "ms",
            median(&ready),
        )
        .against("nginx", 1.4)
        .bar(Bar::AtMost(2.0))
        .note(note),
    ])
}

/// The times of a replacement, in milliseconds after the kill.
struct Times {
    forked: f64,
    ready: f64,
}

fn replace(board: ScoreboardReader, which: usize) -> Measured<Times> {
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
    let new = new.ok_or("the new child was not found")?;
    let since =
        |time: daemon_core::MonotonicTime| time.saturating_since(killed).as_secs_f64() * 1e3;
    Ok(Times { forked: since(new.started_at), ready: since(new.since) })
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
