//! Measures three servers that fork a child for each connection: a loop that only accepts, forks
//! and echoes (`bare`), the fork server without actix (`plain`), and the daemon (`actix`). Their
//! rounds alternate.

use crate::Measured;
use crate::duel::{Contestant, compare_alternating};
use crate::running::ServerProgram;
use crate::table::{Bar, Row};

const CLIENTS: usize = 16;

/// Measures the three servers with little memory in the parent.
pub(crate) fn small(bench: &'static str) -> Measured<Vec<Row>> {
    let mut contestants = [
        Contestant::start_contestant(ServerProgram::Loops, &["bare-fork", "0"], 0)?,
        Contestant::start_contestant(ServerProgram::Loops, &["plain-fork", "0"], 1)?,
        Contestant::start_contestant(ServerProgram::Fork, &[], 1)?,
    ];
    compare_alternating(&mut contestants, CLIENTS)?;
    let [bare, plain, actix] = &contestants;
    Ok(vec![
        Row::new(bench, "fork per connection, child is a function", "/s", plain.rate())
            .against("bare", bare.rate())
            .bar(Bar::RatioAtLeast(0.75))
            .failed(plain.failed())
            .note(plain.note()),
        Row::new(bench, "fork per connection, child with a System", "/s", actix.rate())
            .against("bare", bare.rate())
            .bar(Bar::RatioAtLeast(0.5))
            .failed(actix.failed())
            .note(actix.note()),
        Row::new(bench, "processor time per connection, child is a function", "us", plain.cost())
            .against("bare", bare.cost()),
        Row::new(bench, "processor time per connection, child with a System", "us", actix.cost())
            .against("bare", bare.cost())
            .note(format!("bare: {}", bare.note())),
    ])
}

/// Measures the three servers with a parent that has written to 300 MB of its memory.
pub(crate) fn large(bench: &'static str) -> Measured<Vec<Row>> {
    let mut contestants = [
        Contestant::start_contestant(ServerProgram::Loops, &["bare-fork", "300"], 0)?,
        Contestant::start_contestant(ServerProgram::Loops, &["plain-fork", "300"], 1)?,
        Contestant::start_contestant(ServerProgram::Large, &["300"], 1)?,
    ];
    compare_alternating(&mut contestants, CLIENTS)?;
    let [bare, plain, actix] = &contestants;
    Ok(vec![
        Row::new(bench, "fork per connection, 300 MB, child is a function", "/s", plain.rate())
            .against("bare", bare.rate())
            .bar(Bar::RatioAtLeast(20.0))
            .failed(plain.failed())
            .note(plain.note()),
        Row::new(bench, "fork per connection, 300 MB, child with a System", "/s", actix.rate())
            .against("bare", bare.rate())
            .failed(actix.failed())
            .note(actix.note()),
    ])
}
